// SPDX-License-Identifier: Apache-2.0
// Passes over a row of logits [vocab], written so that compilers make vectors of them: what is done
// to fifty thousand numbers for each token has to be cheap beside a step.
#pragma once

#include <cstdint>
#include <vector>

namespace baton {

// Numbers that are looked at together.
inline constexpr int kLogitBlock = 64;

// The lowest place of the largest logit; NaN is no logit. 0 where there is none.
int32_t argmax(const float* logits, int vocab);

// A number that at least `count` of the logits reach, and of those above it not many more: the
// count-th largest of the blocks' largest. -infinity where there are no more blocks than that.
float atLeast(const float* logits, int vocab, int count, std::vector<float>& scratch);

// out[i] = e^((logits[i] - best) / temperature), with a relative error below 3e-7, of NaN NaN;
// `sums` [ceil(vocab / kLogitBlock)]: of each block. `best` is the largest logit. Returns the whole
// sum.
double weigh(const float* logits, int vocab, float best, float temperature, float* out,
             double* sums);

}  // namespace baton
