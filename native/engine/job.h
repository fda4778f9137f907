// SPDX-License-Identifier: Apache-2.0
// A job: rows to append to segments, in order, and then perhaps generation on the last of them.
// What comes out are events. A JobState is a job in flight and belongs to the engine thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "cache/content_index.h"
#include "cache/segment.h"
#include "cache/tiers/mover.h"
#include "engine/constrain/output_constraint.h"
#include "engine/draft/output_draft.h"
#include "engine/logprobs.h"
#include "engine/sampler.h"
#include "engine/stop_matcher.h"

namespace baton {

struct Append {
  std::shared_ptr<Segment> segment;
  std::vector<int32_t> tokens;    // either token ids
  std::vector<float> embeddings;  // or soft rows [count, M]
  int count = 0;
  bool close = false;  // no rows after these: the segment is closed when the job is done
};

struct GenerateSpec {
  SamplerOptions sampler;
  std::vector<int32_t> closers;
  std::vector<std::string> stops;
  int maxTokens = 1;
  int logprobs =
      -1;  // alternatives to report at each place, at most Logprobs::kMostTop; -1: nothing
  // The first tokens of the output: the sampler chooses as ever, and these are taken instead.
  std::vector<int32_t> forced = {};
  // The first tokens of an output that goes on: the last rows of its segment, the last append's
  // included. They count, penalise and match stop strings like the others, and are not told again.
  std::vector<int32_t> prior = {};
  // Whether its next tokens may be guessed (drafting.cpp); if it does not say, as the engine's.
  std::optional<bool> drafting = {};
  // What the output may be; null: anything.
  std::shared_ptr<const Grammar> grammar = {};
};

enum class LogitsWanted : uint8_t { kNone, kLast, kAll };

// What the rows of an append are known by, if they can be found or be waited for at all.
struct AppendContent {
  std::vector<Digest> identities;  // after every block of it, and after its last row if it closes
  size_t findable = 0;  // of them, from the first on; the block of a row that gives logits is not
  bool begins = false;  // its segment has no rows before
  int firstBlock = 0;   // of its segment
  Digest rows{};        // of the first rows alone, wherever they stand
  MissReason reason = MissReason::kNeverSeen;  // for the rows that are not findable
  bool recompute = false;  // a tier has more of it, and reading that back would take longer
};

// Rows at the front of an append that the first `count` of its identities stand for.
inline int rowsOf(const Append& append, size_t count) {
  return std::min(static_cast<int>(count) * kBlockRows, append.count);
}

struct Job {
  std::vector<Append> appends;
  std::optional<GenerateSpec> generate;
  LogitsWanted logits = LogitsWanted::kNone;
};

struct JobStats {
  int64_t rowsComputed = 0;
  int64_t rowsFound = 0;  // of the appends, not computed: found by their content
  int64_t tokens = 0;
  int64_t draftedTokens = 0;   // guessed, and computed as rows
  int64_t acceptedTokens = 0;  // of them, those that held; in rowsComputed, as the others are not
  double firstTokenMs = 0;
  double totalMs = 0;
  double queueMs = 0;
  int64_t turns = 0;         // forwards that had rows of it
  int64_t turnsSkipped = 0;  // forwards without a row of it between its start and its end
};

enum class DoneReason : uint8_t { kAppended, kClosed, kStop, kLength };

// While a model is opened, before it has jobs: of the file's bytes (load_watch.h). Its job is 0.
struct LoadEvent {
  uint64_t done, total;
};
struct ProgressEvent {
  int64_t done, total;  // rows, those found not counted
};
struct FoundEvent {   // of an append that begins a segment, or that was found in part
  int append;         // index
  int found, missed;  // rows
  MissReason reason;  // for the missed ones
};
// Rows of an append that a tier had and the pool had not.
struct TierEvent {
  int append = 0;      // index
  std::string tier{};  // the farthest of those that have them
  int rows = 0;
  size_t bytes = 0;
  bool restored = false;   // read back; or computed again, because that takes less
  double restoreMs = 0;    // expected; 0: it was not measured yet
  double recomputeMs = 0;  // the same
  double tookMs = 0;       // of all that the job reads back, when it was
};
struct TokensEvent {
  std::vector<int32_t> ids;
  Logprobs logprobs;  // of the ids, if the job asked for them
};
struct LogitsEvent {
  int rows;
  std::vector<float> data;  // [rows, V]
};
struct DoneEvent {
  DoneReason reason{};
  int32_t pending = -1;  // last generated token that is no row yet, or -1
  std::string tail{};
  int32_t closer = -1;   // the token that closed the output: no row, and not among its tokens
  Logprobs closing{};    // of it, if the job asked for them
  bool accepted = true;  // the output is what its grammar asks for, if it has one
  JobStats stats{};
};
// Of a training step, its last.
struct TrainedEvent {
  std::vector<double> losses;                 // [items] summed cross entropies
  std::vector<std::vector<float>> gradients;  // by prompt [n, M]; empty if not asked for
  int64_t rowsComputed = 0;
  double totalMs = 0;
};
// Of an update of trained prompts, its last.
struct UpdatedEvent {
  double norm;  // of the gradient, before it is shortened; no finite number: nothing was changed
  bool finite;  // all values are finite numbers
};
struct FailedEvent {
  Error error;
};

using EventBody = std::variant<LoadEvent, ProgressEvent, FoundEvent, TierEvent, TokensEvent,
                               LogitsEvent, DoneEvent, TrainedEvent, UpdatedEvent, FailedEvent>;

struct Event {
  uint64_t job;
  EventBody body;
};

// Takes events from the engine thread; must not block for long.
class EventSink {
 public:
  virtual ~EventSink() = default;
  // Before a job is queued: keeps what telling its end takes. std::bad_alloc.
  virtual void expect() = 0;
  // std::bad_alloc, which fails the job; never of the last event of a job that was expected.
  virtual void post(Event event) = 0;
};

using Clock = std::chrono::steady_clock;

inline double millisecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

class Work;

struct JobState {
  uint64_t id = 0;
  Job job;                             // either rows
  std::shared_ptr<Work> work;          // or a turn of its own
  std::atomic<bool> cancelled{false};  // set by any thread

  // Reads of every append, held until the job ends whatever happens to the handles.
  std::vector<std::vector<SegmentRead>> reads;
  std::vector<std::shared_ptr<Segment>> claimed;  // distinct segments with beginAppend() in force
  std::vector<int> rowsBefore;                    // rows of each when the job was submitted
  int positionLimit = 0;                          // the rotary table must reach this far
  size_t append = 0;                              // index of the append that is being worked off
  int appendRow = 0;                              // rows of it that are done
  std::vector<AppendContent> content;             // by append, once the job was looked at
  std::optional<Digest> awaited;                  // what another job is to compute before it starts
  std::vector<Digest> underway;                   // what it is going to compute, for others
  std::vector<int> found;                         // rows of each append, its first, not to compute
  std::shared_ptr<Restore> restore;               // blocks on their way before it starts
  bool tiersAsked = false;
  std::vector<TierEvent> tierEvents;  // to be told when they are there
  int64_t rowsRead = 0;               // by its new segments, not written by itself
  int64_t totalRows = 0;              // of all appends, without those found
  int64_t doneRows = 0;
  std::vector<float> logits;  // [rows, V] collected so far, when wanted

  std::optional<Sampler> sampler;
  std::optional<StopMatcher> stops;
  std::unique_ptr<OutputConstraint> constraint;  // null: the output may be anything
  std::vector<int32_t> generated;
  Logprobs logprobs;          // of `generated`, when wanted
  size_t released = 0;        // tokens that were told; the others may still be dropped
  size_t toldBefore = 0;      // tokens of `prior` that the stop matcher is yet to release
  int firstGeneratedRow = 0;  // segment row that the first generated token takes
  int32_t nextToken = -1;     // sampled, not yet a row
  bool drafts = false;
  std::unique_ptr<OutputDraft> draft;  // from its first decode row on, if it drafts

  bool finished = false;
  bool started = false;
  int64_t firstTurn = 0;  // the engine's turn when it was started
  int64_t lastTurn = -1;  // the turn that last had a row of it
  int64_t ringPlace = 0;  // among those that decode; grows with every row
  Clock::time_point submitted;
  JobStats stats;

  bool prefilling() const { return append < job.appends.size(); }
};

}  // namespace baton
