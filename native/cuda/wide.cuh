// SPDX-License-Identifier: Apache-2.0
// float16 to float32, exactly, by the one instruction that a device has for it.
#pragma once

#include <cstdint>

#include "base/half.h"
#include "cuda/launch.cuh"

namespace baton::cuda {

#if defined(__CUDACC__)
__device__ inline float wideHalf(uint16_t half) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(half));
  return wide;
}
#else
inline float wideHalf(uint16_t half) {
  return floatOfHalf(half);
}
#endif

}  // namespace baton::cuda
