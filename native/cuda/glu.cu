// SPDX-License-Identifier: Apache-2.0
// The gated units of rows.h and their backward of drows.h: rows are contiguous, so a call is one
// run of numbers. A thread reads its four before it writes them, so results may lie over arguments.
#include "cuda/lanes.cuh"
#include "cuda/ops.h"
#include "cuda/units.cuh"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 256;

// act(g) and its derivative.
struct Activation {
  float value, slope;
};

// g s and s (1 + g (1 - s) inner), s = 1 / (1 + e^-x). Where s is 0 or 1 in float32 the last term
// is left out: `inner` of a large g may be infinite.
__device__ inline Activation gated(float g, float x, float inner) {
  const float s = 1.0f / (1.0f + expf(-x));
  const float turning = s * (1.0f - s);
  return {g * s, turning == 0 ? s : s + g * turning * inner};
}

struct Silu {
  __device__ static float value(float g) { return silu(g); }
  __device__ static Activation withSlope(float g) { return gated(g, g, 1.0f); }
};

struct Gelu {
  __device__ static float value(float g) { return gelu(g); }
  __device__ static Activation withSlope(float g) {
    return gated(g, geluTwice(g), kGeluSlope * (1.0f + 3.0f * kGeluCube * g * g));
  }
};

template <class Act, bool kFours>
__global__ void __launch_bounds__(kThreads)
    glu(const float* gate, const float* up, float* out, size_t n) {
  const size_t i = 4 * (size_t{blockIdx.x} * kThreads + threadIdx.x);
  if (i >= n) return;
  const float4 g = loadFour<kFours>(gate, i, n), u = loadFour<kFours>(up, i, n);
  storeFour<kFours>(out, i, n,
                    make_float4(Act::value(g.x) * u.x, Act::value(g.y) * u.y, Act::value(g.z) * u.z,
                                Act::value(g.w) * u.w));
}

template <class Act, bool kFours>
__global__ void __launch_bounds__(kThreads)
    dGlu(const float* gate, const float* up, const float* dout, float* dgate, float* dup,
         size_t n) {
  const size_t i = 4 * (size_t{blockIdx.x} * kThreads + threadIdx.x);
  if (i >= n) return;
  const float4 g = loadFour<kFours>(gate, i, n), u = loadFour<kFours>(up, i, n);
  const float4 d = loadFour<kFours>(dout, i, n);
  const Activation x = Act::withSlope(g.x), y = Act::withSlope(g.y);
  const Activation z = Act::withSlope(g.z), w = Act::withSlope(g.w);
  storeFour<kFours>(dgate, i, n,
                    make_float4(d.x * u.x * x.slope, d.y * u.y * y.slope, d.z * u.z * z.slope,
                                d.w * u.w * w.slope));
  storeFour<kFours>(dup, i, n,
                    make_float4(d.x * x.value, d.y * y.value, d.z * z.value, d.w * w.value));
}

template <class Act>
void launchGlu(const GluArgs& a, int r0, int r1) {
  if (r0 >= r1) return;
  const size_t first = static_cast<size_t>(r0) * static_cast<size_t>(a.F);
  const size_t n = static_cast<size_t>(r1 - r0) * static_cast<size_t>(a.F);
  const float *gate = a.gate + first, *up = a.up + first;
  float* out = a.out + first;
  const bool fours = inFours(gate, a.F) && inFours(up, a.F) && inFours(out, a.F);
  launch(fours ? glu<Act, true> : glu<Act, false>, dim3(blocksOf(n, size_t{4} * kThreads)),
         kThreads, 0, gate, up, out, n);
}

template <class Act>
void launchDGlu(const DGluArgs& a, int r0, int r1) {
  if (r0 >= r1) return;
  const size_t first = static_cast<size_t>(r0) * static_cast<size_t>(a.F);
  const size_t n = static_cast<size_t>(r1 - r0) * static_cast<size_t>(a.F);
  const float *gate = a.gate + first, *up = a.up + first, *dout = a.dout + first;
  float *dgate = a.dgate + first, *dup = a.dup + first;
  const bool fours = inFours(gate, a.F) && inFours(up, a.F) && inFours(dout, a.F) &&
                     inFours(dgate, a.F) && inFours(dup, a.F);
  launch(fours ? dGlu<Act, true> : dGlu<Act, false>, dim3(blocksOf(n, size_t{4} * kThreads)),
         kThreads, 0, gate, up, dout, dgate, dup, n);
}

}  // namespace
}  // namespace cuda

void swigluCuda(const GluArgs& a, int r0, int r1) {
  cuda::launchGlu<cuda::Silu>(a, r0, r1);
}

void gegluCuda(const GluArgs& a, int r0, int r1) {
  cuda::launchGlu<cuda::Gelu>(a, r0, r1);
}

void dSwigluCuda(const DGluArgs& a, int r0, int r1) {
  cuda::launchDGlu<cuda::Silu>(a, r0, r1);
}

void dGegluCuda(const DGluArgs& a, int r0, int r1) {
  cuda::launchDGlu<cuda::Gelu>(a, r0, r1);
}

}  // namespace baton
