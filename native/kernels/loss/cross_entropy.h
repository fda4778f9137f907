// SPDX-License-Identifier: Apache-2.0
// Softmax cross-entropy of rows of logits and its gradient, fused and in place:
//   loss[r]   = log(sum_v exp(logits[r][v])) - logits[r][labels[r]],
//   logits[r] <- scale[r] * (softmax(logits[r]) - onehot(labels[r])).
// The largest logit is subtracted first, so no size of logits overflows, and the sum over the
// vocabulary is kept in double precision. Logits of -inf are tokens that cannot be; a NaN or +inf
// anywhere in a row makes its loss NaN, so a training that has gone wrong shows. Works on rows
// [r0, r1); the bits of a row depend on that row alone.
#pragma once

#include <cstdint>

namespace baton {

struct CrossEntropyArgs {
  float* logits;          // [R, V]; gradients afterwards, unless `scale` is null
  const int32_t* labels;  // [R], 0 .. V - 1
  const float* scale;     // [R] what d(loss[r]) is multiplied by; null: losses only
  float* loss;            // [R], natural logarithm
  int V;
};
using CrossEntropyFn = void (*)(const CrossEntropyArgs& args, int r0, int r1);

}  // namespace baton
