// SPDX-License-Identifier: Apache-2.0
// A group of activations as int8 arithmetic takes them (QuantizeArgs of kernels/rows.h).
#pragma once

#include "cuda/launch.cuh"

namespace baton::cuda {

struct Int8Group {
  // `largest`: max |x| of the group.
  __device__ explicit Int8Group(float largest) {
    const bool zero = largest < 1e-30f;
    d = zero ? 0.0f : largest / 127.0f;
    inverse = zero ? 0.0f : 127.0f / largest;
  }
  __device__ int quant(float x) const {
    const int value = static_cast<int>(rintf(x * inverse));
    return value > 127 ? 127 : value < -127 ? -127 : value;
  }

  float d;
  float inverse;
};

}  // namespace baton::cuda
