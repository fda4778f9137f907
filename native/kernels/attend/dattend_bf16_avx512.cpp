// SPDX-License-Identifier: Apache-2.0
// dattend.h with `bf16` by vdpbf16ps. What stands on the right of a product is packed once for all
// queries of a call, 64 rows at a time: K and V as pairs of t with a row in each lane, K as pairs
// of rows, and for dk and dv the queries' vectors as pairs of queries. On the left is one pair for
// all lanes. Tiles of six queries, or four rows, by four registers; a tile's sums are its own.
#include "kernels/attend/attend_pairs_avx512.h"
#include "kernels/attend/dattend_ranges.h"
#include "kernels/lanes_avx2.h"

namespace baton {
namespace {

constexpr int kQueries = 6;  // of a tile, even: dk takes them two and two
constexpr int kKeyRows = 4;
constexpr int kVectors = 4;
constexpr int kGroupBlocks = kDAttendRows / kBlockRows;
constexpr float kLog2E = 1.44269504f;

// Row i of the left operand is at left + i * leftRow, register u of the right one at
// right + u * rightVector; both take `depth` steps of so many words.
struct Operands {
  const uint32_t* left;
  size_t leftRow, leftStep;
  const uint32_t* right;
  size_t rightVector, rightStep;
  int depth;
};

template <int rows, int vectors>
struct Sums {
  __m512 at[rows][vectors];

  void zero() {
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      BATON_UNROLL
      for (int u = 0; u < vectors; ++u) at[i][u] = _mm512_setzero_ps();
    }
  }

  void add(Operands o) {
    for (int s = 0; s < o.depth; ++s, o.left += o.leftStep, o.right += o.rightStep) {
      __m512bh right[vectors];
      BATON_UNROLL
      for (int u = 0; u < vectors; ++u) {
        right[u] = (__m512bh)_mm512_loadu_si512(o.right + static_cast<size_t>(u) * o.rightVector);
      }
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        const auto pair = static_cast<int>(o.left[static_cast<size_t>(i) * o.leftRow]);
        const auto left = (__m512bh)_mm512_set1_epi32(pair);
        BATON_UNROLL
        for (int u = 0; u < vectors; ++u) at[i][u] = _mm512_dpbf16_ps(at[i][u], left, right[u]);
      }
    }
  }
};

// out(i) [D] += what `o` gives for column 0; a column further is a word further to the right.
template <int rows, int vectors, class Out>
void addTile(Operands o, int column, const Out& out) {
  Sums<rows, vectors> sum;
  o.right += column;
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u) sum.at[i][u] = _mm512_loadu_ps(out(i) + column + 16 * u);
  }
  sum.add(o);
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int u = 0; u < vectors; ++u) _mm512_storeu_ps(out(i) + column + 16 * u, sum.at[i][u]);
  }
}

template <int rows, class Out>
void addColumns(const Operands& o, int D, const Out& out) {
  int t = 0;
  for (; t + 16 * kVectors <= D; t += 16 * kVectors) addTile<rows, kVectors>(o, t, out);
  for (; t < D; t += 16) addTile<rows, 1>(o, t, out);
}

// ---- packing

// The operands of a group of rows, in scratch. t in pairs: [.., D / 2]; lanes: a row in each.
struct Packed {
  size_t D, half;   // D / 2
  uint32_t* k;      // [blocks, D / 2, 16 lanes]
  uint32_t* v;      // the same
  uint32_t* q;      // [Q, D / 2]
  uint32_t* dout;   // the same
  uint32_t* kRows;  // dAttendQuery: [rows / 2, D]
  uint32_t* qTwo;   // dAttendKey: [Q / 2, D], two queries in a pair
  uint32_t* doutTwo;
  uint32_t* p;  // [Q / 2, 64], two queries in a pair
  uint32_t* ds;

  explicit Packed(const DAttendArgs& a)
      : D(static_cast<size_t>(a.D)),
        half(D / 2),
        k(reinterpret_cast<uint32_t*>(a.scratch)),
        v(k + kDAttendRows * half),
        q(v + kDAttendRows * half),
        dout(q + kMaxQueries * half),
        kRows(dout + kMaxQueries * half),
        qTwo(kRows),
        doutTwo(qTwo + kMaxQueries / 2 * D),
        p(doutTwo + kMaxQueries / 2 * D),
        ds(p + kMaxQueries / 2 * kDAttendRows) {}
};

void packQueries(const float* const* x, int Q, int D, uint32_t* out) {
  for (int i = 0; i < Q; ++i, out += D / 2) {
    for (int t = 0; t < D; t += 16) {
      const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(x[i] + t));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + t / 2), (__m256i)rounded);
    }
  }
}

void packTwo(const float* const* x, int Q, int D, uint32_t* out) {
  for (int i = 0; i < Q; i += 2, out += D) {
    for (int t = 0; t < D; t += 16) {
      const __m512 second = i + 1 < Q ? _mm512_loadu_ps(x[i + 1] + t) : _mm512_setzero_ps();
      _mm512_storeu_si512(out + t, interleaved(_mm512_loadu_ps(x[i] + t), second));
    }
  }
}

template <KvType kv>
void packLanes(const std::byte* k, const std::byte* v, int D, uint32_t* kOut, uint32_t* vOut) {
  for (int t = 0; t < D; t += 2) _mm512_storeu_si512(kOut + t / 2 * 16, keyPairs<kv>(k, t));
  for (int t = 0; t < D; t += 16) {
    for (int rows = 0; rows < kBlockRows; rows += 8) {
      __m256 words[8];
      BATON_UNROLL
      for (int j = 0; j < 8; ++j) {
        words[j] = (__m256)_mm512_cvtneps_pbh(loadKv<kv>(v, (rows + j) * D + t));
      }
      transpose8x8(words);
      BATON_UNROLL
      for (int i = 0; i < 8; ++i) {
        _mm256_storeu_ps(reinterpret_cast<float*>(vOut + (t / 2 + i) * 16 + rows), words[i]);
      }
    }
  }
}

// Rows of K outside of `read` become zeros: they are multiplied by zero, and may hold NaN.
template <KvType kv>
void packRows(const std::byte* k, int D, __mmask16 read, uint32_t* out) {
  for (int t = 0; t < D; t += 8) {
    __m256 words[8];
    BATON_UNROLL
    for (int i = 0; i < 8; ++i) {
      const __m512 rows = _mm512_maskz_mov_ps(read, loadKv<kv>(k, (t + i) * kBlockRows));
      words[i] = (__m256)_mm512_cvtneps_pbh(rows);
    }
    transpose8x8(words);
    BATON_UNROLL
    for (int j = 0; j < 8; ++j) {
      _mm256_storeu_ps(reinterpret_cast<float*>(out + j * D + t), words[j]);
    }
  }
}

// ---- p and ds

// left . right of `queries` queries and `blocks` blocks of the group, to [blocks, queries, 16]. The
// sums are this function's own: a reference to them would have every step store them.
template <int queries, int blocks>
void products(const Packed& packed, const uint32_t* left, const uint32_t* right, int query,
              int block, float* to) {
  const size_t panel = packed.half * 16;
  Sums<queries, blocks> sum;
  sum.zero();
  sum.add({left + static_cast<size_t>(query) * packed.half, packed.half, 1,
           right + static_cast<size_t>(block) * panel, panel, 16, static_cast<int>(packed.half)});
  BATON_UNROLL
  for (int b = 0; b < blocks; ++b) {
    BATON_UNROLL
    for (int i = 0; i < queries; ++i) _mm512_store_ps(to + (b * queries + i) * 16, sum.at[i][b]);
  }
}

// Of queries from `query` on and blocks from `block` of the group that begins at row `group`;
// to(i, b, p, ds), 0 in lanes that a query does not read.
template <KvType kv, int queries, int blocks, class To>
void weigh(const DAttendArgs& a, const Packed& packed, int query, int group, int block,
           const To& to) {
  alignas(64) float scores[blocks][queries][kBlockRows], dps[blocks][queries][kBlockRows];
  products<queries, blocks>(packed, packed.q, packed.k, query, block, scores[0][0]);
  products<queries, blocks>(packed, packed.dout, packed.v, query, block, dps[0][0]);
  const __m512 scale = _mm512_set1_ps(a.scale), exponent = _mm512_set1_ps(a.scale * kLog2E);
  BATON_UNROLL
  for (int b = 0; b < blocks; ++b) {
    const int row = group + (block + b) * kBlockRows;
    __m512 ks = _mm512_setzero_ps(), vs = ks;
    if constexpr (kv == KvType::kInt8) {
      ks = loadKvScales(blockAt(a, a.k, row / kBlockRows), a.D);
      vs = loadKvScales(blockAt(a, a.v, row / kBlockRows), a.D);
    }
    BATON_UNROLL
    for (int i = 0; i < queries; ++i) {
      const auto read =
          static_cast<__mmask16>(lanesWithin({firstOf(a, query + i), a.visible[query + i]}, row));
      __m512 s = _mm512_load_ps(scores[b][i]), dp = _mm512_load_ps(dps[b][i]);
      if constexpr (kv == KvType::kInt8) {
        s = _mm512_mul_ps(s, ks);
        dp = _mm512_mul_ps(dp, vs);
      }
      const __m512 lse = _mm512_set1_ps(a.lse[query + i] * kLog2E);
      const __m512 p = roughExp2(_mm512_fmsub_ps(s, exponent, lse));
      const __m512 change = _mm512_sub_ps(dp, _mm512_set1_ps(a.delta[query + i]));
      const __m512 ds = _mm512_maskz_mul_ps(read, _mm512_mul_ps(p, change), scale);
      to(i, block + b, _mm512_maskz_mov_ps(read, p), ds);
    }
  }
}

// The same for all of blocks [own.begin, own.end).
template <KvType kv, int queries, class To>
void weighAll(const DAttendArgs& a, const Packed& packed, int query, int group, RowRange own,
              const To& to) {
  int block = own.begin;
  if (own.end - own.begin == kGroupBlocks) {
    return weigh<kv, queries, kGroupBlocks>(a, packed, query, group, block, to);
  }
  for (; block < own.end; ++block) weigh<kv, queries, 1>(a, packed, query, group, block, to);
}

// Blocks of the group that a range touches, counted from its first.
inline RowRange groupBlocks(RowRange rows, int group) {
  const RowRange all = blocksIn(rows, group);
  const int first = group / kBlockRows;
  return all.begin < all.end ? RowRange{all.begin - first, all.end - first} : RowRange{0, 0};
}

template <KvType kv>
void packGroup(const DAttendArgs& a, const Packed& packed, int group, RowRange blocks) {
  for (int b = blocks.begin; b < blocks.end; ++b) {
    const int block = group / kBlockRows + b;
    const size_t at = static_cast<size_t>(b) * packed.half * 16;
    packLanes<kv>(blockAt(a, a.k, block), blockAt(a, a.v, block), a.D, packed.k + at,
                  packed.v + at);
  }
}

// ---- dq

template <KvType kv>
void backwardQuery(const DAttendArgs& a) {
  const RowRange all = readBy(a, 0, a.Q);
  const Packed packed(a);
  constexpr size_t kWords = kDAttendRows / 2;
  packQueries(a.q, a.Q, a.D, packed.q);
  packQueries(a.dout, a.Q, a.D, packed.dout);
  for (int group = 0; group < all.end; group += kDAttendRows) {
    const RowRange blocks = groupBlocks(all, group);
    packGroup<kv>(a, packed, group, blocks);
    for (int b = blocks.begin; b < blocks.end; ++b) {
      const int row = group + b * kBlockRows;
      packRows<kv>(blockAt(a, a.k, row / kBlockRows), a.D,
                   static_cast<__mmask16>(lanesWithin(all, row)),
                   packed.kRows + static_cast<size_t>(b) * (kBlockRows / 2) * packed.D);
    }
    tiles<kQueries>(a.Q, [&]<int queries>(int query) {
      const RowRange own = groupBlocks(readBy(a, query, queries), group);
      if (own.begin >= own.end) return;
      alignas(64) uint32_t weights[queries * kWords];
      weighAll<kv, queries>(a, packed, query, group, own, [&](int i, int block, __m512, __m512 ds) {
        if constexpr (kv == KvType::kInt8) {
          const std::byte* k = blockAt(a, a.k, group / kBlockRows + block);
          const __mmask16 read = _mm512_cmp_ps_mask(ds, _mm512_setzero_ps(), _CMP_NEQ_UQ);
          ds = _mm512_maskz_mul_ps(read, ds, loadKvScales(k, a.D));
        }
        auto* to = reinterpret_cast<__m256i*>(weights + static_cast<size_t>(i) * kWords +
                                              block * (kBlockRows / 2));
        _mm256_store_si256(to, (__m256i)_mm512_cvtneps_pbh(ds));
      });
      const int pair = own.begin * (kBlockRows / 2);
      addColumns<queries>(
          {weights + pair, kWords, 1, packed.kRows + static_cast<size_t>(pair) * packed.D, 16,
           packed.D, (own.end - own.begin) * (kBlockRows / 2)},
          a.D, [&](int i) { return a.dq[query + i]; });
    });
  }
}

// ---- dk and dv

// Of each block of a group, queries [begin, end), from an even one on, that hold all its readers.
struct Readers {
  RowRange of[kGroupBlocks];

  Readers(const DAttendArgs& a, int group) {
    for (RowRange& one : of) one = {a.Q, 0};
    for (int i = 0; i < a.Q; ++i) {
      const RowRange read{firstOf(a, i), a.visible[i]};
      if (read.begin >= read.end) continue;
      const RowRange blocks = groupBlocks(read, group);
      for (int b = blocks.begin; b < blocks.end; ++b) {
        if (i < of[b].begin) of[b].begin = i / 2 * 2;
        of[b].end = i + 1;
      }
    }
  }
};

// p and ds of `queries` queries and all of `blocks`, two queries in a pair.
template <KvType kv, int queries>
void weighPairs(const DAttendArgs& a, const Packed& packed, int query, int group, RowRange blocks) {
  const RowRange own = groupBlocks(readBy(a, query, queries), group);
  const auto at = [&](uint32_t* out, int i, int block) {
    return out + static_cast<size_t>((query + i) / 2) * kDAttendRows + block * kBlockRows;
  };
  for (int block = blocks.begin; block < blocks.end; ++block) {
    if (block >= own.begin && block < own.end) continue;
    for (int i = 0; i < queries; i += 2) {
      _mm512_storeu_si512(at(packed.p, i, block), _mm512_setzero_si512());
      _mm512_storeu_si512(at(packed.ds, i, block), _mm512_setzero_si512());
    }
  }
  __m512 lastP = _mm512_setzero_ps(), lastDs = lastP;
  weighAll<kv, queries>(a, packed, query, group, own, [&](int i, int block, __m512 p, __m512 ds) {
    const bool odd = i % 2 == 1, alone = !odd && i + 1 == queries;
    const __m512 zero = _mm512_setzero_ps();
    if (odd || alone) {
      _mm512_storeu_si512(at(packed.p, i, block), interleaved(odd ? lastP : p, odd ? p : zero));
      _mm512_storeu_si512(at(packed.ds, i, block), interleaved(odd ? lastDs : ds, odd ? ds : zero));
    }
    lastP = p;
    lastDs = ds;
  });
}

template <KvType kv>
void backwardKey(const DAttendArgs& a) {
  const RowRange all = readBy(a, 0, a.Q);
  if (all.begin >= all.end) return;
  const Packed packed(a);
  packQueries(a.q, a.Q, a.D, packed.q);
  packQueries(a.dout, a.Q, a.D, packed.dout);
  packTwo(a.q, a.Q, a.D, packed.qTwo);
  packTwo(a.dout, a.Q, a.D, packed.doutTwo);
  for (int group = all.begin / kDAttendRows * kDAttendRows; group < all.end;
       group += kDAttendRows) {
    const RowRange blocks = groupBlocks(all, group);
    packGroup<kv>(a, packed, group, blocks);
    tiles<kQueries>(a.Q, [&]<int queries>(int query) {
      weighPairs<kv, queries>(a, packed, query, group, blocks);
    });
    const Readers each(a, group);
    for (int block = blocks.begin; block < blocks.end; ++block) {
      const int from = group + block * kBlockRows;
      const RowRange readers = each.of[block];
      if (readers.begin >= readers.end) continue;
      const auto pair = static_cast<size_t>(readers.begin / 2);
      const int depth = (readers.end - readers.begin + 1) / 2;
      const int begin = all.begin > from ? all.begin : from;
      const int end = all.end < from + kBlockRows ? all.end : from + kBlockRows;
      tiles<kKeyRows>(end - begin, [&]<int rows>(int j) {
        const size_t weight = pair * kDAttendRows + static_cast<size_t>(begin + j - group);
        const size_t out = static_cast<size_t>(begin + j) * static_cast<size_t>(a.ldk);
        const size_t right = pair * packed.D;
        addColumns<rows>(
            {packed.ds + weight, 1, kDAttendRows, packed.qTwo + right, 16, packed.D, depth}, a.D,
            [&](int i) { return a.dk + out + i * a.ldk; });
        addColumns<rows>(
            {packed.p + weight, 1, kDAttendRows, packed.doutTwo + right, 16, packed.D, depth}, a.D,
            [&](int i) { return a.dv + out + i * a.ldk; });
      });
    }
  }
}

}  // namespace

void dAttendQueryBf16Avx512(const DAttendArgs& a) {
  withKv(a.kv, [&]<KvType kv> { backwardQuery<kv>(a); });
}

void dAttendKeyBf16Avx512(const DAttendArgs& a) {
  withKv(a.kv, [&]<KvType kv> { backwardKey<kv>(a); });
}

}  // namespace baton
