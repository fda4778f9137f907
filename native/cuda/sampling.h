// SPDX-License-Identifier: Apache-2.0
// Contract of sampling on the device, so that of a row of logits only the token leaves it: what
// engine/sampler.h does, in its order, from numbers that the CPU made. Pointers are the device's.
#pragma once

#include <cstdint>

namespace baton {

// How a token of one row is chosen; the names are those of SamplerOptions.
struct SampleRow {
  int32_t row;        // of the logits; each at most once
  float temperature;  // 0: greedy, the lowest id among equals
  int32_t topK;       // 0: off
  float topP;         // 1: off
  float minP;         // 0: off
  float repetitionPenalty, presencePenalty, frequencyPenalty;
  int32_t editBegin, editEnd;  // of the row
  uint64_t random;             // of 2^64 equally likely ones
};

// What a row's options say of one token, before it is sampled. Each token once in a row.
struct SampleEdit {
  int32_t id;
  float bias;     // added; -infinity: the token never occurs
  int32_t count;  // how often the token stands in the output so far
};

inline constexpr int kMostSampled = 1 << 22;  // logits of a row

// Weights e^((logit - largest) / temperature) are counted in steps of 2^-40 and summed as integers,
// so that no sum depends on the order in which it was made. Of what the filters leave, in the order
// of ids, the token taken is the first whose weights up to itself exceed  random / 2^64  of all of
// them. A NaN is never taken; where no logit is larger than -infinity the token is 0. Logits are as
// before when the kernel ends.
struct SampleArgs {
  float* logits;            // [some rows, V]
  int V;                    // at most kMostSampled
  const SampleRow* rows;    // [R]
  const SampleEdit* edits;  // of all rows
  float* replaced;          // scratch, as long as `edits`
  int32_t* tokens;          // [R]
  float* logprobs;          // [R] log-softmax of the row, unedited, at the token taken, or null
};
void sampleCuda(const SampleArgs& args, int r0, int r1);

}  // namespace baton
