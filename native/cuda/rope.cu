// SPDX-License-Identifier: Apache-2.0
// rope of rows.h: rows along x; a thread turns four pairs, which it has read before it writes, so
// it may be done in place.
#include "cuda/lanes.cuh"
#include "cuda/ops.h"
#include "cuda/turn.cuh"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 128;

template <RopePairing kPairing, bool kFours>
__global__ void __launch_bounds__(kThreads) rope(RopeArgs a, int r0) {
  constexpr bool kAdjacent = kPairing == RopePairing::kAdjacent;
  const int half = a.D / 2, quarters = half / 4;
  const int item = static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x);
  if (item >= a.heads * quarters) return;
  const size_t r = static_cast<size_t>(r0) + blockIdx.x;
  const int head = item / quarters;
  const auto pair = static_cast<size_t>(item % quarters) * 4;
  const int p = a.positions[r];
  const size_t angles = static_cast<size_t>(p < 0 ? -p : p) * static_cast<size_t>(half) + pair;
  const float sign = p < 0 ? -1.0f : 1.0f;
  const float4 c = loadFour<kFours>(a.cos + angles, 0, 4);
  const float4 s = loadFour<kFours>(a.sin + angles, 0, 4);
  // Adjacent pairs lie in eight numbers, (first, second) four times; halves in four and four.
  const size_t one = kAdjacent ? 2 * pair : pair;
  const size_t two = kAdjacent ? 2 * pair + 4 : pair + static_cast<size_t>(half);
  const auto at = static_cast<size_t>(head) * static_cast<size_t>(a.D);
  const float* x = a.x + r * static_cast<size_t>(a.ldx) + at;
  float* out = a.out + r * static_cast<size_t>(a.ldo) + at;
  const float4 u = loadFour<kFours>(x + one, 0, 4), v = loadFour<kFours>(x + two, 0, 4);
  const Turned t0 = turn(u.x, kAdjacent ? u.y : v.x, c.x, sign * s.x);
  const Turned t1 = turn(kAdjacent ? u.z : u.y, kAdjacent ? u.w : v.y, c.y, sign * s.y);
  const Turned t2 = turn(kAdjacent ? v.x : u.z, kAdjacent ? v.y : v.z, c.z, sign * s.z);
  const Turned t3 = turn(kAdjacent ? v.z : u.w, v.w, c.w, sign * s.w);
  if (kAdjacent) {
    storeFour<kFours>(out + one, 0, 4, make_float4(t0.first, t0.second, t1.first, t1.second));
    storeFour<kFours>(out + two, 0, 4, make_float4(t2.first, t2.second, t3.first, t3.second));
  } else {
    storeFour<kFours>(out + one, 0, 4, make_float4(t0.first, t1.first, t2.first, t3.first));
    storeFour<kFours>(out + two, 0, 4, make_float4(t0.second, t1.second, t2.second, t3.second));
  }
}

template <RopePairing kPairing>
void launchRope(const RopeArgs& a, int r0, int r1) {
  const bool fours = inFours(a.x, a.ldx) && inFours(a.out, a.ldo) && inFours(a.cos, a.D / 2) &&
                     inFours(a.sin, a.D / 2);
  const auto items = static_cast<size_t>(a.heads) * static_cast<size_t>(a.D / 8);
  const dim3 grid(static_cast<unsigned>(r1 - r0), blocksOf(items, kThreads));
  launch(fours ? rope<kPairing, true> : rope<kPairing, false>, grid, kThreads, 0, a, r0);
}

}  // namespace
}  // namespace cuda

void ropeCuda(const RopeArgs& a, int r0, int r1) {
  if (r0 >= r1) return;
  if (a.pairing == RopePairing::kAdjacent) {
    cuda::launchRope<RopePairing::kAdjacent>(a, r0, r1);
  } else {
    cuda::launchRope<RopePairing::kHalves>(a, r0, r1);
  }
}

}  // namespace baton
