// SPDX-License-Identifier: Apache-2.0
// attendSlots of attention.h: a block for some queries of one item and one kv head. Reads every row
// of K and V once for each four queries of a group, which is what decode wants.
#include "cuda/attend.cuh"
#include "cuda/attention.h"

namespace baton {
namespace cuda {
namespace {

// Queries first .. of an item for one kv head: the heads of the group of its first row, then those
// of the next.
struct ItemSource {
  const AttendSlotsArgs& a;
  const AttendItem item;
  const int kvHead, first;

  __device__ int group() const { return a.H / a.G; }
  __device__ int rowOf(int i) const { return (first + i) / group(); }
  __device__ size_t headOf(int i) const {
    return static_cast<size_t>(kvHead * group() + (first + i) % group());
  }
  __device__ const float* query(int i) const {
    if (rowOf(i) >= item.rows) return nullptr;
    const auto row = static_cast<size_t>(item.queryRow + rowOf(i));
    return a.q + (row * static_cast<size_t>(a.H) + headOf(i)) * static_cast<size_t>(a.D);
  }
  __device__ int slots() const { return item.slotEnd - item.slotBegin; }
  __device__ RowRange range(int s, int i) const {
    const int row = rowOf(i);
    if (row >= item.rows) return {0, 0};
    const KvSlot slot = a.slots[item.slotBegin + s];
    const int own = item.position + row - slot.position;  // where its own row would be
    int end = slot.rows;
    if (slot.causal != 0) end = own + 1 < end ? own + 1 : end;
    const int begin = own - a.window + 1;
    return {a.window != 0 && begin > 0 ? begin : 0, end};
  }
  __device__ size_t offset(int s) const {
    return static_cast<size_t>(kvHead) * a.headStride +
           static_cast<size_t>(a.slots[item.slotBegin + s].block) * a.blockStride;
  }
  __device__ const std::byte* key(int s) const { return a.k + offset(s); }
  __device__ const std::byte* value(int s) const { return a.v + offset(s); }
  __device__ void store(int i, int t, float o, float m, float d) const {
    const size_t at =
        static_cast<size_t>(item.state + rowOf(i)) * static_cast<size_t>(a.H) + headOf(i);
    const size_t number = at * static_cast<size_t>(a.D) + static_cast<size_t>(t);
    if (item.whole == 0) {
      a.o[number] = o;
      if (t == 0) a.m[at] = m, a.d[at] = d;
      return;
    }
    a.out[number] = d == 0 ? 0.0f : o * (1.0f / d);
    if (t == 0 && a.lse != nullptr) a.lse[at] = d == 0 ? kNothing : m + logf(d);
  }
};

// Blocks: (item, kv head, queries of it).
template <KvType kKv, int kDim, int kQ>
__global__ void __launch_bounds__(kAttendThreads, kQ == 1 ? 3 : 2)
    attendSlots(AttendSlotsArgs a, int item0) {
  const AttendItem item = a.items[static_cast<unsigned>(item0) + blockIdx.x];
  const int first = static_cast<int>(blockIdx.z) * kQ;
  if (first >= item.rows * (a.H / a.G)) return;  // the whole block
  const ItemSource source{a, item, static_cast<int>(blockIdx.y), first};
  attendBlock<kKv, kDim, kQ>(source, a.D, a.scale);
}

template <KvType kKv, int kDim>
void launchAttendSlots(const AttendSlotsArgs& a, int item0, int item1) {
  const auto queries = static_cast<size_t>(a.mostRows) * static_cast<size_t>(a.H / a.G);
  const size_t each = queries == 1 ? 1 : 4;
  const size_t floats = each == 1 ? attendFloats<1>(a.D) : attendFloats<4>(a.D);
  const dim3 grid(static_cast<unsigned>(item1 - item0), static_cast<unsigned>(a.G),
                  blocksOf(queries, each));
  launch(each == 1 ? attendSlots<kKv, kDim, 1> : attendSlots<kKv, kDim, 4>, grid, kAttendThreads,
         floats * sizeof(float), a, item0);
}

template <KvType kKv>
void chooseDim(const AttendSlotsArgs& a, int item0, int item1) {
  if (a.D <= 64) return launchAttendSlots<kKv, 64>(a, item0, item1);
  if (a.D <= 128) return launchAttendSlots<kKv, 128>(a, item0, item1);
  launchAttendSlots<kKv, kMostHeadDim>(a, item0, item1);
}

}  // namespace
}  // namespace cuda

void attendSlotsCuda(const AttendSlotsArgs& a, int item0, int item1) {
  if (item0 >= item1 || a.mostRows == 0) return;
  switch (a.kv) {
    case KvType::kF32:
      return cuda::chooseDim<KvType::kF32>(a, item0, item1);
    case KvType::kF16:
      return cuda::chooseDim<KvType::kF16>(a, item0, item1);
    case KvType::kBF16:
      return cuda::chooseDim<KvType::kBF16>(a, item0, item1);
    case KvType::kInt8:
      return cuda::chooseDim<KvType::kInt8>(a, item0, item1);
  }
}

}  // namespace baton
