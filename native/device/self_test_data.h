// SPDX-License-Identifier: Apache-2.0
// What the checks of self_test.cpp read: small, and the same on every machine.
#pragma once

#include <cstdint>
#include <vector>

#include "base/buffer.h"
#include "kernels/linear/panels.h"
#include "kernels/ops.h"
#include "quant/types.h"

namespace baton::self_test {

inline constexpr int kRows = 5, kCols = 40, kDepth = 96, kHeadDim = 32;
inline constexpr int kManyRows = 26;  // kernels of linear take other paths from 16 and from 24 on
inline constexpr int kTileRows = 12;  // of the largest tile of dLinear

// kDepth, or the next larger one that is whole blocks of the type.
inline int depthFor(DType type) {
  const int block = quantType(type).blockElements;
  return (kDepth + block - 1) / block * block;
}

// Numbers in [-1, 1) that do not depend on the library (Knuth's MMIX generator).
inline std::vector<float> numbers(size_t n, uint64_t seed) {
  std::vector<float> out(n);
  uint64_t state = seed;
  for (float& value : out) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = static_cast<float>(static_cast<int64_t>(state) >> 40) * 0x1p-23f;
  }
  return out;
}

struct Quantised {
  std::vector<int8_t> q;
  std::vector<float> d, s;
};

inline Quantised quantised(const Ops& ops, const std::vector<float>& x, int rows) {
  Quantised out{std::vector<int8_t>(x.size()), std::vector<float>(x.size() / kGroup),
                std::vector<float>(x.size() / kGroup)};
  ops.quantize(
      {x.data(), out.q.data(), out.d.data(), out.s.data(), static_cast<int>(x.size()) / rows}, 0,
      rows);
  return out;
}

// What the checks of a weight type share.
struct Weights {
  explicit Weights(DType dtype)
      : type(dtype),
        depth(depthFor(dtype)),
        rows(quantRowBytes(quantType(dtype), kCols * depth)),
        x(numbers(static_cast<size_t>(kManyRows * depth), 2)),
        xq(quantised(kScalarOps, x, kManyRows)) {
    const std::vector<float> w = numbers(static_cast<size_t>(kCols * depth), 1);
    quantType(type).quantize(w.data(), rows.data(), w.size());
    if (!isInteger(type)) return;
    panels.ensure(panelsBytes(type, kCols, depth));
    packPanels(type, rows.data(), kCols, depth, 0, panelCount(kCols), panels.data());
  }

  DType type;
  int depth;
  std::vector<std::byte> rows;  // [kCols, depth]
  Buffer panels;                // the same; empty for float formats
  std::vector<float> x;         // [kManyRows, depth]
  Quantised xq;
};

struct Pool {
  std::vector<std::byte> bytes;
  size_t half;
};

// K and V of three blocks, written by the kernel under test.
inline Pool stored(const Ops& ops, KvType kv) {
  constexpr int kPoolRows = 3 * kBlockRows;
  const std::vector<float> k = numbers(size_t{kPoolRows} * kHeadDim, 3);
  const std::vector<float> v = numbers(size_t{kPoolRows} * kHeadDim, 4);
  const size_t block = kvHeadBytes(kv, kHeadDim);
  Pool pool{std::vector<std::byte>(6 * block), block};
  std::vector<int32_t> blocks(kPoolRows), slots(kPoolRows);
  for (int r = 0; r < kPoolRows; ++r) {
    blocks[static_cast<size_t>(r)] = 2 - r / kBlockRows;
    slots[static_cast<size_t>(r)] = r % kBlockRows;
  }
  ops.kvStore({k.data(), kHeadDim, v.data(), kHeadDim, 1, kHeadDim, kv, pool.bytes.data(),
               pool.bytes.data() + block, 0, 2 * block, blocks.data(), slots.data()},
              0, kPoolRows);
  return pool;
}

// Of a piece and a part of one, with a gradient that is shortened; sums and report are float64 and
// told as float32.
struct AdamWRun {
  static constexpr int kN = kAdamWPiece + 200, kPieces = 2;
  std::vector<float> value = numbers(kN, 25), first = numbers(kN, 26), second = numbers(kN, 27);
  std::vector<float> gradient = numbers(kN, 28);
  double sums[kPieces] = {200, 40}, report[1 + kPieces] = {};

  AdamWRun() {
    for (float& number : second) number *= number;
  }
  AdamWArgs args() {
    return {value.data(),
            first.data(),
            second.data(),
            gradient.data(),
            sums,
            report,
            kN,
            4,
            0.25,
            0.5,
            0.99,
            0.9,
            0.95,
            1e-8};
  }
};

inline std::vector<float> squareSums(const Ops& ops) {
  AdamWRun run;
  ops.squareSums(run.args(), 0, AdamWRun::kPieces);
  return {run.sums, run.sums + AdamWRun::kPieces};
}

inline std::vector<float> adamw(const Ops& ops) {
  AdamWRun run;
  ops.adamw(run.args(), 0, AdamWRun::kPieces);
  std::vector<float> out(run.report, run.report + 1 + AdamWRun::kPieces);
  for (const auto* all : {&run.value, &run.first, &run.second})
    out.insert(out.end(), all->begin(), all->end());
  return out;
}

}  // namespace baton::self_test
