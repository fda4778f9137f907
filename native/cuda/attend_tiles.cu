// SPDX-License-Identifier: Apache-2.0
// attendSlots of attention.h for items of many rows, by tensor cores: a block of threads for 64
// queries of one item and one kv head.
#include "cuda/attend_tiles.cuh"

namespace baton {
namespace cuda {
namespace {

// Blocks: (item, kv head, queries of it).
template <KvType kKv, int kDim>
__global__ void __launch_bounds__(kAttendThreads, 2) attendTiles(AttendSlotsArgs a, int item0) {
  const int rows = a.items[static_cast<unsigned>(item0) + blockIdx.x].rows;
  const int first = static_cast<int>(blockIdx.z) * TileShape<kKv, kDim>::kQueries;
  if (first >= rows * (a.H / a.G)) return;  // the whole block
  TileAttender<kKv, kDim>(a, item0, sharedMemory<std::byte>()).run();
}

template <KvType kKv, int kDim>
void launchTiles(const AttendSlotsArgs& a, int item0, int item1) {
  using S = TileShape<kKv, kDim>;
  const auto queries = static_cast<size_t>(a.mostRows) * static_cast<size_t>(a.H / a.G);
  const dim3 grid(static_cast<unsigned>(item1 - item0), static_cast<unsigned>(a.G),
                  blocksOf(queries, S::kQueries));
  launch(attendTiles<kKv, kDim>, grid, kAttendThreads, S::kSharedBytes, a, item0);
}

template <KvType kKv>
bool chooseTiles(const AttendSlotsArgs& a, int item0, int item1) {
  switch (a.D) {
    case 64:
      launchTiles<kKv, 64>(a, item0, item1);
      return true;
    case 128:
      launchTiles<kKv, 128>(a, item0, item1);
      return true;
    case 256:
      launchTiles<kKv, 256>(a, item0, item1);
      return true;
    default:
      return false;
  }
}

}  // namespace
}  // namespace cuda

bool attendTilesCuda(const AttendSlotsArgs& a, int item0, int item1) {
  if (item0 >= item1) return true;
  switch (a.kv) {
    case KvType::kF32:
      return false;
    case KvType::kF16:
      return cuda::chooseTiles<KvType::kF16>(a, item0, item1);
    case KvType::kBF16:
      return cuda::chooseTiles<KvType::kBF16>(a, item0, item1);
    case KvType::kInt8:
      return cuda::chooseTiles<KvType::kInt8>(a, item0, item1);
  }
  return false;
}

}  // namespace baton
