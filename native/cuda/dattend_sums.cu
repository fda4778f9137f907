// SPDX-License-Identifier: Apache-2.0
// What attention_backward.h adds up before and after its two passes: delta by a warp for each head
// of a row; parts of dq, turned back, by a thread for each pair that rope turns together; parts of
// dk and dv by a thread for each number.
#include "cuda/attention_backward.h"
#include "cuda/lanes.cuh"
#include "cuda/turn.cuh"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 128;

__global__ void __launch_bounds__(kThreads)
    dAttendDelta(DAttendDeltaArgs a, size_t head0, size_t heads) {
  const size_t warp = (size_t{blockIdx.x} * kThreads + threadIdx.x) / kWarp;
  if (warp >= heads) return;  // the whole warp
  const size_t at = (head0 + warp) * static_cast<size_t>(a.D);
  float sum = 0;
  for (unsigned t = threadIdx.x % kWarp; t < static_cast<unsigned>(a.D); t += kWarp) {
    sum = fmaf(a.dout[at + t], a.out[at + t], sum);
  }
  sum = overWarp(sum, Sum{});
  if (threadIdx.x % kWarp == 0) a.delta[head0 + warp] = sum;
}

// Blocks: (row, pairs of all heads).
__global__ void __launch_bounds__(kThreads) dAttendTurn(DAttendTurnArgs a, int r0) {
  const int half = a.D / 2;
  const int pair = static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x);
  if (pair >= a.H * half) return;
  const size_t r = static_cast<size_t>(r0) + blockIdx.x;
  const auto width = static_cast<size_t>(a.H) * static_cast<size_t>(a.D);
  const bool adjacent = a.pairing == RopePairing::kAdjacent;
  const int of = pair % half, head = pair / half * a.D;
  const auto one = static_cast<size_t>(head + (adjacent ? 2 * of : of));
  const size_t two = one + static_cast<size_t>(adjacent ? 1 : half);
  const StateList list = a.lists[r];
  float first = 0, second = 0;
  for (int i = 0; i < list.count; ++i) {
    const auto state = static_cast<size_t>(list.first + i * list.step);
    const int p = a.positions[state];
    const size_t angle =
        static_cast<size_t>(p < 0 ? -p : p) * static_cast<size_t>(half) + static_cast<size_t>(of);
    const float* part = a.part + state * width;
    const Turned turned =
        turn(part[one], part[two], a.cos[angle], p < 0 ? -a.sin[angle] : a.sin[angle]);
    first += turned.first;
    second += turned.second;
  }
  a.dq[r * width + one] = first;
  a.dq[r * width + two] = second;
}

// Blocks: (target, numbers of its rows).
__global__ void __launch_bounds__(kThreads) dAttendGather(DAttendGatherArgs a, int target0) {
  const KeyTarget target = a.targets[static_cast<unsigned>(target0) + blockIdx.x];
  const auto width = static_cast<size_t>(a.width);
  const size_t number = size_t{blockIdx.y} * kThreads + threadIdx.x;
  if (number >= static_cast<size_t>(target.rows) * width) return;
  float k = 0, v = 0;
  for (int p = target.partBegin; p < target.partEnd; ++p) {
    const size_t at = static_cast<size_t>(p) * kBlockRows * width + number;
    k += a.partK[at];
    v += a.partV[at];
  }
  const size_t to = static_cast<size_t>(target.row) * width + number;
  a.dk[to] += k;
  a.dv[to] += v;
}

}  // namespace
}  // namespace cuda

void dAttendDeltaCuda(const DAttendDeltaArgs& a, int r0, int r1) {
  if (r0 >= r1) return;
  const auto H = static_cast<size_t>(a.H);
  const size_t heads = static_cast<size_t>(r1 - r0) * H;
  cuda::launch(cuda::dAttendDelta, dim3(cuda::blocksOf(heads, cuda::kThreads / cuda::kWarp)),
               cuda::kThreads, 0, a, static_cast<size_t>(r0) * H, heads);
}

void dAttendTurnCuda(const DAttendTurnArgs& a, int r0, int r1) {
  if (r0 >= r1) return;
  const auto pairs = static_cast<size_t>(a.H) * static_cast<size_t>(a.D / 2);
  cuda::launch(cuda::dAttendTurn,
               dim3(static_cast<unsigned>(r1 - r0), cuda::blocksOf(pairs, cuda::kThreads)),
               cuda::kThreads, 0, a, r0);
}

void dAttendGatherCuda(const DAttendGatherArgs& a, int target0, int target1) {
  if (target0 >= target1) return;
  const auto numbers = size_t{kBlockRows} * static_cast<size_t>(a.width);
  cuda::launch(
      cuda::dAttendGather,
      dim3(static_cast<unsigned>(target1 - target0), cuda::blocksOf(numbers, cuda::kThreads)),
      cuda::kThreads, 0, a, target0);
}

}  // namespace baton
