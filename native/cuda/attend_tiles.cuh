// SPDX-License-Identifier: Apache-2.0
// Attention of 64 queries of an item of attention.h by tensor cores, a warp for 16 of them; scores,
// weights and sums stay in registers (Dao, arXiv 2307.08691). K is stored transposed, V is not, and
// both are right matrices that ldmatrix transposes on its way. Heads of 256 numbers are shared by
// two warps, so that half as many queries are attended at a time.
#pragma once

#include "cuda/kv_tiles.cuh"

namespace baton::cuda {

inline constexpr float kLog2e = 1.44269504088896341f;
inline constexpr float kLn2 = 0.693147180559945309f;

template <KvType kKv, int kDim>
struct TileAttender {
  using S = TileShape<kKv, kDim>;

  const KvTiles<kKv, kDim> kv;
  const int item0;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int part = warp % S::kParts;
  const int query = warp / S::kParts * 16;  // the first of the warp's
  unsigned left[S::kPartDim / 16][4];       // queries
  float o[S::kPartDim / 8][4] = {};
  float m[2] = {kNothing, kNothing};  // of s log2(e); of queries lane / 4 and 8 further
  float d[2] = {};                    // over the keys of this lane

  __device__ TileAttender(const AttendSlotsArgs& a, int firstItem, std::byte* shared)
      : kv(a, firstItem, shared), item0(firstItem) {}

  __device__ void loadQueries() {
    constexpr float kLargest = S::kBits == Bits16::kHalf ? 65504.0f : 3.38e38f;
    const float factor = kv.a.scale * kLog2e;
    const Cell cell = leftCell<2>(lane, 0);
    const float* rows[2];
    BATON_UNROLL
    for (int r = 0; r < 2; ++r) {
      const int i = query + cell.row + 8 * r;
      rows[r] = i > kv.lastQuery ? nullptr : kv.source.query(i) + part * S::kPartDim + cell.column;
    }
    BATON_UNROLL
    for (int k = 0; k < S::kPartDim / 16; ++k) {
      BATON_UNROLL
      for (int r = 0; r < 4; ++r) {
        const float* q = rows[r % 2];
        const int t = 16 * k + 8 * (r / 2);
        const float low = q == nullptr ? 0.0f : q[t] * factor;
        const float high = q == nullptr ? 0.0f : q[t + 1] * factor;
        const bool fits = fabsf(low) <= kLargest && fabsf(high) <= kLargest;
        left[k][r] = fits ? rounded<S::kBits>(low, high) : 0x7fff7fffu;  // NaN, which finish sees
      }
    }
  }

  using Scores = float[S::kKeys / 8][4];

  __device__ void addScores(const std::byte* tile, Scores& s) const {
    const Cell mine = loadedChunk(lane);
    BATON_UNROLL
    for (int k = 0; k < S::kPartDim / 16; ++k) {
      BATON_UNROLL
      for (int slot = 0; slot < S::kSlots; ++slot) {
        unsigned right[4];
        loadMatrices<4, true>(
            right, tile + chunkOffset<S::kKeyChunks>(part * S::kPartDim + 16 * k + mine.row,
                                                     2 * slot + mine.column));
        multiply<S::kBits>(s[2 * slot], left[k], right[0], right[1]);
        multiply<S::kBits>(s[2 * slot + 1], left[k], right[2], right[3]);
      }
    }
  }

  // Scores of the parts of a head, where two warps have them, in the place of a tile of K that all
  // have read.
  __device__ void addParts(std::byte* tile, Scores& s) const {
    if constexpr (S::kParts > 1) {
      auto* sums = reinterpret_cast<float*>(tile);
      const auto at = [&](int of, int n, int c) {
        return ((of * (S::kKeys / 8) + n) * 4 + c) * kWarp + lane;
      };
      __syncthreads();
      BATON_UNROLL
      for (int n = 0; n < S::kKeys / 8; ++n) {
        BATON_UNROLL
        for (int c = 0; c < 4; ++c) sums[at(warp, n, c)] = s[n][c];
      }
      __syncthreads();
      BATON_UNROLL
      for (int n = 0; n < S::kKeys / 8; ++n) {
        BATON_UNROLL
        for (int c = 0; c < 4; ++c) s[n][c] += sums[at(warp ^ 1, n, c)];  // in both the same bits
      }
    }
  }

  __device__ void hideUnread(int tile, Scores& s) const {
    bool all = true;
    BATON_UNROLL
    for (int slot = 0; slot < S::kSlots; ++slot) all = all && kv.isFull(tile * S::kSlots + slot);
    if (all) return;
    BATON_UNROLL
    for (int r = 0; r < 2; ++r) {
      // Made anew for every tile that needs it, because registers are dearer.
      const int i = query + sumCell(lane, 2 * r).row;
      const int position = kv.source.positionOf(kv.source.rowOf(min(i, kv.lastQuery)));
      BATON_UNROLL
      for (int slot = 0; slot < S::kSlots; ++slot) {
        const int at = tile * S::kSlots + slot;
        KvSlot of = {0, 0, 0, 0};
        if (at < kv.source.slots()) of = kv.a.slots[kv.source.item.slotBegin + at];
        const int own = position - of.position;
        BATON_UNROLL
        for (int n = 0; n < 2; ++n) {
          BATON_UNROLL
          for (int c = 2 * r; c < 2 * r + 2; ++c) {
            const int row = 8 * n + sumCell(lane, c).column;
            const bool read = row < of.rows && (of.causal == 0 || row <= own) &&
                              (kv.a.window == 0 || own - row < kv.a.window);
            if (!read) s[2 * slot + n][c] = kNothing;
          }
        }
      }
    }
  }

  // Scores become weights, of which those so far are made as small as the largest score demands.
  __device__ void weigh(Scores& s) {
    BATON_UNROLL
    for (int r = 0; r < 2; ++r) {
      float largest = m[r];
      BATON_UNROLL
      for (int n = 0; n < S::kKeys / 8; ++n) {
        largest = fmaxf(largest, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
      }
      BATON_UNROLL
      for (int step = 1; step < 4; step *= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, step));
      }
      const float base = largest == kNothing ? 0.0f : largest;  // -inf - -inf is no number
      const float smaller = powerOfTwo(m[r] - base);
      m[r] = largest;
      d[r] *= smaller;
      BATON_UNROLL
      for (int n = 0; n < S::kKeys / 8; ++n) {
        BATON_UNROLL
        for (int c = 2 * r; c < 2 * r + 2; ++c) {
          s[n][c] = powerOfTwo(s[n][c] - base);
          d[r] += s[n][c];
        }
      }
      BATON_UNROLL
      for (int n = 0; n < S::kPartDim / 8; ++n) {
        BATON_UNROLL
        for (int c = 2 * r; c < 2 * r + 2; ++c) o[n][c] *= smaller;
      }
    }
  }

  __device__ void addValues(const Scores& s) {
    const Cell mine = loadedChunk(lane);
    BATON_UNROLL
    for (int slot = 0; slot < S::kSlots; ++slot) {
      const auto &low = s[2 * slot], &high = s[2 * slot + 1];
      const unsigned weights[4] = {
          rounded<S::kBits>(low[0], low[1]), rounded<S::kBits>(low[2], low[3]),
          rounded<S::kBits>(high[0], high[1]), rounded<S::kBits>(high[2], high[3])};
      BATON_UNROLL
      for (int n = 0; n < S::kPartDim / 8; n += 2) {
        unsigned right[4];
        loadMatrices<4, true>(right, kv.values() + chunkOffset<S::kValueChunks>(
                                                       slot * kBlockRows + mine.row,
                                                       part * (S::kPartDim / 8) + n + mine.column));
        multiply<S::kBits>(o[n], weights, right[0], right[1]);
        multiply<S::kBits>(o[n + 1], weights, right[2], right[3]);
      }
    }
  }

  __device__ void run() {
    loadQueries();
    int tile = kv.nextTile(0), buffer = 0;
    if constexpr (!S::kBytes) {
      if (tile < kv.tiles()) kv.copyKeys(tile, buffer);
      endCopies();
    } else {
      if (tile < kv.tiles()) kv.copyStored(tile);
      endCopies();
    }
    while (tile < kv.tiles()) {
      const int next = kv.nextTile(tile + 1);
      Scores s = {};
      if constexpr (!S::kBytes) {
        __syncthreads();  // V of the tile before has been read
        kv.copyValues(tile);
        endCopies();
        if (next < kv.tiles()) kv.copyKeys(next, buffer ^ 1);
        endCopies();
        waitForCopies<2>();
        __syncthreads();
        addScores(kv.keys(buffer), s);
        addParts(kv.keys(buffer), s);
        hideUnread(tile, s);
        weigh(s);
        waitForCopies<1>();
        __syncthreads();
        addValues(s);
        buffer ^= 1;
      } else {
        waitForCopies<0>();
        __syncthreads();  // and the tile before has been read
        kv.widenStored();
        __syncthreads();
        if (next < kv.tiles()) kv.copyStored(next);
        endCopies();
        addScores(kv.keys(0), s);
        addParts(kv.keys(0), s);
        scaleAndWeigh(tile, s);
        addValues(s);
      }
      tile = next;
    }
    finish();
  }

  // Scales of K go to scores and those of V to weights, once they have been summed.
  __device__ void scaleAndWeigh(int tile, Scores& s) {
    BATON_UNROLL
    for (int n = 0; n < S::kKeys / 8; ++n) {
      const unsigned scales = kv.scalesAt(true, tile, n);
      BATON_UNROLL
      for (int c = 0; c < 4; ++c) s[n][c] *= kv.scaleOf(scales, c % 2);
    }
    hideUnread(tile, s);
    weigh(s);
    BATON_UNROLL
    for (int n = 0; n < S::kKeys / 8; ++n) {
      const unsigned scales = kv.scalesAt(false, tile, n);
      BATON_UNROLL
      for (int c = 0; c < 4; ++c) {
        s[n][c] = s[n][c] == 0 ? 0.0f : s[n][c] * kv.scaleOf(scales, c % 2);
      }
    }
  }

  __device__ void finish() {
    bool finite = true;
    BATON_UNROLL
    for (int r = 0; r < 2; ++r) {
      BATON_UNROLL
      for (int step = 1; step < 4; step *= 2) d[r] += __shfl_xor_sync(kAllLanes, d[r], step);
      finite = finite && d[r] <= 3e38f;
    }
    BATON_UNROLL
    for (int n = 0; n < S::kPartDim / 8; ++n) {
      BATON_UNROLL
      for (int c = 0; c < 4; ++c) finite = finite && fabsf(o[n][c]) <= 3e38f;
    }
    __syncthreads();
    if (overBlock(finite ? 0 : 1, reinterpret_cast<int*>(kv.shared), Sum{}) != 0)
      return attendExactly();
    storeQueries();
  }

  __device__ void storeQueries() const {
    // The item once more, so that what is used here alone need not be kept.
    const ItemSource to = kv.sourceOf(kv.a, item0);
    const bool whole = to.item.whole != 0;
    BATON_UNROLL
    for (int r = 0; r < 2; ++r) {
      const int i = query + sumCell(lane, 2 * r).row;
      if (i > kv.lastQuery) continue;
      const size_t at = to.stateAt(i);
      const float factor = !whole ? 1.0f : d[r] == 0 ? 0.0f : 1.0f / d[r];
      float* row =
          (whole ? kv.a.out : kv.a.o) + at * kDim + part * S::kPartDim + sumCell(lane, 0).column;
      BATON_UNROLL
      for (int n = 0; n < S::kPartDim / 8; ++n) {
        row[8 * n] = o[n][2 * r] * factor;
        row[8 * n + 1] = o[n][2 * r + 1] * factor;
      }
      if (part == 0 && lane % 4 == 0) to.storeSum(at, m[r] * kLn2, d[r]);
    }
  }

  // What is not finite may be of a row that only some of the queries read.
  __device__ void attendExactly() const {
    ItemSource two = kv.sourceOf(kv.a, item0);  // more want more registers than all before
    for (int i = 0; i <= kv.lastQuery; i += 2, two.first += 2) {
      __syncthreads();
      attendBlock<kKv, kDim, 2>(two, kDim, kv.a.scale);
    }
  }
};

}  // namespace baton::cuda
