// SPDX-License-Identifier: Apache-2.0
// Tensor cores, and copies into shared memory that go on beside the work: what a warp multiplies
// and loads together (PTX ISA: mma.sync, ldmatrix) and what a thread copies (cp.async), from
// compute capability 8.0 on. Which number of a matrix a lane holds: tiles.cuh.
#pragma once

#include "base/half.h"
#include "cuda/launch.cuh"

namespace baton::cuda {

// What the 16 bits of a number are.
enum class Bits16 { kBfloat, kHalf };

#if defined(__CUDACC__)
__device__ inline unsigned sharedAddress(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

// kCount matrices of 8 rows of 16 bytes, a register of the lane for each: lane 8 i + j brings row j
// of matrix i, lanes beyond may bring anything. Transposed: of numbers of 16 bits.
template <int kCount, bool kTransposed = false>
__device__ inline void loadMatrices(unsigned (&out)[kCount], const void* row) {
  const unsigned at = sharedAddress(row);
  if constexpr (kCount == 1 && !kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                 : "=r"(out[0])
                 : "r"(at)
                 : "memory");
  } else if constexpr (kCount == 1) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                 : "=r"(out[0])
                 : "r"(at)
                 : "memory");
  } else if constexpr (kCount == 2 && !kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(out[0]), "=r"(out[1])
                 : "r"(at)
                 : "memory");
  } else if constexpr (kCount == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(out[0]), "=r"(out[1])
                 : "r"(at)
                 : "memory");
  } else if constexpr (!kTransposed) {
    static_assert(kCount == 4);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(at)
                 : "memory");
  } else {
    static_assert(kCount == 4);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(at)
                 : "memory");
  }
}

// Two numbers, rounded, the first in the lower bits.
template <Bits16 kBits>
__device__ inline unsigned rounded(float low, float high) {
  unsigned pair;
  if constexpr (kBits == Bits16::kBfloat) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  }
  return pair;
}

// 2^x to two units in the last place, 0 where that is subnormal: one instruction.
__device__ inline float powerOfTwo(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

// c [16, 8] += a [16, 16] b [16, 8], numbers of 16 bits, sums in float32.
template <Bits16 kBits>
__device__ inline void multiply(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  if constexpr (kBits == Bits16::kBfloat) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

// c [16, 8] += a [16, 32] b [32, 8], signed bytes, exactly.
__device__ inline void multiply(int (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The same with half the depth: a [16, 16], b [16, 8].
__device__ inline void multiply(int (&c)[4], unsigned a0, unsigned a1, unsigned b0) {
  asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
      "{%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a0), "r"(a1), "r"(b0));
}

// Begins to copy kBytes (4 or 16, at which both begin) to shared memory, zeros if they are not
// `there`. They may be read where the thread has waited for them, by others after a barrier.
template <int kBytes>
__device__ inline void copyAsync(void* shared, const void* global, bool there = true) {
  const unsigned to = sharedAddress(shared);
  const int bytes = there ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes)
                 : "memory");
  } else {
    static_assert(kBytes == 4);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(global), "r"(bytes)
                 : "memory");
  }
}

// Ends a group of copies, which may have none.
__device__ inline void endCopies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits for all groups of this thread but the last kLeft.
template <int kLeft>
__device__ inline void waitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}
#else
template <int kCount, bool kTransposed = false>
void loadMatrices(unsigned (&out)[kCount], const void* row) {
  baton::emulation::loadMatrices(out, kCount, kTransposed, row);
}

template <Bits16 kBits>
unsigned rounded(float low, float high) {
  const auto bits = [](float x) -> unsigned {
    return kBits == Bits16::kBfloat ? bfloatOfFloat(x) : halfOfFloat(x);
  };
  return bits(low) | bits(high) << 16;
}

inline float powerOfTwo(float x) {
  return exp2f(x);
}

template <Bits16 kBits>
void multiply(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  baton::emulation::multiplyHalves(c, a, b0, b1, kBits == Bits16::kBfloat);
}

inline void multiply(int (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  baton::emulation::multiplyBytes(c, a, b0, b1);
}

inline void multiply(int (&c)[4], unsigned a0, unsigned a1, unsigned b0) {
  baton::emulation::multiplyBytes(c, a0, a1, b0);
}

template <int kBytes>
void copyAsync(void* shared, const void* global, bool there = true) {
  baton::emulation::copyAsync(shared, global, kBytes, there);
}

inline void endCopies() {
  baton::emulation::endCopies();
}

template <int kLeft>
void waitForCopies() {
  baton::emulation::waitForCopies(kLeft);
}
#endif

}  // namespace baton::cuda
