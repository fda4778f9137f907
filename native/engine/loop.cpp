// SPDX-License-Identifier: Apache-2.0
// The engine thread. A turn: take what was queued, plan one batch, run it, write down what became a
// row, sample. Errors of one job end that job alone; an abort is seen before every layer.
#include <algorithm>
#include <new>
#include <utility>

#include "engine/engine.h"

namespace baton {
namespace {

Error aborted() {
  return Error(code::kAborted, "the run was aborted");
}

}  // namespace

void Engine::loop() {
  const trace::ThreadLine line(trace_, "engine");
  for (bool more = true; more;) {
    try {
      more = takeJobs();
      if (more) step();
    } catch (const Error& error) {
      failRunning(error);
    } catch (const std::bad_alloc&) {
      failRunning(noMemory_);
    } catch (const std::exception& error) {
      failRunning(
          Error(code::kInternal, std::string("unexpected failure in the engine: ") + error.what()));
    }
    dropFinished();
    if (trace::on() && running_.empty()) trace::flush();
  }
  failRunning(closed_);
  dropFinished();
}

// Sleeps while there is nothing to do.
bool Engine::takeJobs() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return stopping_ || !queue_.empty() || canStep(); });
  running_.insert(running_.end(), queue_.begin(), queue_.end());
  queue_.clear();
  return !stopping_;
}

void Engine::step() {
  for (const JobPtr& job : running_) {
    if (job->cancelled) fail(*job, aborted());
    if (!job->finished && !job->started && job->work == nullptr) start(*job);
  }
  buildBatch();
  if (batch_.rows > 0) {
    const trace::Scope scope("turn", "jobs", static_cast<int64_t>(running_.size()));
    try {
      if (!forward_.run(batch_, nullptr, [this] { return goOn(); })) return;
      if (!goOn())
        return;  // layers that were issued as one could not ask, and the last one is done
    } catch (const Error& error) {
      if (!failYoungestPlanned(error)) throw;
      return;
    }
    model_->file().requireWhole();
    countTurn();
    commit();
    handOutLogits();
  }
  stepWork();
}

void Engine::stepWork() {
  const auto next = std::find_if(running_.begin(), running_.end(), [](const JobPtr& job) {
    return job->work != nullptr && !job->finished;
  });
  if (next == running_.end()) return;
  const JobPtr job = *next;  // running_ may grow meanwhile
  const auto goOn = [&] {
    if (stopping_) return false;
    if (cancels_.exchange(false)) failCancelled();
    return !job->finished;
  };
  try {
    std::optional<EventBody> last =
        job->work->run({model_, pool_, threads_, scope_, forward_, goOn});
    if (!last || job->finished) return;
    model_->file().requireWhole();
    job->finished = true;
    endAppends(*job);
    sink_->post({job->id, std::move(*last)});
  } catch (const Error& error) {
    fail(*job, error);
  } catch (const std::bad_alloc&) {
    fail(*job, Error(code::kOutOfMemory,
                     "no memory left for the training step; give it a smaller batch"));
  }
}

// Blocks for all rows of the appends at once: what cannot fit takes nothing from others. A job that
// waits for rows of another one holds nothing, and is asked again in every turn.
void Engine::start(JobState& job) {
  if (job.content.empty()) identify(job);
  if (mustWait(job) || mustRestore(job)) return;
  job.started = true;
  job.firstTurn = turn_;
  job.stats.queueMs = millisecondsSince(job.submitted);
  try {
    forward_.growPositions(job.positionLimit);
    reuse(job);
    std::vector<int> rows = job.rowsBefore;
    size_t missing = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      for (const Append& append : job.job.appends)
        rows[i] += append.segment == job.claimed[i] ? append.count : 0;
      missing += job.claimed[i]->blocksMissing(rows[i]);
    }
    pool_->require(missing);
    for (size_t i = 0; i < rows.size(); ++i) job.claimed[i]->reserve(rows[i]);
    announce(job);
  } catch (const Error& error) {
    fail(job, error);
    return;
  }
  if (!job.prefilling() && !job.job.generate) finish(job, {.reason = DoneReason::kAppended});
}

// ---- between layers
// --------------------------------------------------------------------------------------------

// A cancelled job is told at once; its segments stay in memory until the step is over, as the batch
// points into them.
bool Engine::goOn() {
  if (stopping_) return false;
  if (cancels_.exchange(false)) failCancelled();
  if (numbers_ != nullptr) failNotFinite();
  return std::any_of(planned_.begin(), planned_.end(),
                     [](const Planned& one) { return !one.job->finished; });
}

// Also the jobs that this step has no rows of, and those that came while it ran.
void Engine::failCancelled() {
  {
    const std::lock_guard lock(mutex_);
    running_.insert(running_.end(), queue_.begin(), queue_.end());
    queue_.clear();
  }
  for (const JobPtr& job : running_) {
    if (job->cancelled) fail(*job, aborted());
  }
}

// ---- after the forward
// -----------------------------------------------------------------------------------------

void Engine::countTurn() {
  int decodeRows = 0, guesses = 0;
  for (const Planned& planned : planned_) {
    JobState& job = *planned.job;
    if (planned.append == nullptr) {
      ++decodeRows;
      guesses += planned.count - 1;
      job.stats.draftedTokens += planned.count - 1;
    }
    job.ringPlace = ++ringEnd_;
    if (job.lastTurn == turn_) continue;  // several appends
    job.lastTurn = turn_;
    ++job.stats.turns;
  }
  ++turn_;
  const std::lock_guard lock(mutex_);
  ++stats_.turns;
  stats_.decodeRows += decodeRows;
  stats_.prefillRows += batch_.rows - decodeRows - guesses;
  stats_.draftedTokens += guesses;
  stats_.mostDecodeRows = std::max(stats_.mostDecodeRows, decodeRows);
}

void Engine::commit() {
  for (const Planned& planned : planned_) {
    JobState& job = *planned.job;
    if (job.finished) continue;
    const int rows = planned.append == nullptr ? 1 : planned.count;  // guesses: keepGuess()
    job.stats.rowsComputed += rows;
    rowsComputed_ += rows;
    if (planned.append == nullptr) {
      planned.segment->commitTokens(&job.nextToken, 1);
      if (job.draft != nullptr) job.draft->kept = 1;
      continue;
    }
    const Append& append = *planned.append;
    if (append.tokens.empty()) {
      const auto width = static_cast<size_t>(model_->config.hidden);
      planned.segment->commitRows(
          append.embeddings.data() + static_cast<size_t>(planned.row) * width, planned.count,
          model_->config.hidden);
    } else {
      planned.segment->commitTokens(append.tokens.data() + planned.row, planned.count);
    }
    job.doneRows += planned.count;
    offerDone(job, append, planned.row, planned.count);
    sink_->post({job.id, ProgressEvent{job.doneRows, job.totalRows}});
  }
}

void Engine::handOutLogits() {
  const int total = static_cast<int>(logitOwners_.size());
  for (int first = 0; first < total; first += forward_.options().logitRows) {
    if (first > 0 && !goOn()) return;  // logits of a whole prefill take longer than a layer
    const int count = std::min(forward_.options().logitRows, total - first);
    if (!anyWanted(first, count)) continue;
    forward_.head(first, count);
    model_->file().requireWhole();
    if (numbers_ != nullptr) failNotFinite();
    for (int row = 0; row < count;) row = handOutRows(first, row, count);
  }
  for (const Planned& planned : planned_) {
    if (planned.append == nullptr && !planned.job->finished) dropGuesses(*planned.job);
  }
  for (const JobPtr& job : running_) {
    const bool appended = !job->finished && job->started && job->work == nullptr &&
                          !job->prefilling() && !job->job.generate;
    if (appended) finish(*job, {.reason = DoneReason::kAppended});
  }
}

// Rows [begin, ...) of the head, whose first is batch_.logitRows[first], up to the next that stands
// for a guess: whether that holds is known when those before it are sampled. Where it is.
int Engine::handOutRows(int first, int begin, int count) {
  const auto vocab = static_cast<size_t>(model_->config.vocab);
  samplers_.clear();
  wanted_.clear();
  int row = begin;
  do {
    const LogitRow& owner = logitOwners_[static_cast<size_t>(first + row)];
    JobState& job = *owner.job;
    if (job.finished || (owner.guess > 0 && !keepGuess(job, owner.guess))) continue;
    if (owner.handOut) {
      const float* logits = forward_.headRows(row, 1);
      job.logits.insert(job.logits.end(), logits, logits + vocab);
    }
    if (!owner.sample) continue;
    samplers_.push_back(&job);
    wanted_.push_back({row, &*job.sampler, &job.generated, job.job.generate->logprobs == 0});
  } while (++row < count && logitOwners_[static_cast<size_t>(first + row)].guess == 0);
  maskRows();
  sampleRows();
  return row;
}

// A row whose alternatives are asked for, or the figure of a token that is not drawn, is read.
void Engine::sampleRows() {
  sampled_.resize(wanted_.size());
  forward_.sample(wanted_.data(), static_cast<int>(wanted_.size()), sampled_.data());
  for (size_t i = 0; i < wanted_.size(); ++i) {
    JobState& job = *samplers_[i];
    const GenerateSpec& spec = *job.job.generate;
    const bool forced = job.generated.size() < spec.forced.size();
    const bool reads = spec.logprobs > 0 || (spec.logprobs == 0 && forced);
    acceptToken(job, {sampled_[i], reads ? forward_.headRows(wanted_[i].row, 1) : nullptr});
  }
}

void Engine::addFigures(Logprobs& to, const Drawn& drawn, int32_t token, int vocab) {
  if (drawn.logits != nullptr) return to.add(drawn.logits, vocab, token);
  to.add(drawn.sampled.logprob);
}

void Engine::acceptToken(JobState& job, const Drawn& drawn) {
  const GenerateSpec& spec = *job.job.generate;
  const int vocab = model_->config.vocab;
  int32_t token = drawn.sampled.token;
  if (job.generated.size() < spec.forced.size()) token = spec.forced[job.generated.size()];
  notePrefill(job);
  std::vector<int32_t> released;
  const bool closes =
      std::find(spec.closers.begin(), spec.closers.end(), token) != spec.closers.end();
  OutputConstraint* const constraint = job.constraint.get();
  if (constraint != nullptr && !constraint->take(token, closes))
    return fail(job, *constraint->error());
  StopMatcher::Result stop;
  if (!closes) {
    job.generated.push_back(token);
    if (spec.logprobs >= 0) addFigures(job.logprobs, drawn, token, vocab);
    stop = job.stops->push(token, released);
  }
  const bool full = static_cast<int>(job.generated.size()) == spec.maxTokens;
  const bool complete = !closes && constraint != nullptr && constraint->end() == GrammarEnd::kMust;
  if (closes || ((full || complete) && !stop.stopped)) job.stops->flush(released);
  tellTokens(job, std::move(released));
  job.stats.tokens = stop.stopped ? stop.kept : static_cast<int64_t>(job.generated.size());

  if (closes) {
    closeOutput(job, drawn, token);
  } else if (stop.stopped) {
    job.job.appends.back().segment->truncate(job.firstGeneratedRow + stop.kept);
    finish(job, {.reason = DoneReason::kStop, .tail = std::move(stop.tail)});
  } else if (full || complete) {  // nothing may follow: asking for a closing token tells nothing
    finish(job, {.reason = complete ? DoneReason::kClosed : DoneReason::kLength, .pending = token});
  } else {
    job.nextToken = token;
  }
}

// The closing token has figures like every other, and is none of the output's tokens.
void Engine::closeOutput(JobState& job, const Drawn& drawn, int32_t closer) {
  DoneEvent done{.reason = DoneReason::kClosed, .closer = closer};
  done.closing.top = job.logprobs.top;
  if (done.closing.top >= 0) {
    addFigures(done.closing, drawn, closer, model_->config.vocab);
  }
  finish(job, std::move(done));
}

// Tokens are let go in the order in which they were generated.
void Engine::tellTokens(JobState& job, std::vector<int32_t> released) {
  const size_t before = std::min(job.toldBefore, released.size());
  released.erase(released.begin(), released.begin() + static_cast<ptrdiff_t>(before));
  job.toldBefore -= before;
  if (released.empty()) return;
  Logprobs logprobs = job.logprobs.slice(job.released, released.size());
  job.released += released.size();
  sink_->post({job.id, TokensEvent{std::move(released), std::move(logprobs)}});
}

// ---- ends
// ------------------------------------------------------------------------------------------------------

// From `finished` on it takes no memory: what has run out of it before fails the job.
void Engine::finish(JobState& job, DoneEvent done) {
  if (job.constraint != nullptr)
    done.accepted = done.reason != DoneReason::kStop && job.constraint->end() != GrammarEnd::kNo;
  dropGuesses(job);
  job.stats.totalMs = millisecondsSince(job.submitted);
  notePrefill(job);
  job.stats.turnsSkipped = turn_ - job.firstTurn - job.stats.turns;
  if (!job.logits.empty()) {
    const int rows =
        static_cast<int>(job.logits.size() / static_cast<size_t>(model_->config.vocab));
    sink_->post({job.id, LogitsEvent{rows, std::move(job.logits)}});
  }
  job.finished = true;
  endAppends(job);
  for (const Append& append : job.job.appends) {
    if (append.close) append.segment->close();
  }
  rowsReused_ += job.rowsRead + job.stats.rowsFound;
  job.claimed.clear();
  job.reads.clear();
  job.job.appends.clear();
  done.stats = job.stats;
  sink_->post({job.id, std::move(done)});
}

// Segments end as they were. Blocks that this frees are taken again by the next step at the
// earliest.
void Engine::fail(JobState& job, const Error& error) {
  if (job.finished) return;
  job.finished = true;
  for (size_t i = 0; i < job.claimed.size(); ++i) job.claimed[i]->truncate(job.rowsBefore[i]);
  endAppends(job);
  sink_->post({job.id, FailedEvent{error}});
}

// Takes no memory: there may be none.
void Engine::failRunning(const Error& error) {
  std::vector<JobPtr> queued;
  {
    const std::lock_guard lock(mutex_);
    queued.swap(queue_);
  }
  for (const JobPtr& job : running_) fail(*job, error);
  for (const JobPtr& job : queued) fail(*job, error);
}

// Before a job's last event: whoever receives that may use the segments.
void Engine::endAppends(JobState& job) {
  underway_.end(job);
  for (const auto& segment : job.claimed) segment->endAppend();
  const std::lock_guard lock(mutex_);
  jobs_.erase(job.id);
}

void Engine::dropFinished() {
  std::erase_if(running_, [](const JobPtr& job) { return job->finished; });
}

}  // namespace baton
