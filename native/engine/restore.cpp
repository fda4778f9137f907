// SPDX-License-Identifier: Apache-2.0
// Rows that the pool has given up and a tier has. Before a job begins, what reading them back is
// expected to take is compared with what computing them would, both as measured lately on this
// machine; a job whose rows are read back waits for them while others go on.
#include <algorithm>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "engine/engine.h"

namespace baton {
namespace {

// Prefills of fewer rows say little about speed.
constexpr int64_t kLeastRows = 16;
// Of the newest prefill in the figure.
constexpr double kNewest = 0.25;

}  // namespace

void Engine::wake() {
  const std::lock_guard lock(mutex_);
  wake_.notify_one();
}

// There is a job for which something can be done in a turn: one that does not wait for a tier.
bool Engine::canStep() const {
  return std::any_of(running_.begin(), running_.end(), [](const JobPtr& job) {
    return job->started || job->finished || job->cancelled || job->restore == nullptr ||
           job->restore->done();
  });
}

// The job's rows are all computed: when, and how fast, beside whatever else was done meanwhile.
void Engine::notePrefill(JobState& job) {
  if (job.stats.firstTokenMs > 0) return;
  job.stats.firstTokenMs = millisecondsSince(job.submitted);
  if (job.doneRows < kLeastRows || job.doneRows < job.totalRows) return;
  if (options_.cuda != nullptr && !job.job.generate) return;  // issued, not done
  const double seconds = (job.stats.firstTokenMs - job.stats.queueMs) / 1000;
  const double speed = double(job.doneRows) / std::max(seconds, 1e-9);
  const std::lock_guard lock(mutex_);
  double& known = stats_.prefillRowsPerSecond;
  known = known == 0 ? speed : known + kNewest * (speed - known);
}

// Whether the job waits for blocks on their way. Asks the tiers once.
bool Engine::mustRestore(JobState& job) {
  if (mover_ == nullptr) return false;
  if (job.restore != nullptr) {
    if (!job.restore->done()) return true;
    if (!job.tiersAsked) job.restore.reset();  // another job's, of the same rows
  }
  if (!job.tiersAsked) askTiers(job);
  if (job.restore == nullptr) return false;
  if (!job.restore->done()) return true;
  tellTiers(job);
  return false;
}

void Engine::askTiers(JobState& job) {
  std::vector<Digest> wanted;
  double cost = 0;
  for (size_t i = 0; i < job.content.size(); ++i) {
    const AppendContent& content = job.content[i];
    const Digest* const identities = content.identities.data();
    const size_t known = pool_->known(identities, content.findable);
    if (known == content.findable) continue;
    if (std::shared_ptr<Restore> other = restoring(identities[known])) {
      job.restore = std::move(other);
      job.tierEvents.clear();
      return;
    }
    const Mover::Known there = mover_->known(identities + known, content.findable - known);
    if (there.count == 0) continue;
    const Append& append = job.job.appends[i];
    if (!worthReading(job, static_cast<int>(i), known, there)) continue;
    wanted.insert(wanted.end(), identities + known, identities + known + there.count);
    cost = append.segment->blockCost();
  }
  job.tiersAsked = true;
  if (!wanted.empty()) {
    try {
      job.restore = mover_->restore(std::move(wanted), cost);
      restoring_.push_back(job.restore);
      return;
    } catch (const Error& error) {  // no room: then there is none for computing them either
      if (std::string_view(error.code()) != code::kCacheBudget) throw;
      for (TierEvent& event : job.tierEvents) event.restored = false;
    }
  }
  tellTiers(job);
}

// Where one of the two has not been measured, reading is tried: that measures it.
bool Engine::worthReading(JobState& job, int index, size_t known, const Mover::Known& there) {
  const auto at = static_cast<size_t>(index);
  const Append& append = job.job.appends[at];
  TierEvent event{.append = index, .tier = mover_->tierName(there.tier)};
  event.rows = rowsOf(append, known + there.count) - rowsOf(append, known);
  event.bytes = there.count * pool_->shape().blockBytes();
  event.restoreMs = there.seconds * 1000;
  const double speed = stats().prefillRowsPerSecond;
  event.recomputeMs = speed > 0 ? event.rows / speed * 1000 : 0;
  const bool faster =
      event.restoreMs == 0 || event.recomputeMs == 0 || event.restoreMs < event.recomputeMs;
  event.restored =
      options_.restore == RestoreMode::kFaster ? faster : options_.restore == RestoreMode::kAlways;
  job.content[at].recompute = !event.restored;
  job.tierEvents.push_back(event);
  return event.restored;
}

std::shared_ptr<Restore> Engine::restoring(const Digest& identity) {
  std::erase_if(restoring_, [](const std::weak_ptr<Restore>& one) {
    const std::shared_ptr<Restore> restore = one.lock();
    return restore == nullptr || restore->done();
  });
  for (const std::weak_ptr<Restore>& one : restoring_) {
    std::shared_ptr<Restore> restore = one.lock();
    if (restore != nullptr && restore->has(identity)) return restore;
  }
  return nullptr;
}

void Engine::tellTiers(JobState& job) {
  for (TierEvent& event : job.tierEvents) {
    if (event.restored && job.restore != nullptr) event.tookMs = job.restore->milliseconds();
    sink_->post({job.id, event});
  }
  job.tierEvents.clear();
}

}  // namespace baton
