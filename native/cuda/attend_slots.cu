// SPDX-License-Identifier: Apache-2.0
// attendSlots of attention.h: a block for some queries of one item and one kv head. Reads every row
// of K and V once for each four queries of a group, which is what decode wants; items of more rows
// go to attend_tiles.cu.
#include "cuda/attend.cuh"
#include "cuda/attention.h"
#include "cuda/item_source.cuh"
#include "cuda/ops.h"

namespace baton {
namespace cuda {
namespace {

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
void launchAttendSlots(const AttendSlotsArgs& a, int item0, int item1, int mostRows) {
  const auto queries = static_cast<size_t>(mostRows) * static_cast<size_t>(a.H / a.G);
  const size_t each = queries == 1 ? 1 : 4;
  const size_t floats = each == 1 ? attendFloats<1>(a.D) : attendFloats<4>(a.D);
  const dim3 grid(static_cast<unsigned>(item1 - item0), static_cast<unsigned>(a.G),
                  blocksOf(queries, each));
  launch(each == 1 ? attendSlots<kKv, kDim, 1> : attendSlots<kKv, kDim, 4>, grid, kAttendThreads,
         floats * sizeof(float), a, item0);
}

}  // namespace
}  // namespace cuda

void attendSlotsCuda(const AttendSlotsArgs& a, int item0, int item1) {
  if (item0 >= item1 || a.mostRows == 0) return;
  int mostRows = a.mostRows;
  if (a.halves && a.few < item1 && takesHalves(a.kv, a.D)) {
    const int border = a.few < item0 ? item0 : a.few;
    attendTilesCuda(a, border, item1);
    item1 = border;
    mostRows = a.mostFew;
    if (item0 >= item1 || mostRows == 0) return;
  }
  cuda::withHeads(a.kv, a.D, [&](auto heads) {
    using Heads = decltype(heads);
    cuda::launchAttendSlots<Heads::kKv, Heads::kDim>(a, item0, item1, mostRows);
  });
}

}  // namespace baton
