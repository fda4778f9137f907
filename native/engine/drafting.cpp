// SPDX-License-Identifier: Apache-2.0
// Drafting in the loop: guesses of what an output goes on with stand in the batch behind its decode
// row, and become rows where they are what the sampler took. Every place is sampled in order, from
// its own logits, after the tokens before it are certain, so tokens, figures and ends are those of
// decoding row by row; with batchInvariant bit for bit. Rows of guesses that do not hold are never
// committed: nobody reads them, nothing knows them, and the next rows are written over them.
//
// A guess takes nothing from anybody: its rows are those of the batch that neither decode nor
// prefill asks for, and its blocks are the output's own unless the pool has plenty.
#include <algorithm>
#include <new>

#include "device/device.h"
#include "engine/engine.h"

namespace baton {
namespace {

constexpr size_t kAmplePart = 8;  // a pool has plenty while more than one of so many blocks is free

}  // namespace

// `decodes`: jobs that get a decode row.
void Engine::openTurn(int decodes) {
  int64_t prefill = 0;
  for (const JobState* job : prefilling_) prefill += job->totalRows - job->doneRows;
  const int64_t left = options_.maxBatchRows - decodes;
  guessRoom_ = static_cast<int>(std::max<int64_t>(0, left - prefill));
  turnCost_ = {options_.draftRowCost >= 0
                   ? options_.draftRowCost
                   : rowCost(options_.cuda == nullptr ? cpuOps().isa : Isa::kCuda)};
  turnCost_.addRows(decodes + static_cast<int>(std::min(left, prefill)));
}

// Everything that the output's rows see.
void Engine::beginDraft(JobState& job) const {
  const GenerateSpec& spec = *job.job.generate;
  const Segment& own = *job.job.appends.back().segment;
  std::vector<int32_t> seen;
  for (const SegmentRead& read : job.reads.back()) {
    read.segment->copyTokens(read.rows, seen);
    seen.push_back(Drafter::kBorder);
  }
  own.copyTokens(job.firstGeneratedRow, seen);
  job.draft = std::make_unique<OutputDraft>(seen.size() + static_cast<size_t>(spec.maxTokens));
  job.draft->read(seen);
}

// Rows to put behind the job's decode row, whose place is reserved.
int Engine::draftRows(JobState& job) {
  if (!job.drafts) return 0;
  const GenerateSpec& spec = *job.job.generate;
  int guesses = 0;
  try {
    if (job.draft == nullptr) beginDraft(job);
    job.draft->follow(job.generated);
    const int left = spec.maxTokens - static_cast<int>(job.generated.size()) - 1;
    guesses = job.draft->propose(std::min(left, guessRoom_), spec.closers, turnCost_);
  } catch (const std::bad_alloc&) {  // decoding needs none of it
    job.drafts = false;
    job.draft.reset();
    return 0;
  }
  guesses = std::min(guesses, roomFor(job, guesses));
  guessRoom_ -= guesses;
  return guesses;
}

// Rows of `guesses` that have room in blocks.
int Engine::roomFor(const JobState& job, int guesses) const {
  Segment& segment = *job.job.appends.back().segment;
  const int next = segment.rows() + 1;
  const int held = static_cast<int>(segment.blockCount()) * kBlockRows - next;
  if (guesses <= held) return guesses;
  const Pool::Stats pool = pool_->stats();
  const size_t free = pool.blocksTotal - pool.blocksUsed - pool.blocksKept;
  if (free <= pool.blocksTotal / kAmplePart + decoding_.size()) return held;
  try {
    segment.reserve(next + guesses);
  } catch (const Error&) {  // another thread was faster
    return held;
  }
  return guesses;
}

// Whether `guess`, counted from 1, is the output's next token: then its row is the output's, and
// its logits are those of the next place.
bool Engine::keepGuess(JobState& job, int guess) {
  OutputDraft& draft = *job.draft;
  if (draft.kept != guess || !holds(job)) return false;
  job.job.appends.back().segment->commitTokens(&job.nextToken, 1);
  ++draft.kept;
  ++job.stats.rowsComputed;
  ++job.stats.acceptedTokens;
  ++rowsComputed_;
  const std::lock_guard lock(mutex_);
  ++stats_.decodeRows;
  ++stats_.acceptedTokens;
  return true;
}

// The next token is the guess behind the rows kept so far.
bool Engine::holds(const JobState& job) {
  const OutputDraft& draft = *job.draft;
  return job.nextToken == draft.rows()[draft.kept];
}

// Whether anybody still wants logits of batch_.logitRows[first .. first + count).
bool Engine::anyWanted(int first, int count) const {
  const auto begin = logitOwners_.begin() + first;
  return std::any_of(begin, begin + count, [](const LogitRow& owner) {
    return !owner.job->finished && (owner.guess == 0 || holds(*owner.job));
  });
}

// Blocks that only guesses have stood in.
void Engine::dropGuesses(const JobState& job) {
  if (job.draft == nullptr) return;
  Segment& segment = *job.job.appends.back().segment;
  segment.truncate(segment.rows());
}

}  // namespace baton
