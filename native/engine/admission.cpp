// SPDX-License-Identifier: Apache-2.0
// What a job must satisfy before the engine thread sees it: everything that could make a kernel
// read or write outside its memory, or a row read KV that is not there. TypeScript has explained
// friendlier errors before; these protect.
#include <algorithm>
#include <cmath>
#include <string>

#include "engine/engine.h"

namespace baton {
namespace {

// Releasing a segment and naming its content recurse along open reads: this many fit any thread's
// stack.
constexpr int kMostOpenDepth = 1024;

// Far beyond any logit, and far enough from float's end that penalties cannot reach infinity.
constexpr float kMostBias = 1e30f;

Error invalid(std::string message) {
  return Error(code::kOptionInvalid, std::move(message));
}

}  // namespace

void Engine::checkStart(int start) const {
  if (std::abs(start) <= 4 * model_->config.contextLength) return;
  throw Error(code::kContextLimit, "segment start " + std::to_string(start) +
                                       " is beyond the context of " +
                                       std::to_string(model_->config.contextLength) + " positions");
}

std::shared_ptr<Segment> Engine::restoreSegment(const KvSpec& spec, const std::byte* from,
                                                size_t bytes) {
  checkStart(spec.start);
  return writeKv(pool_, scope_, spec, from, bytes);
}

std::shared_ptr<Segment> Engine::createSegment(SegmentSpec spec) {
  const int limit = 4 * model_->config.contextLength;
  checkStart(spec.start);
  for (const SegmentRead& read : spec.reads) {
    if (read.segment->pool() != pool_)
      throw invalid("a segment can only read segments of its own model");
    if (read.rows < 0 || std::abs(read.shift) > limit) {
      throw invalid("a read of " + std::to_string(read.rows) + " rows with shift " +
                    std::to_string(read.shift) + " is outside the context of " +
                    std::to_string(model_->config.contextLength) + " positions");
    }
    if (read.segment->openDepth() >= kMostOpenDepth) {
      throw invalid("open segments read each other " + std::to_string(kMostOpenDepth) +
                    " deep; close a segment when it is complete");
    }
  }
  return std::make_shared<Segment>(pool_, std::move(spec), scope_);
}

uint64_t Engine::submit(Job job) {
  if (job.appends.empty()) throw invalid("a job needs at least one append");
  auto state = std::make_shared<JobState>();
  for (const Append& append : job.appends) {
    const bool opensOutput =
        job.generate && job.appends.size() > 1 && &append == &job.appends.back();
    checkAppend(append, opensOutput ? 0 : 1);
    const bool grows = job.generate && append.segment == job.appends.back().segment;
    const auto later = [&](const Append& other) {
      return &other > &append && other.segment == append.segment;
    };
    if (append.close && (grows || std::any_of(job.appends.begin(), job.appends.end(), later)))
      throw invalid("an append that closes its segment must be the last rows of it");
    state->totalRows += append.count;
    state->reads.push_back(append.segment->reads());
  }
  if (job.generate) checkGenerate(*job.generate);
  state->job = std::move(job);
  checkReads(*state);
  checkPositions(*state);

  const std::lock_guard lock(mutex_);
  if (stopping_) throw Error(code::kClosed, "the model is closed; load it again to run a chain");
  if (state->job.generate) {
    const GenerateSpec& spec = *state->job.generate;
    if (!spec.stops.empty() && vocabulary_ == nullptr)
      throw invalid("stop strings need setVocabulary() first");
    state->sampler.emplace(spec.sampler);
    state->logprobs.top = spec.logprobs;
    state->stops.emplace(spec.stops, vocabulary_);
    state->generated.reserve(static_cast<size_t>(spec.maxTokens));
    takePrior(*state);
    if (spec.grammar != nullptr) {
      state->constraint = std::make_unique<OutputConstraint>(*spec.grammar, model_->config.vocab,
                                                             spec.closers, spec.prior);
    }
    state->drafts = spec.drafting.value_or(options_.drafting);
  }
  claimSegments(*state);
  if (state->job.generate) state->firstGeneratedRow = firstGeneratedRow(*state);
  try {
    return enqueue(state);
  } catch (...) {
    for (const auto& segment : state->claimed) segment->endAppend();
    throw;
  }
}

// Behind all appends to the output's segment.
int Engine::firstGeneratedRow(const JobState& job) {
  const Segment* const output = job.job.appends.back().segment.get();
  int rows = output->rows() - static_cast<int>(job.job.generate->prior.size());
  for (const Append& append : job.job.appends)
    rows += append.segment.get() == output ? append.count : 0;
  return rows;
}

// Where the output stands that goes on.
void Engine::takePrior(JobState& job) {
  const GenerateSpec& spec = *job.job.generate;
  const Append& last = job.job.appends.back();
  if (static_cast<size_t>(last.segment->rows() + last.count) < spec.prior.size() ||
      (last.count == 0 && !spec.prior.empty()))
    throw invalid("the tokens of an output that goes on must be rows of its segment");
  std::vector<int32_t> told;
  for (const int32_t token : spec.prior) {
    if (job.stops->push(token, told).stopped)
      throw invalid("an output that goes on has a stop string already");
  }
  job.generated = spec.prior;
  job.toldBefore = spec.prior.size() - told.size();
  job.sampler->skip(spec.prior.size());
}

uint64_t Engine::submit(std::shared_ptr<Work> work) {
  auto state = std::make_shared<JobState>();
  state->work = std::move(work);
  const std::lock_guard lock(mutex_);
  if (stopping_) throw Error(code::kClosed, "the model is closed; load it again to train with it");
  return enqueue(state);
}

uint64_t Engine::enqueue(const std::shared_ptr<JobState>& state) {
  state->id = nextJob_++;
  state->submitted = Clock::now();
  queue_.push_back(state);
  try {
    jobs_.emplace(state->id, state);
    sink_->expect();
  } catch (...) {  // no memory: nobody would ever be told of its end
    jobs_.erase(state->id);
    queue_.pop_back();
    throw;
  }
  wake_.notify_one();
  return state->id;
}

void Engine::checkAppend(const Append& append, int leastRows) const {
  if (append.segment->pool() != pool_)
    throw invalid("a job can only append to segments of its own model");
  if (append.count < leastRows) throw invalid("an append needs at least one row");
  const ModelConfig& config = model_->config;
  if (append.tokens.empty()) {
    if (append.embeddings.size() !=
        static_cast<size_t>(append.count) * static_cast<size_t>(config.hidden)) {
      throw invalid("soft rows hold " + std::to_string(append.embeddings.size()) +
                    " numbers, not " + std::to_string(append.count) + " x " +
                    std::to_string(config.hidden));
    }
  }
  for (const int32_t token : append.tokens) checkToken(token);
}

void Engine::checkToken(int32_t token) const {
  const int vocab = model_->config.vocab;
  if (token >= 0 && token < vocab) return;
  throw invalid("token id " + std::to_string(token) + " is outside the vocabulary of " +
                std::to_string(vocab));
}

void Engine::checkGenerate(const GenerateSpec& spec) const {
  const SamplerOptions& s = spec.sampler;
  const auto refuse = [](const char* name, double value, const char* rule) {
    return Error(code::kOptionInvalid,
                 std::string(name) + " is " + std::to_string(value) + "; it must be " + rule,
                 {{"option", std::string(name)}, {"value", value}});
  };
  if (!(s.temperature >= 0) || std::isinf(s.temperature))
    throw refuse("temperature", s.temperature, "0 or more");
  if (s.topK < 0) throw refuse("topK", s.topK, "0 (off) or more");
  if (!(s.topP > 0 && s.topP <= 1)) throw refuse("topP", s.topP, "above 0 and at most 1");
  if (!(s.minP >= 0 && s.minP <= 1)) throw refuse("minP", s.minP, "from 0 (off) to 1");
  if (!(s.repetitionPenalty > 0) || std::isinf(s.repetitionPenalty)) {
    throw refuse("repetitionPenalty", s.repetitionPenalty, "above 0");
  }
  for (const auto& [name, value] : {std::pair("presencePenalty", s.presencePenalty),
                                    std::pair("frequencyPenalty", s.frequencyPenalty)}) {
    if (!std::isfinite(value)) throw refuse(name, value, "a finite number");
  }
  checkBias(s);
  if (spec.logprobs < -1 || spec.logprobs > std::min(Logprobs::kMostTop, model_->config.vocab)) {
    throw refuse("logprobs", spec.logprobs, "-1 (none) or from 0 to 20");
  }
  if (spec.maxTokens < 1 || spec.maxTokens > model_->config.contextLength) {
    throw refuse("maxTokens", spec.maxTokens, "at least 1 and within the context");
  }
  for (const int32_t token : spec.forced) checkToken(token);
  for (const int32_t token : spec.prior) checkToken(token);
  if (spec.prior.size() >= static_cast<size_t>(spec.maxTokens) ||
      (!spec.prior.empty() && !spec.forced.empty()))
    throw invalid("an output that goes on has fewer tokens than maxTokens, and none is forced");
  for (const std::string& stop : spec.stops) {
    if (stop.empty()) throw invalid("a stop string is empty; it would stop before the first token");
  }
}

// Ids of the vocabulary, each once, and at least one token that is not banned.
void Engine::checkBias(const SamplerOptions& sampler) const {
  const int vocab = model_->config.vocab;
  if (sampler.biasIds.size() != sampler.biases.size()) {
    throw invalid("logitBias has " + std::to_string(sampler.biasIds.size()) + " token ids and " +
                  std::to_string(sampler.biases.size()) + " values");
  }
  for (const int32_t id : sampler.biasIds) {
    if (id >= 0 && id < vocab) continue;
    throw invalid("logitBias names token " + std::to_string(id) + "; the vocabulary has ids 0 to " +
                  std::to_string(vocab - 1));
  }
  std::vector<int32_t> ids = sampler.biasIds;
  std::sort(ids.begin(), ids.end());
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end())
    throw invalid("logitBias names a token twice");
  int banned = 0;
  for (const float bias : sampler.biases) {
    banned += std::isinf(bias) && bias < 0 ? 1 : 0;
    if (std::isnan(bias) || bias > kMostBias || (bias < -kMostBias && !std::isinf(bias))) {
      throw invalid("logitBias holds " + std::to_string(bias) +
                    "; it must be a number from -1e30 to 1e30, or -infinity for a banned token");
    }
  }
  if (banned == vocab) throw invalid("logitBias bans every token of the vocabulary");
}

// A read row must be written already, or by an earlier append of the same job.
void Engine::checkReads(const JobState& job) const {
  const auto& appends = job.job.appends;
  for (size_t i = 0; i < appends.size(); ++i) {
    for (const SegmentRead& read : job.reads[i]) {
      int64_t rows = read.segment->rows();
      bool own = false;
      for (size_t j = 0; j < i; ++j) {
        if (appends[j].segment != read.segment) continue;
        rows += appends[j].count;
        own = true;
      }
      if (!own && read.segment->appending())
        throw invalid("a segment is read while another job still writes it");
      if (read.rows > rows) {
        throw invalid("a segment reads " + std::to_string(read.rows) + " rows of one that has " +
                      std::to_string(rows));
      }
    }
  }
}

// Every row's position lies in the context, and the rotary table reaches every (position - shift).
void Engine::checkPositions(JobState& job) const {
  const int64_t context = model_->config.contextLength;
  const auto& appends = job.job.appends;
  for (size_t i = 0; i < appends.size(); ++i) {
    const Segment& segment = *appends[i].segment;
    int64_t end = int64_t{segment.start()} + segment.rows();
    for (size_t j = 0; j <= i; ++j)
      end += appends[j].segment.get() == &segment ? appends[j].count : 0;
    if (i + 1 == appends.size() && job.job.generate) end += job.job.generate->maxTokens;
    if (end > context) {
      throw Error(code::kContextLimit,
                  "rows up to position " + std::to_string(end) +
                      " are asked for and the model's context has " + std::to_string(context) +
                      "; shorten the inputs or lower maxTokens",
                  {{"needed", double(end)}, {"limit", double(context)}});
    }
    int64_t reach = std::max<int64_t>(end, std::abs(segment.start()));
    int64_t farthest = reach;
    for (const SegmentRead& read : job.reads[i]) {
      farthest = std::max(farthest, reach + std::abs(int64_t{read.shift}));
    }
    job.positionLimit = std::max(job.positionLimit, static_cast<int>(farthest) + 1);
  }
}

// All or none: on refusal the segments claimed so far are let go.
void Engine::claimSegments(JobState& job) const {
  job.claimed.reserve(job.job.appends.size());  // what is claimed is noted, whatever happens
  job.rowsBefore.reserve(job.job.appends.size());
  for (const Append& append : job.job.appends) {
    const auto& claimed = job.claimed;
    if (std::find(claimed.begin(), claimed.end(), append.segment) != claimed.end()) continue;
    if (!append.segment->beginAppend()) {
      for (const auto& segment : claimed) segment->endAppend();
      throw invalid(
          "a segment that is closed, or that another job still writes, cannot be appended to");
    }
    job.claimed.push_back(append.segment);
    job.rowsBefore.push_back(append.segment->rows());
  }
}

}  // namespace baton
