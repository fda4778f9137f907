// SPDX-License-Identifier: Apache-2.0
// K and V of one kv head as the kernels of attention read them, for their tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/rows.h"
#include "support.h"

namespace baton::test {

// A row of one kv head as it reads after being stored. int8 independently of the kernels: the scale
// is that of the largest magnitude, rounded to float16.
inline void roundRow(KvType kv, float* row, int D) {
  float largest = 0;
  for (int t = 0; t < D; ++t) largest = std::max(largest, std::fabs(row[t]));
  const double scale = floatOfHalf(halfOfFloat(largest / 127));
  for (int t = 0; t < D; ++t) {
    if (kv == KvType::kF16) row[t] = floatOfHalf(halfOfFloat(row[t]));
    if (kv == KvType::kBF16) row[t] = floatOfBfloat(bfloatOfFloat(row[t]));
    if (kv != KvType::kInt8) continue;
    const double quant = scale > 0 ? std::nearbyint(row[t] / scale) : 0;
    row[t] = static_cast<float>(scale * std::clamp(quant, -127.0, 127.0));
  }
}

// A pool with `rows` rows of one kv head, blocks in a shuffled order, written by the scalar kernel.
// Rows beyond `rows` hold NaN.
struct Pool {
  KvType kv;
  int D, rows;
  std::vector<float> k, v;  // [rows, D] as stored, i.e. after rounding
  std::vector<int32_t> blocks;
  std::vector<std::byte> memory;
  size_t blockStride, vOffset;
};

// Writes rows [begin, end) of k and v into the blocks.
inline void storeRows(Pool& pool, int begin, int end) {
  std::vector<int32_t> block, slot;
  for (int r = begin; r < end; ++r) {
    block.push_back(pool.blocks[static_cast<size_t>(r / kBlockRows)]);
    slot.push_back(r % kBlockRows);
  }
  const int from = begin * pool.D;
  kScalarOps.kvStore({pool.k.data() + from, pool.D, pool.v.data() + from, pool.D, 1, pool.D,
                      pool.kv, pool.memory.data(), pool.memory.data() + pool.vOffset, 0,
                      pool.blockStride, block.data(), slot.data()},
                     0, end - begin);
}

// A pool of these rows ([rows, D], rounded to kv), blocks in the given order.
inline Pool storedPool(KvType kv, int D, int rows, std::vector<float> k, std::vector<float> v,
                       std::vector<int32_t> blocks) {
  Pool pool{kv, D, rows, std::move(k), std::move(v), std::move(blocks), {}, 0, 0};
  const int allRows = static_cast<int>(pool.blocks.size()) * kBlockRows;
  pool.k.resize(static_cast<size_t>(allRows * D), kNan);
  pool.v.resize(pool.k.size(), kNan);
  pool.vOffset = kvHeadBytes(kv, D);
  pool.blockStride = 2 * pool.vOffset + 64;
  pool.memory.resize(pool.blockStride * (pool.blocks.size() + 1), std::byte{0xff});  // NaN
  storeRows(pool, 0, allRows);
  return pool;
}

inline std::vector<int32_t> blockNumbers(int rows) {
  std::vector<int32_t> blocks(static_cast<size_t>((rows + kBlockRows - 1) / kBlockRows));
  std::iota(blocks.begin(), blocks.end(), 1);
  return blocks;
}

inline Pool makePool(KvType kv, int D, int rows, Random& random) {
  std::vector<float> k, v;
  for (int i = 0; i < rows * D; ++i) {
    k.push_back(random.number());
    v.push_back(random.number());
  }
  for (int r = 0; r < rows; ++r) {
    roundRow(kv, k.data() + r * D, D);
    roundRow(kv, v.data() + r * D, D);
  }
  std::vector<int32_t> blocks = blockNumbers(rows);
  for (size_t i = blocks.size(); i > 1; --i) {
    std::swap(blocks[i - 1], blocks[random.below(static_cast<uint32_t>(i))]);
  }
  return storedPool(kv, D, rows, std::move(k), std::move(v), std::move(blocks));
}

// A pool like this one whose rows outside [first, visible) hold NaN, in the blocks that the kernel
// is given.
inline Pool poisonedOutside(const Pool& pool, int first, int visible) {
  Pool out = pool;
  const int allRows = static_cast<int>(pool.blocks.size()) * kBlockRows;
  for (int r = 0; r < allRows; ++r) {
    if (r >= first && r < visible) continue;
    std::fill_n(out.k.begin() + r * pool.D, pool.D, kNan);
    std::fill_n(out.v.begin() + r * pool.D, pool.D, kNan);
  }
  storeRows(out, 0, allRows);
  return out;
}

}  // namespace baton::test
