// SPDX-License-Identifier: Apache-2.0
// Activations of gated units (rows.h), for kernels that must have the same bits.
#pragma once

#include "cuda/launch.cuh"
#include "kernels/rows.h"

namespace baton::cuda {

__device__ inline float silu(float g) {
  return g / (1.0f + expf(-g));
}

__device__ inline float geluTwice(float g) {
  return kGeluSlope * (g + kGeluCube * g * g * g);
}
__device__ inline float gelu(float g) {
  return g / (1.0f + expf(-geluTwice(g)));
}

}  // namespace baton::cuda
