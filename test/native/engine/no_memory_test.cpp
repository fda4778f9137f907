// SPDX-License-Identifier: Apache-2.0
// A model's whole life, from its file to close(), where one allocation fails: each in turn, of any
// thread. What fails is a typed error of one call or one job; every job ends, once; no block stays.
#include <array>
#include <atomic>
#include <mutex>
#include <new>
#include <thread>

#include "check.h"
#include "engine/event_queue.h"
#include "engine/random_model.h"
#include "engine/world.h"
#include "fuzz/allocations.h"
#include "model/temporary_folder.h"

using namespace baton;
using namespace baton::test;

namespace {

// Queues events as the binding's channel does, whose reader takes every fifth time what is there.
class Ends : public EventSink {
 public:
  static constexpr size_t kMost = 64;

  void expect() override {
    const std::lock_guard lock(mutex_);
    queue_.expect();
  }

  void post(Event event) override {
    const std::lock_guard lock(mutex_);
    const uint64_t job = event.job;
    const bool last = isLast(event);
    const auto* failed = std::get_if<FailedEvent>(&event.body);
    if (failed != nullptr && std::string_view(failed->error.code()) == code::kInternal) ++internal;
    queue_.push(std::move(event));
    if (++posts_ % 5 == 0) queue_.take();
    if (!last) return;
    if (job < kMost) ++ended[job];
    ++all;
    all.notify_all();
  }

  void wait(int count) {
    for (int now = all; now < count; now = all) all.wait(now);
  }

  std::array<std::atomic<int>, kMost> ended{};
  std::atomic<int> all{0}, internal{0};

 private:
  std::mutex mutex_;
  EventQueue queue_;
  int posts_ = 0;
};

struct Outcome {
  bool opened = false;
  int submitted = 0, refused = 0;
  bool endedOnce = true, untyped = false, stuck = false;
  int internal = 0;
  int jobsLeft = 0;
  size_t blocksLeft = 0, segmentsLeft = 0;
};

Append appendOf(const std::shared_ptr<Segment>& segment, int count, int32_t first) {
  Append append;
  append.segment = segment;
  append.count = count;
  for (int i = 0; i < count; ++i) append.tokens.push_back((first + 3 * i) % 8);
  return append;
}

// A trunk, two branches that read it, an output on one, logits of the other, and a job that is
// cancelled.
class Life {
 public:
  explicit Life(Outcome& outcome) : outcome_(outcome) {}

  void run(const std::string& path) {
    if (!attempt([&] { open(path); })) return;
    outcome_.opened = true;
    attempt([&] { trunk_ = engine_->createSegment({SegmentKind::kInput, 0, {}}); });
    if (trunk_ != nullptr) submit([&] { return World::job({closing(appendOf(trunk_, 40, 1))}); });
    sink_->wait(outcome_.submitted);
    if (trunk_ != nullptr && trunk_->closed()) branches();
    sink_->wait(outcome_.submitted);
    for (size_t i = 0; i < static_cast<size_t>(outcome_.submitted); ++i) {
      outcome_.endedOnce = outcome_.endedOnce && sink_->ended[ids_[i]] == 1;
    }
    outcome_.endedOnce = outcome_.endedOnce && sink_->all == outcome_.submitted;
    outcome_.internal = sink_->internal;
    trunk_.reset();
    // While it is open: closing would give back what was forgotten. The last turn may still run.
    const auto left = [&] { return engine_->pool()->stats(); };
    // A segment leaves the pool before its blocks do.
    const auto holds = [&] { return left().segments + left().blocksUsed > 0; };
    for (int turn = 0; turn < 2000 && holds(); ++turn) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    outcome_.blocksLeft = left().blocksUsed;
    outcome_.segmentsLeft = left().segments;
    outcome_.jobsLeft = engine_->stats().jobs;
    engine_->close();
    engine_.reset();
  }

 private:
  void open(const std::string& path) {
    const std::atomic<int32_t> goOn{0};
    EngineOptions options;
    options.cacheBytes = 1 << 20;
    options.indexBytes = 1 << 18;
    options.threads = 2;
    options.maxBatchRows = 24;
    options.drafting = true;
    options.batchInvariant = true;
    engine_ = std::make_shared<Engine>(Model::load(path, goOn), options, sink_);
  }

  static Append closing(Append append) {
    append.close = true;
    return append;
  }

  void branches() {
    const auto branch = [&] {
      return engine_->createSegment({SegmentKind::kOutput, 40, {{trunk_, 40, 0}}});
    };
    submit([&] {
      GenerateSpec spec = World::greedy(12);
      spec.logprobs = 2;
      return World::generation(appendOf(branch(), 3, 2), std::move(spec));
    });
    submit([&] { return World::job({appendOf(branch(), 20, 5)}, LogitsWanted::kAll); });
    const uint64_t last =
        submit([&] { return World::generation(appendOf(branch(), 2, 7), World::greedy(60)); });
    if (last != 0) engine_->cancel(last);
  }

  template <class MakeJob>
  uint64_t submit(const MakeJob& makeJob) {
    uint64_t id = 0;
    const auto once = [&] { return attempt([&] { id = engine_->submit(makeJob()); }); };
    if (!once() && !once()) {  // only one allocation fails: what was refused is as it was before
      outcome_.stuck = true;
      return 0;
    }
    ids_[static_cast<size_t>(outcome_.submitted++)] = static_cast<size_t>(id);
    return id;
  }

  template <class Call>
  bool attempt(const Call& call) {
    try {
      call();
      return true;
    } catch (const Error& error) {
      outcome_.untyped = outcome_.untyped || std::string_view(error.code()) == code::kInternal;
    } catch (const std::bad_alloc&) {  // what the binding calls OUT_OF_MEMORY
    } catch (...) {
      outcome_.untyped = true;
    }
    ++outcome_.refused;
    return false;
  }

  Outcome& outcome_;
  std::array<size_t, 8> ids_{};  // of what was submitted
  std::shared_ptr<Ends> sink_ = std::make_shared<Ends>();
  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Segment> trunk_;
};

}  // namespace

TEST("no memory: each allocation of a model's life fails in turn, and nothing breaks or stays") {
  const TemporaryFolder folder;
  const GgufWriter writer = writerOf(*families().front(), kTypes[1]);
  const std::string path = folder.write("model.gguf", writer.build());
  int64_t sites = 0;
  int refused = 0, failedJobs = 0;
  for (bool failed = true; failed; ++sites) {
    Outcome outcome;
    {
      Life life(outcome);
      failAllocation(sites + 1);
      life.run(path);
      failed = failAllocation(0);
    }
    CHECK(outcome.endedOnce);
    CHECK(!outcome.untyped);
    CHECK(!outcome.stuck);
    CHECK_EQ(outcome.internal, 0);
    CHECK_EQ(outcome.jobsLeft, 0);
    CHECK_EQ(outcome.blocksLeft, size_t{0});
    CHECK_EQ(outcome.segmentsLeft, size_t{0});
    CHECK(failed || (outcome.opened && outcome.submitted == 4 && outcome.refused == 0));
    refused += outcome.refused;
    failedJobs += outcome.opened && outcome.refused == 0 ? 1 : 0;
    if (sites > 100000) break;
  }
  CHECK(sites > 300);  // or too little was tried
  CHECK(refused > 100);
  CHECK(failedJobs > 50);
}
