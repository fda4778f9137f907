// SPDX-License-Identifier: Apache-2.0
// From logits to a token. Order: what the grammar of the output allows, logit bias, repetition
// penalty (CTRL, arXiv 1909.05858), frequency and presence penalty, temperature, top-k, top-p
// (nucleus, arXiv 1904.09751), min-p (arXiv 2407.01082), draw; where transformers' generate has the
// same step it stands in the same place. Every penalty looks at the tokens of one output only. Same
// seed, same logits: same tokens; of what may be drawn the shares follow one another in the order
// of ids, on a device, too.
#pragma once

#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "cuda/sampling.h"

namespace baton {

struct SamplerOptions {
  float temperature = 0;        // 0: greedy, the lowest id among equals
  int topK = 0;                 // 0: off
  float topP = 1;               // 1: off
  float minP = 0;               // 0: off
  float repetitionPenalty = 1;  // 1: off; divides a positive logit of a token, multiplies others
  float presencePenalty = 0;    // subtracted once from the logit of a token that has occurred
  float frequencyPenalty = 0;   // subtracted as often as the token has occurred
  // Added to the logits of `biasIds` [n], distinct; -infinity: the token never occurs.
  std::vector<int32_t> biasIds = {};
  std::vector<float> biases = {};  // [n]
  uint64_t seed = 0;
};

class Sampler {
 public:
  explicit Sampler(SamplerOptions options) : options_(std::move(options)), random_(options_.seed) {}

  // `logits` [vocab] is as before when this returns. `history`: the tokens of this output so far.
  // `allowed`: bits of the tokens that may be taken (constrain/constraint.h), at least one of which
  // is not banned; null: all.
  int32_t sample(float* logits, int vocab, const std::vector<int32_t>& history,
                 const uint32_t* allowed = nullptr);

  // As if so many tokens had been sampled.
  void skip(size_t tokens) {
    if (options_.temperature != 0) random_.discard(tokens);
  }

  // What draws the same elsewhere (cuda/sampling.h): how, and of single tokens to the end of
  // `edits`. Takes of the generator what sample() takes; `row` is the caller's business.
  SampleRow request(const std::vector<int32_t>& history, std::vector<SampleEdit>& edits);

  struct Choice {
    int32_t id;
    double probability;
  };
  // What the last sample() drew from, in no order; nothing after a greedy one.
  std::vector<Choice> choices() const;

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  bool penalises() const;
  void addBias(float* logits);
  void penalise(float* logits, const std::vector<int32_t>& history);
  void set(float* logits, int32_t id, float value);
  float* allow(const float* logits, int vocab, const uint32_t* allowed);
  int32_t choose(const float* logits, int vocab);
  double weighAll(const float* logits, int vocab);
  double weight(const Candidate& one) const;
  double total() const;
  void takeAbove(const float* logits, int vocab, float floor);
  void take(const float* logits, int vocab, int count);
  void takeTopP(const float* logits, int vocab);
  bool keepTopP(double all);
  void keepMinP();
  void sortById();
  int32_t draw();
  int32_t drawOfAll(double all);
  double uniform();

  SamplerOptions options_;
  std::mt19937_64 random_;
  Candidate best_{0, 0};
  // What may be drawn where there is a filter, descending logit wherever one needs the order; else
  // `weights_` [vocab], with the sum of each block of them.
  std::vector<Candidate> candidates_;
  std::vector<float> weights_;
  std::vector<double> sums_;
  std::vector<float> scratch_;
  std::vector<float> allowed_;  // [vocab] logits where not all tokens may be taken
  std::vector<int32_t> penalised_;
  std::vector<Candidate> replaced_;  // logits that were changed, as they were, in order of change
};

// A token to be drawn from a row of logits, and what is drawn.
struct SampleWanted {
  int row;
  Sampler* sampler;
  const std::vector<int32_t>* history;
  bool logprob;
  const uint32_t* allowed = nullptr;  // as Sampler::sample has it
};
struct Sampled {
  int32_t token;
  float logprob;  // as logprobs.h has it, where it is wanted
};

// From rows of the host's `logits` [some rows, vocab].
void sampleRows(float* logits, int vocab, const SampleWanted* wanted, int count, Sampled* out);

}  // namespace baton
