// SPDX-License-Identifier: Apache-2.0
// K and V of some blocks of the pool at a time in shared memory, for attend_tiles.cuh: what of them
// is read, how it gets there while something else is multiplied, and where it then lies.
#pragma once

#include "cuda/attend.cuh"
#include "cuda/attention.h"
#include "cuda/item_source.cuh"
#include "cuda/mma.cuh"
#include "cuda/tiles.cuh"

namespace baton::cuda {

template <KvType kKv, int kDim>
struct TileShape {
  static constexpr bool kBytes = kKv == KvType::kInt8;  // made into bfloat16 in shared memory
  static constexpr Bits16 kBits = kKv == KvType::kF16 ? Bits16::kHalf : Bits16::kBfloat;
  static constexpr int kParts = kDim > 128 ? 2 : 1;  // of a head, each of another warp
  static constexpr int kPartDim = kDim / kParts;
  static constexpr int kQueries = 64 / kParts;
  static constexpr int kSlots = kDim > 64 ? 2 : 4;  // of a tile of K and V, by registers for scores
  static constexpr int kKeys = kSlots * kBlockRows;
  static constexpr int kKeyChunks = kKeys / 8;  // of a row of the tile of K: one number of all keys
  static constexpr int kValueChunks = kDim / 8;  // of a row of the tile of V: one key
  static constexpr int kTileBytes = kKeys * kDim * 2;
  // Two tiles of K and one of V; of int8, one of each and both as they are stored.
  static constexpr size_t kSharedBytes = size_t{3} * kTileBytes;
};

// Threads for all of `count` pieces of work, each `i` once.
template <int kCount, class Work>
__device__ inline void forAll(Work work) {
  static_assert(kCount % kAttendThreads == 0);
  BATON_UNROLL_BY(1)
  for (int i = 0; i < kCount; i += kAttendThreads) work(i + static_cast<int>(threadIdx.x));
}

// The bytes of two words as bfloat16, which is exact: numbers 4 n .. 4 n + 3 of 16 in a vector.
__device__ inline unsigned bfloatsOfBytes(unsigned word, int i) {
  return rounded<Bits16::kBfloat>(static_cast<float>(static_cast<int8_t>(word >> 8 * i)),
                                  static_cast<float>(static_cast<int8_t>(word >> 8 * (i + 1))));
}

__device__ inline uint4 bfloatsOfBytes(unsigned first, unsigned second) {
  return {bfloatsOfBytes(first, 0), bfloatsOfBytes(first, 2), bfloatsOfBytes(second, 0),
          bfloatsOfBytes(second, 2)};
}

// What a block of threads reads for its queries of an item.
template <KvType kKv, int kDim>
struct KvTiles {
  using S = TileShape<kKv, kDim>;

  const AttendSlotsArgs& a;
  const ItemSource source;
  std::byte* const shared;
  const int lastQuery;        // of the block that there is
  const int lowest, highest;  // positions of its queries

  __device__ KvTiles(const AttendSlotsArgs& args, int item0, std::byte* memory)
      : a(args),
        source(sourceOf(args, item0)),
        shared(memory),
        lastQuery(min(S::kQueries, source.item.rows * source.group() - source.first) - 1),
        lowest(source.positionOf(source.rowOf(0))),
        highest(source.positionOf(source.rowOf(lastQuery))) {}

  // Of this block.
  __device__ static ItemSource sourceOf(const AttendSlotsArgs& a, int item0) {
    return {a, a.items[static_cast<unsigned>(item0) + blockIdx.x], static_cast<int>(blockIdx.y),
            static_cast<int>(blockIdx.z) * S::kQueries};
  }

  __device__ std::byte* keys(int buffer) const { return shared + buffer * S::kTileBytes; }
  __device__ std::byte* values() const { return shared + (S::kBytes ? 1 : 2) * S::kTileBytes; }
  // As stored, 16 bytes after 16 bytes: of K, of a number of all slots, and of V.
  __device__ std::byte* storedKeys() const { return shared + 2 * S::kTileBytes; }
  __device__ std::byte* storedValues() const { return storedKeys() + S::kTileBytes / 2; }

  __device__ int tiles() const { return (source.slots() + S::kSlots - 1) / S::kSlots; }

  // Rows of slot s that some query reads.
  __device__ RowRange rangeOf(int s) const {
    if (s >= source.slots()) return {0, 0};
    const KvSlot slot = a.slots[source.item.slotBegin + s];
    int end = slot.rows;
    if (slot.causal != 0) end = min(end, highest - slot.position + 1);
    return {a.window == 0 ? 0 : max(0, lowest - slot.position - a.window + 1), end};
  }
  __device__ bool isRead(int s) const {
    const RowRange range = rangeOf(s);
    return range.first < range.end;
  }
  // Whether every query reads all of it.
  __device__ bool isFull(int s) const {
    if (s >= source.slots()) return false;
    const KvSlot slot = a.slots[source.item.slotBegin + s];
    return slot.rows == kBlockRows &&
           (slot.causal == 0 || slot.position + kBlockRows - 1 <= lowest) &&
           (a.window == 0 || highest - slot.position < a.window);
  }
  // The first tile from this one on of which something is read.
  __device__ int nextTile(int tile) const {
    for (; tile < tiles(); ++tile) {
      BATON_UNROLL
      for (int s = 0; s < S::kSlots; ++s) {
        if (isRead(tile * S::kSlots + s)) return tile;
      }
    }
    return tile;
  }

  // Of a tile, what is read. K that is not may be anything: it touches its own scores alone.
  __device__ void copyKeys(int tile, int buffer) const {
    constexpr int kRowsAtOnce = kAttendThreads / S::kKeyChunks;
    const Cell chunk = copiedChunk<S::kKeyChunks>(static_cast<int>(threadIdx.x));
    const int s = tile * S::kSlots + chunk.column / 2;
    if (!isRead(s)) return;
    const std::byte* from = source.key(s) + chunk.row * 32 + chunk.column % 2 * 16;
    BATON_UNROLL_BY(1)
    for (int row = 0; row < kDim; row += kRowsAtOnce) {
      copyAsync<16>(keys(buffer) + chunkOffset<S::kKeyChunks>(row + chunk.row, chunk.column),
                    from + row * 32);
    }
  }

  // Of V zeros for rows that nobody reads, because 0 times what they hold may be NaN.
  __device__ void copyValues(int tile) const {
    constexpr int kRowsAtOnce = kAttendThreads / S::kValueChunks;
    const Cell chunk = copiedChunk<S::kValueChunks>(static_cast<int>(threadIdx.x));
    BATON_UNROLL_BY(1)
    for (int slot = 0; slot < S::kSlots; ++slot) {
      const int s = tile * S::kSlots + slot;
      const RowRange range = rangeOf(s);
      const std::byte* from = a.v;
      if (range.first < range.end)
        from = source.value(s) + chunk.row * kDim * 2 + chunk.column * 16;
      BATON_UNROLL
      for (int more = 0; more < kBlockRows; more += kRowsAtOnce) {
        const int row = more + chunk.row;
        const bool there = row >= range.first && row < range.end;
        copyAsync<16>(
            values() + chunkOffset<S::kValueChunks>(slot * kBlockRows + row, chunk.column),
            there ? from + more * kDim * 2 : a.v, there);
      }
    }
  }

  // The same of int8, as it is stored: no byte is NaN, and scales are looked at later.
  __device__ void copyStored(int tile) const {
    forAll<kDim * S::kSlots>([&](int i) {
      const int s = tile * S::kSlots + i % S::kSlots;
      if (isRead(s)) copyAsync<16>(storedKeys() + i * 16, source.key(s) + i / S::kSlots * 16);
    });
    forAll<kDim * S::kSlots>([&](int i) {
      const int s = tile * S::kSlots + i / kDim;
      if (isRead(s)) copyAsync<16>(storedValues() + i * 16, source.value(s) + i % kDim * 16);
    });
  }

  __device__ void widenStored() const {
    forAll<kDim * S::kSlots>([&](int i) {
      const uint4 v = reinterpret_cast<const uint4*>(storedKeys())[i];
      const int t = i / S::kSlots, chunk = i % S::kSlots * 2;
      store(keys(0) + chunkOffset<S::kKeyChunks>(t, chunk), bfloatsOfBytes(v.x, v.y));
      store(keys(0) + chunkOffset<S::kKeyChunks>(t, chunk + 1), bfloatsOfBytes(v.z, v.w));
    });
    forAll<kDim * S::kSlots>([&](int i) {
      const uint4 v = reinterpret_cast<const uint4*>(storedValues())[i];
      const int row = i / (kDim / 16), chunk = i % (kDim / 16) * 2;
      // Eight lanes have 16 chunks of one row: the second four of them their second ones first.
      const bool swap = chunk / 8 % 2 != 0;
      const uint4 low = bfloatsOfBytes(v.x, v.y), high = bfloatsOfBytes(v.z, v.w);
      store(values() + chunkOffset<S::kValueChunks>(row, chunk + swap), swap ? high : low);
      store(values() + chunkOffset<S::kValueChunks>(row, chunk + !swap), swap ? low : high);
    });
  }
  __device__ static void store(std::byte* to, uint4 v) { *reinterpret_cast<uint4*>(to) = v; }

  // Scales of keys 8 n + 2 (lane % 4) and the next, of K or V of a tile.
  __device__ unsigned scalesAt(bool ofKeys, int tile, int n) const {
    const int s = tile * S::kSlots + n / 2;
    if (!isRead(s)) return 0;
    const std::byte* base = ofKeys ? source.key(s) : source.value(s);
    return *reinterpret_cast<const unsigned*>(
        base + kDim * kBlockRows +
        2 * (n % 2 * 8 + sumCell(static_cast<int>(threadIdx.x) % kWarp, 0).column));
  }
  __device__ static float scaleOf(unsigned pair, int i) {
    return wideHalf(static_cast<uint16_t>(i == 0 ? pair : pair >> 16));
  }
};

}  // namespace baton::cuda
