// SPDX-License-Identifier: Apache-2.0
// cuda/attention.h under emulation: appending against the operations that it joins, merging against
// the merge of the CPU.
#include "cuda/attention.h"

#include "emulation/cuda.h"
#include "kernels/attend/kv_element.h"
#include "kernels/support.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr int kPositions = 50;

struct AppendProblem {
  KvType kv;
  RopePairing pairing;
  int rows, group, G, D;
  bool norms;
  uint32_t seed;
};

std::string describe(const AppendProblem& p) {
  return std::string(kvTypeName(p.kv)) + " rows=" + std::to_string(p.rows) +
         " group=" + std::to_string(p.group) + " D=" + std::to_string(p.D) +
         (p.norms ? " normed" : "");
}

// Rows of q, k and v side by side, as one product of the weights leaves them, and where they go.
struct Append {
  int H, ld;
  Misaligned<float> qkv, qNorm, kNorm, cos, sin;
  std::vector<int32_t> keyPositions, block, slot, queryRow, queryPositions;
  size_t headBytes, blockStride;
  int blocks;

  explicit Append(const AppendProblem& p)
      : H(p.group * p.G),
        ld((H + 2 * p.G) * p.D + 3),
        qkv(static_cast<size_t>(p.rows * ld), 1),
        qNorm(static_cast<size_t>(p.D), 3),
        kNorm(static_cast<size_t>(p.D), 2),
        cos(static_cast<size_t>(kPositions * p.D / 2), 1),
        sin(cos.size(), 3),
        keyPositions(static_cast<size_t>(p.rows)),
        block(keyPositions.size()),
        slot(keyPositions.size()),
        queryRow(static_cast<size_t>(p.rows + p.rows / 2)),
        queryPositions(queryRow.size()),
        headBytes(kvHeadBytes(p.kv, p.D)),
        blockStride(2 * static_cast<size_t>(p.G) * headBytes + 64),
        blocks(p.rows / kBlockRows + 3) {
    Random random(p.seed);
    for (auto* values : {&qkv, &qNorm, &kNorm}) random.fill(*values);
    for (size_t i = 0; i < cos.size(); ++i) {
      cos[i] = std::cos(static_cast<float>(i) * 0.37f);
      sin[i] = std::sin(static_cast<float>(i) * 0.37f);
    }
    for (int r = 0; r < p.rows; ++r) {
      const auto at = static_cast<size_t>(r);
      keyPositions[at] = (r + 7) % kPositions;
      block[at] = blocks - 1 - (r + 5) / kBlockRows;
      slot[at] = (r + 5) % kBlockRows;
    }
    // every row once where it is, and half of them with a shift
    for (size_t i = 0; i < queryRow.size(); ++i) {
      const bool shifted = i >= keyPositions.size();
      queryRow[i] = static_cast<int32_t>(shifted ? 2 * (i - keyPositions.size()) : i);
      queryPositions[i] = keyPositions[static_cast<size_t>(queryRow[i])] - (shifted ? 30 : 0);
    }
  }
};

struct Appended {
  Misaligned<std::byte> pool;
  Misaligned<float> rotated;
};

Appended emptyFor(const AppendProblem& p, const Append& a) {
  const auto rotated = a.queryRow.size() * static_cast<size_t>(a.H * p.D);
  return {{static_cast<size_t>(a.blocks) * a.blockStride, 0, std::byte{0x5a}}, {rotated, 1, kNan}};
}

// In one launch.
Appended joined(const AppendProblem& p, const Append& a) {
  Appended to = emptyFor(p, a);
  const float* k = a.qkv.data() + a.H * p.D;
  kvAppendCuda({.q = a.qkv.data(),
                .ldq = a.ld,
                .k = k,
                .ldk = a.ld,
                .v = k + p.G * p.D,
                .ldv = a.ld,
                .rows = p.rows,
                .H = a.H,
                .G = p.G,
                .D = p.D,
                .qNorm = p.norms ? a.qNorm.data() : nullptr,
                .kNorm = p.norms ? a.kNorm.data() : nullptr,
                .epsilon = 1e-5f,
                .cos = a.cos.data(),
                .sin = a.sin.data(),
                .pairing = p.pairing,
                .keyPositions = a.keyPositions.data(),
                .kv = p.kv,
                .kBase = to.pool.data(),
                .vBase = to.pool.data() + static_cast<size_t>(p.G) * a.headBytes,
                .headStride = a.headBytes,
                .blockStride = a.blockStride,
                .block = a.block.data(),
                .slot = a.slot.data(),
                .queryRows = static_cast<int>(a.queryRow.size()),
                .queryRow = a.queryRow.data(),
                .queryPositions = a.queryPositions.data(),
                .rotated = to.rotated.data()});
  return to;
}

// The heads of some rows one after another, normed by the reference where the model does so.
std::vector<float> normed(const AppendProblem& p, const float* x, int ld, int heads,
                          const float* weight) {
  std::vector<float> out;
  for (int r = 0; r < p.rows; ++r) out.insert(out.end(), x + r * ld, x + r * ld + heads * p.D);
  if (p.norms) kScalarOps.rmsnorm({out.data(), weight, out.data(), p.D, 1e-5f}, 0, p.rows * heads);
  return out;
}

// By the operations of the CPU, one after another.
Appended apart(const AppendProblem& p, const Append& a) {
  Appended to = emptyFor(p, a);
  const float* fromK = a.qkv.data() + a.H * p.D;
  const std::vector<float> q = normed(p, a.qkv.data(), a.ld, a.H, a.qNorm.data());
  std::vector<float> k = normed(p, fromK, a.ld, p.G, a.kNorm.data());
  const int width = p.G * p.D;
  kScalarOps.rope({k.data(), width, k.data(), width, p.G, p.D, a.cos.data(), a.sin.data(),
                   a.keyPositions.data(), p.pairing},
                  0, p.rows);
  kScalarOps.kvStore({k.data(), width, fromK + width, a.ld, p.G, p.D, p.kv, to.pool.data(),
                      to.pool.data() + static_cast<size_t>(p.G) * a.headBytes, a.headBytes,
                      a.blockStride, a.block.data(), a.slot.data()},
                     0, p.rows);
  const int queries = a.H * p.D;
  for (size_t i = 0; i < a.queryRow.size(); ++i) {
    kScalarOps.rope({q.data() + a.queryRow[i] * queries, queries,
                     to.rotated.data() + static_cast<int>(i) * queries, queries, a.H, p.D,
                     a.cos.data(), a.sin.data(), a.queryPositions.data() + i, p.pairing},
                    0, 1);
  }
  return to;
}

template <class T>
bool sameBytes(const Misaligned<T>& a, const Misaligned<T>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// Norms sum in another order, so their results differ by some roundings, and what is stored of them
// by one step of its format.
void checkNear(const AppendProblem& p, const Append& a, const Appended& got, const Appended& want) {
  int wrong = 0;
  for (size_t i = 0; i < want.rotated.size(); ++i)
    wrong += !(std::fabs(got.rotated[i] - want.rotated[i]) <= 1e-5f);
  expect(wrong == 0, __FILE__, __LINE__, describe(p) + ": rotated queries are off");
  wrong = 0;
  for (int r = 0; r < p.rows; ++r) {
    for (int g = 0; g < 2 * p.G; ++g) {
      const size_t at = static_cast<size_t>(a.block[static_cast<size_t>(r)]) * a.blockStride +
                        static_cast<size_t>(g) * a.headBytes;
      const int slot = a.slot[static_cast<size_t>(r)];
      const std::byte *one = got.pool.data() + at, *two = want.pool.data() + at;
      const float scale = kvScale(p.kv, two, p.D, slot);
      const float step = p.kv == KvType::kF16 ? 0x1p-10f : p.kv == KvType::kBF16 ? 0x1p-7f : 2e-6f;
      for (int t = 0; t < p.D; ++t) {
        const auto element = g < p.G ? keyElement : valueElement;
        const float x = element(p.kv, one, p.D, slot, t), y = element(p.kv, two, p.D, slot, t);
        const float slack = p.kv == KvType::kInt8 ? scale + 0.13f * scale : 0;
        wrong += !(std::fabs(x - y) <= step * std::fabs(y) + slack + 1e-5f);
      }
    }
  }
  expect(wrong == 0, __FILE__, __LINE__,
         describe(p) + ": " + std::to_string(wrong) + " stored numbers are off");
}

void conform(const AppendProblem& p) {
  const Append a(p);
  const Appended got = joined(p, a), want = apart(p, a);
  if (p.norms) {
    checkNear(p, a, got, want);
  } else {
    expect(sameBytes(got.pool, want.pool) && sameBytes(got.rotated, want.rotated), __FILE__,
           __LINE__, describe(p) + ": other bits than rope and kvStore");
  }
  emulation::setOrder(emulation::Order::kBackwards);
  const Appended backwards = joined(p, a);
  emulation::setOrder(emulation::Order::kForwards);
  expect(sameBytes(got.pool, backwards.pool) && sameBytes(got.rotated, backwards.rotated), __FILE__,
         __LINE__, describe(p) + ": bits depend on the order of threads");
}

// The same rows, one launch for each.
Appended rowByRow(const AppendProblem& p, const Append& a) {
  Appended to = emptyFor(p, a);
  const float* k = a.qkv.data() + a.H * p.D;
  for (int r = 0; r < p.rows; ++r) {
    const int32_t first = 0;
    kvAppendCuda({.q = a.qkv.data() + r * a.ld,
                  .ldq = a.ld,
                  .k = k + r * a.ld,
                  .ldk = a.ld,
                  .v = k + p.G * p.D + r * a.ld,
                  .ldv = a.ld,
                  .rows = 1,
                  .H = a.H,
                  .G = p.G,
                  .D = p.D,
                  .qNorm = a.qNorm.data(),
                  .kNorm = a.kNorm.data(),
                  .epsilon = 1e-5f,
                  .cos = a.cos.data(),
                  .sin = a.sin.data(),
                  .pairing = p.pairing,
                  .keyPositions = a.keyPositions.data() + r,
                  .kv = p.kv,
                  .kBase = to.pool.data(),
                  .vBase = to.pool.data() + static_cast<size_t>(p.G) * a.headBytes,
                  .headStride = a.headBytes,
                  .blockStride = a.blockStride,
                  .block = a.block.data() + r,
                  .slot = a.slot.data() + r,
                  .queryRows = 1,
                  .queryRow = &first,
                  .queryPositions = a.queryPositions.data() + r,
                  .rotated = to.rotated.data() + r * a.H * p.D});
  }
  return to;
}

// States of some rows as attention leaves them; those that have read nothing hold NaN.
struct States {
  int H, D;
  std::vector<float> o, m, d;

  States(int states, int heads, int width, Random& random) : H(heads), D(width) {
    for (int i = 0; i < states * H; ++i) {
      const bool empty = random.below(4) == 0;
      m.push_back(empty ? -kInfinity : 20 * random.number());
      d.push_back(empty ? kNan : 1 + std::fabs(random.number()));
      for (int t = 0; t < D; ++t) o.push_back(empty ? kNan : random.number());
    }
  }
};

void checkMerged(const States& states, const StateList& list, int h, const float* out, float lse) {
  const auto D = static_cast<size_t>(states.D);
  std::vector<float> o(D, kNan);
  float m = -kInfinity, d = 0;
  for (int i = 0; i < list.count; ++i) {
    const auto at = static_cast<size_t>((list.first + i * list.step) * states.H + h);
    if (states.m[at] == -kInfinity) continue;
    kScalarOps.merge(
        {o.data(), &m, &d, states.o.data() + at * D, states.m[at], states.d[at], states.D});
  }
  if (d == 0) {
    bool zero = lse == -kInfinity;
    for (size_t t = 0; t < D; ++t) zero = zero && out[t] == 0;
    CHECK(zero);
    return;
  }
  CHECK_NEAR(lse, m + std::log(d), 4e-6 * (1 + std::fabs(m)));
  double worst = 0;
  for (size_t t = 0; t < D; ++t) worst = std::max(worst, std::fabs(double(out[t]) - o[t] / d));
  CHECK_NEAR(worst, 0, 8e-6);
}

}  // namespace

TEST("cuda: rows appended in one launch are those of rope and kvStore, bit for bit") {
  uint32_t seed = 1;
  for (const KvType kv : kKvTypes) {
    for (const RopePairing pairing : {RopePairing::kAdjacent, RopePairing::kHalves}) {
      for (const bool norms : {false, true}) {
        for (const int rows : {1, 16, 37}) conform({kv, pairing, rows, 3, 1, 64, norms, ++seed});
        for (const int D : {16, 48, 256}) conform({kv, pairing, 5, 1, 2, D, norms, ++seed});
        conform({kv, pairing, 3, 8, 1, 128, norms, ++seed});
      }
    }
  }
}

TEST("cuda: a row is appended with the same bits alone and among others") {
  for (const KvType kv : kKvTypes) {
    const AppendProblem p{kv, RopePairing::kHalves, 21, 2, 2, 80, true, 5};
    const Append a(p);
    const Appended together = joined(p, a), alone = rowByRow(p, a);
    CHECK(sameBytes(together.pool, alone.pool));
    CHECK(sameBits(together.rotated.data(), alone.rotated.data(),
                   static_cast<size_t>(p.rows * a.H * p.D)));
  }
}

TEST("cuda: states merge as on the CPU, and those that read nothing are left out") {
  Random random(8);
  for (const int D : {16, 64, 80, 256}) {
    const int H = 3, count = 41;
    const States states(count, H, D, random);
    const std::vector<StateList> lists = {{0, 1, 1},  {1, 1, 2},   {5, 0, 0},   {2, 7, 5},
                                          {0, 1, 41}, {40, -1, 3}, {30, 1, 10}, {3, 9, 4}};
    std::vector<float> out(lists.size() * static_cast<size_t>(H * D), kNan);
    std::vector<float> lse(lists.size() * static_cast<size_t>(H), kNan), whole = out;
    const MergeStatesArgs args{
        states.o.data(), states.m.data(), states.d.data(), lists.data(), H, D,
        out.data(),      lse.data()};
    mergeStatesCuda(args, 1, static_cast<int>(lists.size()));
    CHECK(std::isnan(out[0]) && std::isnan(lse[0]));  // a row that was not asked for
    mergeStatesCuda(args, 0, 1);
    for (size_t r = 0; r < lists.size(); ++r) {
      for (int h = 0; h < H; ++h) {
        const size_t at = r * static_cast<size_t>(H) + static_cast<size_t>(h);
        checkMerged(states, lists[r], h, out.data() + at * static_cast<size_t>(D), lse[at]);
      }
    }
    MergeStatesArgs noLse = args;
    noLse.out = whole.data();
    noLse.lse = nullptr;
    mergeStatesCuda(noLse, 0, static_cast<int>(lists.size()));
    CHECK(sameBits(whole.data(), out.data(), out.size()));
  }
}

TEST("cuda: nothing to append or to merge is no launch") {
  kvAppendCuda({});
  mergeStatesCuda({}, 3, 3);
  CHECK(true);
}
