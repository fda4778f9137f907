// SPDX-License-Identifier: Apache-2.0
// RMSNorm of four numbers at a time, for kernels that must have the same bits.
#pragma once

#include "cuda/launch.cuh"

namespace baton::cuda {

__device__ inline float dot(float4 a, float4 b) {
  return a.x * b.x + a.y * b.y + (a.z * b.z + a.w * b.w);
}

__device__ inline float4 scaled(float4 v, float scale, float4 w) {
  return make_float4(v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w);
}

}  // namespace baton::cuda
