// SPDX-License-Identifier: Apache-2.0
// From logits to a token. Order as in transformers' generate: repetition penalty (CTRL, arXiv
// 1909.05858), temperature, top-k, top-p (nucleus, arXiv 1904.09751), min-p (arXiv 2407.01082),
// draw. Same seed, same logits: same tokens.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace baton {

struct SamplerOptions {
  float temperature = 0;        // 0: greedy, the lowest id among equals
  int topK = 0;                 // 0: off
  float topP = 1;               // 1: off
  float minP = 0;               // 0: off
  float repetitionPenalty = 1;  // 1: off; on tokens of this output so far
  uint64_t seed = 0;
};

class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {}

  // `logits` [vocab] is changed. `history`: tokens that the penalty applies to, repeats allowed.
  int32_t sample(float* logits, int vocab, const std::vector<int32_t>& history);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  void keepTopK();
  void keepTopP();
  void keepMinP();
  int32_t draw();
  double uniform();

  SamplerOptions options_;
  std::mt19937_64 random_;
  std::vector<Candidate> candidates_;  // descending logit wherever a filter needs the order
  std::vector<int32_t> penalised_;
};

}  // namespace baton
