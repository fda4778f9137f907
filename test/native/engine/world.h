// SPDX-License-Identifier: Apache-2.0
// An engine on the small random model of the fixtures, and a sink that tests can wait on and hold
// back.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"

namespace baton::test {

inline std::string fixturePath(const char* name) {
  return (std::filesystem::path(__FILE__).parent_path() / "../../fixtures" / name).string();
}

inline std::shared_ptr<const Model> fixtureModel(const char* name) {
  const std::atomic<int32_t> goOn{0};
  return Model::load(fixturePath(name), goOn);
}

inline std::shared_ptr<const Model> tinyModel() {
  return fixtureModel("tiny-llama/tiny-q8_0.gguf");
}

// What a job told, by kind of event.
struct Told {
  std::vector<int32_t> tokens;
  Logprobs logprobs;
  std::vector<float> logits;
  std::vector<FoundEvent> found;
  std::vector<TierEvent> tiers;
  TrainedEvent trained;
  UpdatedEvent updated{};
  int64_t progress = 0;
  int ends = 0;        // done and failed events
  int afterEnd = 0;    // events that came later than its end
  std::string failed;  // code
  std::vector<Error::Fact> facts;
  DoneEvent done{};
};

class Sink : public EventSink {
 public:
  void expect() override {}
  void post(Event event) override {
    std::unique_lock lock(mutex_);
    Told& told = told_[event.job];
    if (told.ends > 0) ++told.afterEnd;
    const bool found = std::holds_alternative<FoundEvent>(event.body);
    std::visit([&told](auto& body) { note(told, body); }, event.body);
    if (holdWhen_ && holdWhen_(told_)) {
      held_ = true;
      holdWhen_ = nullptr;
    }
    changed_.notify_all();
    if (!found) changed_.wait(lock, [this] { return !held_; });
  }

  // The engine thread stops at its next event that tells of rows computed, until letGo().
  void hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  // Until letGo() as well, from the event on after which `condition` holds of what all jobs told.
  void holdWhen(std::function<bool(const std::map<uint64_t, Told>&)> condition) {
    const std::lock_guard lock(mutex_);
    holdWhen_ = std::move(condition);
  }
  std::map<uint64_t, Told> waitHeld() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return held_; });
    return told_;
  }
  void letGo() {
    const std::lock_guard lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }

  // Waits until `enough` says so of what the job told.
  Told wait(uint64_t job, const std::function<bool(const Told&)>& enough) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return enough(told_[job]); });
    return told_[job];
  }
  Told end(uint64_t job) {
    return wait(job, [](const Told& told) { return told.ends > 0; });
  }

 private:
  static void note(Told&, LoadEvent&) {}
  static void note(Told& told, ProgressEvent& body) { told.progress = body.done; }
  static void note(Told& told, FoundEvent& body) { told.found.push_back(body); }
  static void note(Told& told, TierEvent& body) { told.tiers.push_back(body); }
  static void note(Told& told, TokensEvent& body) {
    told.tokens.insert(told.tokens.end(), body.ids.begin(), body.ids.end());
    told.logprobs.append(body.logprobs);
  }
  static void note(Told& told, LogitsEvent& body) { told.logits = std::move(body.data); }
  static void note(Told& told, DoneEvent& body) {
    ++told.ends;
    told.done = std::move(body);
  }
  static void note(Told& told, TrainedEvent& body) {
    ++told.ends;
    told.trained = std::move(body);
  }
  static void note(Told& told, UpdatedEvent& body) {
    ++told.ends;
    told.updated = body;
  }
  static void note(Told& told, FailedEvent& body) {
    ++told.ends;
    told.failed = body.error.code();
    told.facts = body.error.facts();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, Told> told_;
  std::function<bool(const std::map<uint64_t, Told>&)> holdWhen_;
  bool held_ = false;
};

struct World {
  std::shared_ptr<Sink> sink = std::make_shared<Sink>();
  Engine engine;

  explicit World(EngineOptions options = {}, std::shared_ptr<const Model> model = tinyModel())
      : engine(std::move(model), filled(options), sink) {}
  ~World() { sink->letGo(); }

  static EngineOptions filled(EngineOptions options) {
    if (options.cacheBytes == 0) options.cacheBytes = 4 << 20;
    options.batchInvariant = true;
    return options;
  }

  std::shared_ptr<Segment> segment(int start = 0, std::vector<SegmentRead> reads = {}) {
    return engine.createSegment({SegmentKind::kInput, start, std::move(reads)});
  }

  static Append tokens(std::shared_ptr<Segment> segment, int count, int32_t first = 5) {
    Append append;
    append.segment = std::move(segment);
    append.count = count;
    for (int i = 0; i < count; ++i) append.tokens.push_back((first + 13 * i) % 500);
    return append;
  }

  static GenerateSpec greedy(int maxTokens) {
    GenerateSpec spec;
    spec.maxTokens = maxTokens;
    return spec;
  }

  static Job job(std::vector<Append> appends, LogitsWanted logits = LogitsWanted::kNone) {
    Job job;
    job.appends = std::move(appends);
    job.logits = logits;
    return job;
  }

  static Job generation(Append append, GenerateSpec spec) {
    Job job;
    job.appends.push_back(std::move(append));
    job.generate = std::move(spec);
    return job;
  }
};

}  // namespace baton::test
