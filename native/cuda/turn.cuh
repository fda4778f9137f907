// SPDX-License-Identifier: Apache-2.0
// One pair of numbers of a rotary embedding, turned by the angle of cosine c and sine s.
#pragma once

#include "cuda/launch.cuh"

namespace baton::cuda {

struct Turned {
  float first, second;
};

__device__ inline Turned turn(float first, float second, float c, float s) {
  return {first * c - second * s, first * s + second * c};
}

}  // namespace baton::cuda
