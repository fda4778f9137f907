// SPDX-License-Identifier: Apache-2.0
// Which rows and queries of dattend.h meet, for the files of wide instruction sets. All static.
#pragma once

#include "kernels/attend/dattend.h"

namespace baton {

static inline int firstOf(const DAttendArgs& a, int query) {
  return a.first == nullptr ? 0 : a.first[query];
}

// Rows [begin, end); empty where begin >= end.
struct RowRange {
  int begin, end;
};

// Bit j: whether row from + j of a block is in a range.
static inline unsigned lanesWithin(RowRange rows, int from) {
  const auto below = [from](int row) {
    const int lanes = row - from;
    return (1u << (lanes < 0 ? 0 : lanes < kBlockRows ? lanes : kBlockRows)) - 1;
  };
  return below(rows.end) & ~below(rows.begin);
}

// Least range that holds what `count` queries from `query` on read.
static inline RowRange readBy(const DAttendArgs& a, int query, int count) {
  RowRange all{kPieceRows, 0};
  for (int i = query; i < query + count; ++i) {
    const int first = firstOf(a, i), visible = a.visible[i];
    if (first >= visible) continue;
    all.begin = first < all.begin ? first : all.begin;
    all.end = visible > all.end ? visible : all.end;
  }
  return all;
}

static inline const std::byte* blockAt(const DAttendArgs& a, const std::byte* base, int block) {
  return base + static_cast<size_t>(a.blocks[block]) * a.blockStride;
}

// fn.template operator()<n>(at) for tiles of `most` and what is left of `count`.
template <int most, class Fn>
static inline void tiles(int count, const Fn& fn, int at = 0) {
  for (; count >= most; count -= most, at += most) fn.template operator()<most>(at);
  if constexpr (most > 1) {
    if (count > 0) tiles<most - 1>(count, fn, at);
  }
}

// Blocks of rows [group, group + kDAttendRows) that a range touches.
static inline RowRange blocksIn(RowRange rows, int group) {
  const int begin = rows.begin > group ? rows.begin : group;
  const int end = rows.end < group + kDAttendRows ? rows.end : group + kDAttendRows;
  if (begin >= end) return {0, 0};
  return {begin / kBlockRows, (end + kBlockRows - 1) / kBlockRows};
}

// fn.template operator()<kv>().
template <class Fn>
static inline void withKv(KvType kv, const Fn& fn) {
  switch (kv) {
    case KvType::kF32:
      return fn.template operator()<KvType::kF32>();
    case KvType::kF16:
      return fn.template operator()<KvType::kF16>();
    case KvType::kBF16:
      return fn.template operator()<KvType::kBF16>();
    case KvType::kInt8:
      return fn.template operator()<KvType::kInt8>();
  }
}

}  // namespace baton
