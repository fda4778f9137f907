// SPDX-License-Identifier: Apache-2.0
// Who gets the rows of the next forward. The law:
//
// 1. Every job that decodes gets its row, before anything else: a long prefill shares the batch and
//    never stops another job's decode.
// 2. When more jobs decode than there are rows, they stand in a ring: those at the front get a row
//    and go to the back, in that order, so that within a round everybody is served once.
// 3. Prefill gets all other rows. While a job prefills, an eighth of the rows is kept for it (over
//    turns, where a turn has fewer than eight): a full house of decoding jobs delays a newcomer,
//    and never shuts it out.
// 4. Jobs that prefill are served in the order in which they were submitted. Each is offered half
//    of the rows that the earlier ones left, at least a block of them; what is left over goes to
//    the oldest. So the oldest has half of the rows or all that it needs, a short job passes a long
//    one, and none takes more than twice the turns that strict order would give it.
// 5. A job whose rows an earlier one is computing waits until they are there, and takes no part
//    before (reuse.cpp says when it is worth it).
// 6. Guesses of what outputs go on with get rows that nobody above asks for, in the order of the
//    decode rows, as far as they are expected to pay (drafting.cpp).
// 7. Work that needs a turn of its own gets one after every batch, one piece of work at a time, in
//    the order of submission: neither serving nor training stops the other.
//
// Fairness is between jobs: a chain that fans out has as many shares as it has jobs in flight.
#include <algorithm>
#include <string_view>

#include "engine/engine.h"

namespace baton {
namespace {

constexpr int kPrefillPart = 8;  // one row of so many is kept for prefill

int64_t missingRows(const JobState& job) {
  return job.totalRows - job.doneRows;
}

}  // namespace

void Engine::buildBatch() {
  batch_.clear();
  planned_.clear();
  logitOwners_.clear();
  starved_.clear();
  decoding_.clear();
  prefilling_.clear();
  for (const JobPtr& job : running_) {
    if (!job->finished && job->started && job->work == nullptr)
      (job->prefilling() ? prefilling_ : decoding_).push_back(job.get());
  }
  planDecode();
  planPrefill();
  if (batch_.rows == 0 && !starved_.empty()) failYoungest();
}

void Engine::planDecode() {
  int limit = options_.maxBatchRows;
  if (!prefilling_.empty()) {
    const int64_t before = turn_ * options_.maxBatchRows / kPrefillPart;
    limit -= static_cast<int>((turn_ + 1) * options_.maxBatchRows / kPrefillPart - before);
  }
  if (static_cast<int>(decoding_.size()) > limit) {
    std::sort(decoding_.begin(), decoding_.end(),
              [](const JobState* a, const JobState* b) { return a->ringPlace < b->ringPlace; });
  }
  openTurn(std::min(limit, static_cast<int>(decoding_.size())));
  int served = 0;
  for (JobState* job : decoding_) {
    if (served == limit) return;
    served += addDecodeRow(*job) ? 1 : 0;
  }
}

void Engine::planPrefill() {
  int64_t left = options_.maxBatchRows - batch_.rows;
  shares_.clear();
  for (const JobState* job : prefilling_) {
    const int64_t offer = std::min(left, std::max<int64_t>(kBlockRows, (left + 1) / 2));
    shares_.push_back(std::min(offer, missingRows(*job)));
    left -= shares_.back();
  }
  for (size_t i = 0; i < prefilling_.size(); ++i) {
    const int64_t more = std::min(left, missingRows(*prefilling_[i]) - shares_[i]);
    left -= more;
    addPrefillRows(*prefilling_[i], static_cast<int>(shares_[i] + more));
  }
}

void Engine::addRun(JobState& job, const Append* append, int row, int count) {
  const size_t index = append == nullptr ? job.job.appends.size() - 1
                                         : static_cast<size_t>(append - job.job.appends.data());
  Segment& segment = *job.job.appends[index].segment;
  // Rows of this segment that stand in the batch already (an earlier append of the same job).
  int firstRow = segment.rows();
  for (const Planned& planned : planned_)
    firstRow += planned.segment == &segment ? planned.count : 0;
  segment.reserve(firstRow + count);
  const int32_t* tokens = append == nullptr ? (count == 1 ? &job.nextToken : job.draft->rows())
                          : append->tokens.empty() ? nullptr
                                                   : append->tokens.data() + row;
  const float* embeddings =
      append != nullptr && append->tokens.empty()
          ? append->embeddings.data() +
                static_cast<size_t>(row) * static_cast<size_t>(model_->config.hidden)
          : nullptr;
  batch_.add({&segment, &job.reads[index], firstRow, count, 0, tokens, embeddings});
  planned_.push_back({&job, &segment, append, row, count});
}

// False: the pool has no block for the row.
bool Engine::addDecodeRow(JobState& job) {
  Segment& segment = *job.job.appends.back().segment;
  try {
    segment.reserve(segment.rows() + 1);
  } catch (const Error& error) {
    starved_.emplace_back(&job, error);
    return false;
  }
  const int rows = 1 + draftRows(job);
  addRun(job, nullptr, 0, rows);
  for (int row = 0; row < rows; ++row) {
    batch_.logitRows.push_back(batch_.rows - rows + row);
    logitOwners_.push_back({&job, true, false, row});
  }
  return true;
}

void Engine::failYoungest() {
  const auto youngest =
      std::max_element(starved_.begin(), starved_.end(),
                       [](const auto& a, const auto& b) { return a.first->id < b.first->id; });
  fail(*youngest->first, youngest->second);
}

// The next `rows` rows of the job's appends.
void Engine::addPrefillRows(JobState& job, int rows) {
  const bool all = job.job.logits == LogitsWanted::kAll;
  while (job.prefilling() && rows > 0) {
    const Append& append = job.job.appends[job.append];
    const int count = std::min(append.count - job.appendRow, rows);
    const int firstBatchRow = batch_.rows;
    addRun(job, &append, job.appendRow, count);
    rows -= count;
    job.appendRow += count;
    skipDone(job);
    const bool last = !job.prefilling();
    const bool wanted = job.job.generate.has_value() || job.job.logits != LogitsWanted::kNone;
    for (int row = 0; row < count; ++row) {
      const bool lastRow = last && row + 1 == count;
      if (!all && !(lastRow && wanted)) continue;
      batch_.logitRows.push_back(firstBatchRow + row);
      logitOwners_.push_back({&job, lastRow && job.job.generate.has_value(),
                              all || job.job.logits == LogitsWanted::kLast});
    }
  }
}

// A device has no memory for this batch: the youngest job of it makes room, the others try again in
// the next turn, as the forward has changed nothing. False: that is not what is wrong.
bool Engine::failYoungestPlanned(const Error& error) {
  if (std::string_view(error.code()) != code::kOutOfMemory) return false;
  JobState* youngest = nullptr;
  for (const Planned& planned : planned_) {
    JobState& job = *planned.job;
    if (job.finished) continue;
    if (planned.append == nullptr) dropGuesses(job);
    if (youngest == nullptr || job.id > youngest->id) youngest = &job;
  }
  // Rows of appends count as worked off when they are planned: these were not. The first ones last.
  for (auto planned = planned_.rbegin(); planned != planned_.rend(); ++planned) {
    if (planned->append == nullptr) continue;
    JobState& job = *planned->job;
    job.append = static_cast<size_t>(planned->append - job.job.appends.data());
    job.appendRow = planned->row;
  }
  if (youngest != nullptr) fail(*youngest, error);
  return youngest != nullptr;
}

}  // namespace baton
