// SPDX-License-Identifier: Apache-2.0
// The engine: one thread that owns forward, cache writes and sampling. Other threads queue jobs,
// set cancel flags, and receive events; nothing lower calls up. Every loop turn builds one batch
// out of all jobs in flight; who gets how many of its rows is the law of schedule.cpp.
//
// When blocks run out: a job whose appends do not fit fails before it takes any. A job that decodes
// and gets no block waits while others go on; when all wait, the youngest fails. A failed job
// leaves its segments as they were.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/threads.h"
#include "base/trace.h"
#include "cache/pool.h"
#include "cache/transfer.h"
#include "device/cuda_stream.h"
#include "engine/constrain/output_constraint.h"
#include "engine/forward.h"
#include "engine/job.h"
#include "engine/number_watch.h"
#include "engine/underway.h"
#include "engine/work.h"
#include "model/model.h"

namespace baton {

// Whether rows that a tier has are read back, rather than computed again.
enum class RestoreMode : uint8_t { kFaster, kAlways, kNever };

struct EngineOptions {
  std::shared_ptr<CudaStream> cuda = {};  // null: the CPU
  std::string deviceWhy = {};             // why this one, for the user
  int threads = 1;
  size_t cacheBytes = 0;
  size_t indexBytes = 0;         // of cacheBytes, kept for content that may come again; 0: none
  const Policy* policy = &kLru;  // by which kept blocks are given up, here and in tiers
  std::vector<TierSpec> tiers = {};
  RestoreMode restore = RestoreMode::kFaster;
  KvType kvType = KvType::kF16;
  bool int8Activations = true;
  bool batchInvariant = false;
  int maxBatchRows = 512;
  std::string trace = {};     // file of trace events (base/trace.h); empty: none
  bool drafting = false;      // of jobs that do not say
  bool watchNumbers = false;  // fail a job at its first number that is not finite; on a CPU
  double draftRowCost = -1;   // of one more row, in forwards of one row; below 0: rowCost()
};

// What the engine has done since it was made, in forwards and rows.
struct EngineStats {
  int64_t turns = 0;                // forwards
  int64_t decodeRows = 0;           // rows of generated tokens
  int64_t prefillRows = 0;          // rows of appends
  int mostDecodeRows = 0;           // of one forward: jobs that decoded in one batch
  int64_t draftedTokens = 0;        // guesses that stood in a batch, and
  int64_t acceptedTokens = 0;       // those that held: decodeRows has them too
  int jobs = 0;                     // submitted and not finished, now
  double prefillRowsPerSecond = 0;  // lately; 0: there was none of 16 rows or more
};

class Engine {
 public:
  // `watch`, or null, is told while weights are made. Errors: ABORTED, IO and OPTION_INVALID of the
  // trace, what Pool, ThreadPool, WeightPanels and the backend throw.
  Engine(std::shared_ptr<const Model> model, const EngineOptions& options,
         std::shared_ptr<EventSink> sink, LoadWatch* watch = nullptr);
  ~Engine();  // close()

  const Model& model() const { return *model_; }
  const EngineOptions& options() const { return options_; }
  const std::shared_ptr<Pool>& pool() const { return pool_; }
  Mover* mover() const { return mover_.get(); }  // null: there are no tiers

  // Rows [count, M] of tokens as they enter the first layer: what a soft row takes the place of.
  // Error(OPTION_INVALID) for an id that is no token. On the calling thread.
  std::vector<float> tokenEmbeddings(const std::vector<int32_t>& ids) const;

  // Text of tokens, for stop strings. Jobs submitted later see it.
  void setVocabulary(std::shared_ptr<const Vocabulary> vocabulary);

  // For outputs of this model's tokens. On the calling thread, which it may keep for a while.
  // Errors: CONSTRAINT_UNAVAILABLE, CONSTRAINT_INVALID.
  std::shared_ptr<const Grammar> compile(const GrammarSpec& spec);

  std::shared_ptr<Segment> createSegment(SegmentSpec spec);

  // A closed segment made of bytes that were kept outside of the pool (cache/transfer.h).
  std::shared_ptr<Segment> restoreSegment(const KvSpec& spec, const std::byte* from, size_t bytes);

  // Checks what protects memory and queues. Errors: OPTION_INVALID (token id, row width, sampler, a
  // read that is not there yet, a segment closed or busy), CONTEXT_LIMIT, CLOSED. Its end is one
  // DoneEvent or FailedEvent.
  uint64_t submit(Job job);

  // Queues work for a turn of its own. Its end is one event of its own or a FailedEvent.
  uint64_t submit(std::shared_ptr<Work> work);

  EngineStats stats();

  // The job fails with ABORTED within one layer's time, wherever it is: queued, waiting for its
  // turn or computed. Unknown ids are ignored.
  void cancel(uint64_t job);

  // Rows that went through a forward, and rows that did not have to: read by new segments, or found
  // by their content. Of jobs that ended well.
  int64_t rowsComputed() const { return rowsComputed_; }
  int64_t rowsReused() const { return rowsReused_; }

  // Fails what is in flight with CLOSED and ends the thread. Idempotent, also from several threads
  // at once.
  void close();

 private:
  using JobPtr = std::shared_ptr<JobState>;

  struct Drawn {  // what a row of the head says of the next token of an output
    Sampled sampled;
    const float* logits;  // of the row, where alternatives or another token are asked for; or null
  };

  // Admission, on the submitting thread (admission.cpp).
  void checkStart(int start) const;
  void checkAppend(const Append& append, int leastRows) const;
  void checkToken(int32_t token) const;
  static void takePrior(JobState& job);
  static int firstGeneratedRow(const JobState& job);
  void checkGenerate(const GenerateSpec& spec) const;
  void checkBias(const SamplerOptions& sampler) const;
  void checkReads(const JobState& job) const;
  void checkPositions(JobState& job) const;
  void claimSegments(JobState& job) const;
  uint64_t enqueue(const std::shared_ptr<JobState>& state);  // needs mutex_

  // The batch of a turn, on the engine thread (schedule.cpp).
  void buildBatch();
  void planDecode();
  void planPrefill();
  bool addDecodeRow(JobState& job);
  void failYoungest();
  void addPrefillRows(JobState& job, int rows);
  void addRun(JobState& job, const Append* append, int row, int count);

  // Guesses behind decode rows, on the engine thread (drafting.cpp).
  void openTurn(int decodes);
  void beginDraft(JobState& job) const;
  int draftRows(JobState& job);
  int roomFor(const JobState& job, int guesses) const;
  bool keepGuess(JobState& job, int guess);
  static bool holds(const JobState& job);
  bool anyWanted(int first, int count) const;
  static void dropGuesses(const JobState& job);

  // What outputs may be, on the engine thread (constraining.cpp).
  void maskRows();

  // What need not be computed, on the engine thread (reuse.cpp).
  void identify(JobState& job) const;
  bool mustWait(JobState& job) const;
  void reuse(JobState& job);
  MissReason adoptKnown(JobState& job, size_t index);
  void announce(JobState& job);
  void offerDone(const JobState& job, const Append& append, int row, int count);
  static void countReads(JobState& job);
  static void skipDone(JobState& job);

  // What tiers have, on the engine thread except wake() (restore.cpp).
  std::unique_ptr<Mover> makeMover();
  void wake();
  bool canStep() const;
  void notePrefill(JobState& job);
  bool mustRestore(JobState& job);
  void askTiers(JobState& job);
  bool worthReading(JobState& job, int index, size_t known, const Mover::Known& there);
  std::shared_ptr<Restore> restoring(const Digest& identity);
  void tellTiers(JobState& job);

  // The loop, on the engine thread (loop.cpp).
  void loop();
  bool takeJobs();  // false: stop
  void step();
  void stepWork();
  bool failYoungestPlanned(const Error& error);
  void start(JobState& job);
  bool goOn();
  void failCancelled();
  void failNotFinite();
  void countTurn();
  void commit();
  void handOutLogits();
  int handOutRows(int first, int begin, int count);
  void sampleRows();
  void acceptToken(JobState& job, const Drawn& drawn);
  static void addFigures(Logprobs& to, const Drawn& drawn, int32_t token, int vocab);
  void tellTokens(JobState& job, std::vector<int32_t> released);
  void finish(JobState& job, DoneEvent done);
  void closeOutput(JobState& job, const Drawn& drawn, int32_t closer);
  void fail(JobState& job, const Error& error);
  void failRunning(const Error& error);
  void endAppends(JobState& job);
  void dropFinished();

  std::shared_ptr<const Model> model_;
  EngineOptions options_;
  std::shared_ptr<EventSink> sink_;
  std::shared_ptr<Pool> pool_;
  std::string scope_;  // model content and KV format, for identities
  ThreadPool threads_;
  Forward forward_;
  NumberWatch* numbers_;  // of forward_; null: not watched

  std::mutex mutex_;  // guards the six below
  std::condition_variable wake_;
  std::vector<JobPtr> queue_;
  std::map<uint64_t, JobPtr> jobs_;  // submitted and not finished
  std::shared_ptr<const Vocabulary> vocabulary_;
  uint64_t nextJob_ = 1;
  EngineStats stats_;
  std::atomic<bool> stopping_{false};  // written under mutex_, read between layers without it
  std::atomic<bool> cancels_{false};   // cancel() was called since goOn() last looked
  std::mutex joining_;                 // held while thread_ is joined
  std::atomic<int64_t> rowsComputed_{0};
  std::atomic<int64_t> rowsReused_{0};

  // Made before they are needed: then there may be no memory for them.
  std::mutex constraining_;                         // guards the next one
  std::shared_ptr<const Constrainer> constrainer_;  // made for the first grammar

  const Error noMemory_{code::kOutOfMemory,
                        "no memory left for the step; run fewer chains at once"};
  const Error closed_{code::kClosed, "the model was closed while the run was in flight"};

  // Engine thread only.
  std::vector<JobPtr> running_;  // in the order of submission
  std::vector<std::weak_ptr<Restore>> restoring_;
  int64_t turn_ = 0;     // forwards so far
  int64_t ringEnd_ = 0;  // the highest ringPlace given out
  Underway underway_;    // rows that started jobs are going to compute
  Batch batch_;
  struct Planned {  // rows of a job in the batch
    JobState* job;
    Segment* segment;
    const Append* append;  // null: the decode row, and guesses behind it
    int row, count;        // rows of the append
  };
  struct LogitRow {
    JobState* job;
    bool sample;  // the row that the next token is drawn from
    bool handOut;
    int guess = 0;  // of the rows of an output: 0: the decode row
  };
  std::vector<JobState*> decoding_, prefilling_;  // the running ones, as the turn began
  std::vector<int64_t> shares_;                   // rows offered to each of prefilling_
  std::vector<std::pair<JobState*, Error>>
      starved_;  // decode, and the pool has no block for the next row
  std::vector<Planned> planned_;
  std::vector<LogitRow> logitOwners_;  // as batch_.logitRows
  std::vector<JobState*> samplers_;    // outputs that are sampled together, and what of
  std::vector<SampleWanted> wanted_;
  std::vector<OutputConstraint*> constrained_;  // of samplers_
  std::vector<Sampled> sampled_;
  int guessRoom_ = 0;  // rows of the batch that nobody else wants
  TurnCost turnCost_{};

  std::unique_ptr<Mover> mover_;         // ends before what it wakes
  std::shared_ptr<trace::Group> trace_;  // null: not traced; joined when nothing else can fail
  std::thread thread_;
};

}  // namespace baton
