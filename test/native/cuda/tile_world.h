// SPDX-License-Identifier: Apache-2.0
// Items of many rows for the tests of attendSlots by tensor cores, under emulation: what they read,
// and softmax in double precision over the rows that attention.h says are read. Every other row of
// the pool is NaN. Queries are numbers of 16 bits, so that scores are exact but for their sums, and
// what is lost is what weights lose by being rounded.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "cuda/attention.h"
#include "cuda/ops.h"
#include "emulation/cuda.h"
#include "kernels/kv_pool.h"
#include "kernels/support.h"

namespace baton::test::tiles {

// times log2(e) it is 1 / 4.
inline constexpr float kScale = 0.25f / 1.44269504088896341f;

// Rows of one segment as a row of the result reads them.
struct Piece {
  int rows, position;
  bool causal = false;
};

struct Rows {
  int count, position;
  std::vector<Piece> pieces;
  int split = 0;        // slots of an item at most; 0: any number
  bool shared = false;  // of several readers: every third position, the last row first
};

struct TileProblem {
  KvType kv;
  int group, G, D;
  int window;
  std::vector<Rows> items;
};

inline std::string describe(const TileProblem& p) {
  return std::string(kvTypeName(p.kv)) + " group=" + std::to_string(p.group) +
         " D=" + std::to_string(p.D) + " window=" + std::to_string(p.window) +
         " rows=" + std::to_string(p.items[0].count);
}

inline bool isRead(const KvSlot& slot, int j, int position, int window) {
  const int at = slot.position + j;
  return j < slot.rows && (slot.causal == 0 || at <= position) &&
         (window == 0 || position - at < window);
}

struct World {
  std::vector<KvSlot> slots;
  std::vector<AttendItem> items;
  std::vector<AttendRow> sharedRows;
  std::vector<StateList> lists;         // by row of the result; count 0: a whole item wrote it
  std::vector<std::vector<int>> reads;  // by row of the result: its slots
  std::vector<int> positions;           // by row of the result
  std::vector<float> k, v;              // [slots, 16, G, D] as stored
  std::vector<float> q;                 // [rows, H, D]
  Misaligned<std::byte> pool{0, 0};
  size_t headBytes, blockStride;
  int states = 0, rows = 0, mostRows = 0, few = 0, mostFew = 0;

  World(const TileProblem& p, Random& random) : headBytes(kvHeadBytes(p.kv, p.D)) {
    blockStride = 2 * static_cast<size_t>(p.G) * headBytes + 64;
    for (const Rows& each : p.items) add(each);
    const auto isFew = [](const AttendItem& item) {
      return item.rows <= kFewRows && item.shared == 0;
    };
    few =
        static_cast<int>(std::stable_partition(items.begin(), items.end(), isFew) - items.begin());
    for (int i = 0; i < few; ++i) mostFew = std::max(mostFew, items[static_cast<size_t>(i)].rows);
    for (int i = 0; i < static_cast<int>(slots.size()); ++i) slots[size_t(i)].block = i + 1;
    for (size_t i = slots.size(); i > 1; --i) {
      std::swap(slots[i - 1].block, slots[random.below(static_cast<uint32_t>(i))].block);
    }
    pool = Misaligned<std::byte>((slots.size() + 1) * blockStride, 0, std::byte{0xff});
    for (auto* all : {&k, &v}) {
      all->resize(slots.size() * static_cast<size_t>(kBlockRows * p.G * p.D));
      random.fill(*all);
      for (size_t at = 0; at < all->size(); at += static_cast<size_t>(p.D)) {
        roundRow(p.kv, all->data() + at, p.D);
      }
    }
    q.resize(static_cast<size_t>(rows * p.group * p.G * p.D));
    random.fill(q);
    for (float& x : q) {
      x = p.kv == KvType::kF16 ? floatOfHalf(halfOfFloat(x)) : floatOfBfloat(bfloatOfFloat(x));
    }
    for (int row = 0; row < rows; ++row) {
      for (const int s : reads[static_cast<size_t>(row)]) {
        for (int j = 0; j < kBlockRows; ++j) {
          if (isRead(slots[static_cast<size_t>(s)], j, positions[static_cast<size_t>(row)],
                     p.window)) {
            store(p, s, j);
          }
        }
      }
    }
  }

  void add(const Rows& each) {
    const int base = static_cast<int>(slots.size());
    for (const Piece& piece : each.pieces) {
      for (int row = 0; row < piece.rows; row += kBlockRows) {
        slots.push_back({0, piece.position + row,
                         static_cast<int16_t>(std::min(kBlockRows, piece.rows - row)),
                         piece.causal});
      }
    }
    const int end = static_cast<int>(slots.size());
    std::vector<int> mine;
    for (int s = base; s < end; ++s) mine.push_back(s);
    const int step = each.split == 0 ? std::max(1, end - base) : each.split;
    const int parts = std::max(1, (end - base + step - 1) / step);
    const bool whole = parts == 1 && !each.shared;
    for (int part = 0; part < parts; ++part) {
      const int state = states + part * each.count;
      items.push_back({base + part * step, std::min(end, base + (part + 1) * step), rows,
                       each.count, each.position, whole ? rows : state, whole, each.shared});
      if (each.shared) addShared(each, state);
    }
    for (int row = 0; row < each.count; ++row) {
      lists.push_back({states + row, each.count, whole ? 0 : parts});
      reads.push_back(mine);
      positions.push_back(each.position + (each.shared ? 3 * (each.count - 1 - row) : row));
    }
    if (!whole) states += parts * each.count;
    rows += each.count;
    mostRows = std::max(mostRows, each.count);
  }

  // The rows of the item that was added last, by their positions.
  void addShared(const Rows& each, int state) {
    items.back().queryRow = static_cast<int>(sharedRows.size());
    for (int i = 0; i < each.count; ++i) {
      const int row = each.count - 1 - i;
      sharedRows.push_back({rows + row, each.position + 3 * i, state + row});
    }
  }

  size_t at(const TileProblem& p, int slot, int row, int g) const {
    return static_cast<size_t>(((slot * kBlockRows + row) * p.G + g) * p.D);
  }

  void store(const TileProblem& p, int slot, int row) {
    const int32_t block = slots[static_cast<size_t>(slot)].block, inside = row;
    const size_t from = at(p, slot, row, 0);
    kScalarOps.kvStore({k.data() + from, p.G * p.D, v.data() + from, p.G * p.D, p.G, p.D, p.kv,
                        pool.data(), pool.data() + static_cast<size_t>(p.G) * headBytes, headBytes,
                        blockStride, &block, &inside},
                       0, 1);
  }
};

struct Result {
  std::vector<float> out, lse;
};

inline Result run(const TileProblem& p, const World& world, bool halves) {
  const int H = p.group * p.G;
  const auto heads = [&](int rows) { return static_cast<size_t>(rows * H); };
  const auto numbers = [&](int rows) { return static_cast<size_t>(rows * H * p.D); };
  Result result{std::vector<float>(numbers(world.rows), kNan),
                std::vector<float>(heads(world.rows), kNan)};
  std::vector<float> o(numbers(world.states), kNan), m(heads(world.states), kNan), d = m;
  attendSlotsCuda({.q = world.q.data(),
                   .H = H,
                   .G = p.G,
                   .D = p.D,
                   .scale = kScale,
                   .window = p.window,
                   .kv = p.kv,
                   .k = world.pool.data(),
                   .v = world.pool.data() + static_cast<size_t>(p.G) * world.headBytes,
                   .headStride = world.headBytes,
                   .blockStride = world.blockStride,
                   .slots = world.slots.data(),
                   .items = world.items.data(),
                   .mostRows = world.mostRows,
                   .o = o.data(),
                   .m = m.data(),
                   .d = d.data(),
                   .out = result.out.data(),
                   .lse = result.lse.data(),
                   .halves = halves,
                   .few = world.few,
                   .mostFew = world.mostFew,
                   .rows = world.sharedRows.data()},
                  0, static_cast<int>(world.items.size()));
  for (int row = 0; row < world.rows; ++row) {
    if (world.lists[static_cast<size_t>(row)].count == 0) continue;
    mergeStatesCuda({o.data(), m.data(), d.data(), world.lists.data(), H, p.D, result.out.data(),
                     result.lse.data()},
                    row, row + 1);
  }
  return result;
}

// What rounding a weight may change: half a unit of bfloat16, which has 8 bits, or of float16.
inline double roundingOf(KvType kv) {
  return kv == KvType::kF16 ? 0x1p-11 : 0x1p-8;
}

inline void checkHead(const TileProblem& p, const World& world, int row, int head,
                      const Result& result) {
  const auto D = static_cast<size_t>(p.D);
  const auto index = static_cast<size_t>(row * p.group * p.G + head);
  const float *q = world.q.data() + index * D, *out = result.out.data() + index * D;
  const float lse = result.lse[index];
  const std::string what =
      describe(p) + " row " + std::to_string(row) + " head " + std::to_string(head);
  std::vector<double> scores;
  std::vector<size_t> places;
  double largest = -1e300, size = 0;
  for (const int s : world.reads[static_cast<size_t>(row)]) {
    for (int j = 0; j < kBlockRows; ++j) {
      const int position = world.positions[static_cast<size_t>(row)];
      if (!isRead(world.slots[static_cast<size_t>(s)], j, position, p.window)) continue;
      places.push_back(world.at(p, s, j, head / p.group));
      double dot = 0, parts = 0;
      for (size_t t = 0; t < D; ++t) {
        const double term = double(q[t]) * world.k[places.back() + t];
        dot += term, parts += std::fabs(term);
      }
      scores.push_back(kScale * dot);
      largest = std::max(largest, scores.back());
      size = std::max(size, kScale * parts);
    }
  }
  if (places.empty()) {
    bool zero = lse == -kInfinity;
    for (size_t t = 0; t < D; ++t) zero = zero && out[t] == 0;
    expect(zero, __FILE__, __LINE__, what + ": a row that reads nothing is not 0");
    return;
  }
  const double slack = 2 * kEpsilon * (p.D + 8) * size + 4e-7;
  const double relative =
      4 * slack + roundingOf(p.kv) * 1.01 + 4 * kEpsilon * double(places.size());
  std::vector<double> want(D), bound(D, 1e-7);
  double sum = 0;
  for (const double score : scores) sum += std::exp(score - largest);
  for (size_t j = 0; j < places.size(); ++j) {
    const double weight = std::exp(scores[j] - largest) / sum;
    for (size_t t = 0; t < D; ++t) {
      want[t] += weight * world.v[places[j] + t];
      bound[t] += weight * std::fabs(world.v[places[j] + t]) * relative;
    }
  }
  const double wantLse = largest + std::log(sum);
  expect(std::fabs(lse - wantLse) <= 2 * slack + 1e-6 * (1 + std::fabs(wantLse)), __FILE__,
         __LINE__, what + ": lse " + show(lse) + " instead of " + show(wantLse));
  checkWithin(what, out, want.data(), bound.data(), D);
}

inline Result conform(const TileProblem& p, uint32_t seed) {
  Random random(seed);
  const World world(p, random);
  emulation::takeBankConflicts();
  const Result result = run(p, world, true);
  CHECK_EQ(emulation::takeBankConflicts(), 0);
  // Tiles that see something that is not finite leave it to float32, which would hide their faults.
  if (p.window == 0 && p.items[0].pieces.size() == 4) {
    const Result exact = run(p, world, false);
    CHECK(!sameBits(result.out.data(), exact.out.data(), exact.out.size()));
  }
  for (int row = 0; row < world.rows; ++row) {
    for (int h = 0; h < p.group * p.G; ++h) checkHead(p, world, row, h, result);
  }
  return result;
}

// A stage that is fed many rows: it reads what others have written, some of it up to the end of a
// block, and itself.
inline Rows stage(int count, int split = 0) {
  return {count, 70, {{37, 0}, {16, 37}, {1, 53}, {16 + count, 54, true}}, split};
}

inline bool same(const Result& a, const Result& b) {
  return a.out.size() == b.out.size() && sameBits(a.out.data(), b.out.data(), a.out.size()) &&
         sameBits(a.lse.data(), b.lse.data(), a.lse.size());
}

inline constexpr KvType kTileTypes[] = {KvType::kF16, KvType::kBF16, KvType::kInt8};

}  // namespace baton::test::tiles
