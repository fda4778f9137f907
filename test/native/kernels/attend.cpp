// SPDX-License-Identifier: Apache-2.0
// attend.h for every table that there is, in float32 and, where the table has it, in
// bfloat16: against softmax in double precision; rows that are not visible hold NaN; bit for bit
// between a query alone and in any company.
#include "kernels/attend/attend.h"

#include "base/buffer.h"
#include "kv_pool.h"
#include "support.h"

using namespace baton;
using namespace baton::test;

namespace {

struct Kernel {
  const Ops* ops;
  bool bf16;

  std::string name() const { return std::string(isaName(ops->isa)) + (bf16 ? " bf16" : ""); }
};

std::vector<Kernel> kernels() {
  std::vector<Kernel> all;
  for (const Ops* ops : tablesWith(&Ops::attend)) {
    all.push_back({ops, false});
    if (ops->attendBf16 != nullptr) all.push_back({ops, true});
  }
  return all;
}

struct Result {
  std::vector<float> o, m, d;
};

Result run(const Kernel& kernel, const Pool& pool, const std::vector<const float*>& q,
           const std::vector<int32_t>& visible, const std::vector<int32_t>& first = {}) {
  const size_t Q = q.size();
  Result out{std::vector<float>(Q * static_cast<size_t>(pool.D), kNan), std::vector<float>(Q, kNan),
             std::vector<float>(Q, kNan)};
  Buffer scores(Q * kPieceRows * 4), pairs(attendPairsBytes(pool.D));
  std::memset(scores.data(), 0xff, scores.size());
  std::memset(pairs.data(), 0xff, pairs.size());
  const AttendFn attend = kernel.bf16 ? kernel.ops->attendBf16 : kernel.ops->attend;
  attend({q.data(), static_cast<int>(Q), pool.D, 0.3f, pool.kv, pool.memory.data(),
          pool.memory.data() + pool.vOffset, pool.blockStride, pool.blocks.data(), visible.data(),
          out.o.data(), out.m.data(), out.d.data(), scores.as<float>(),
          first.empty() ? nullptr : first.data(), pairs.data()});
  return out;
}

// What a product takes of a number of K, V (whose scales are apart) or q.
double factor(float x, bool rounded) {
  return rounded ? floatOfBfloat(bfloatOfFloat(x)) : x;
}

void checkQuery(const std::string& what, bool bf16, const Pool& pool, const float* q, int first,
                int visible, const float* o, float m, float d) {
  if (first >= visible) {
    bool empty = m == -kInfinity && d == 0;
    for (int t = 0; t < pool.D; ++t) empty = empty && o[t] == 0;
    expect(empty, __FILE__, __LINE__, what + ": an empty piece is not (0, -inf, 0)");
    return;
  }
  const bool roundsKv = bf16 && pool.kv != KvType::kInt8;
  std::vector<double> s(static_cast<size_t>(visible));
  double largest = -1e300, size = 0;
  for (int j = first; j < visible; ++j) {
    double dot = 0, parts = 0;
    for (int t = 0; t < pool.D; ++t) {
      const double term =
          factor(q[t], bf16) * factor(pool.k[static_cast<size_t>(j * pool.D + t)], roundsKv);
      dot += term;
      parts += std::fabs(term);
    }
    s[static_cast<size_t>(j)] = 0.3f * dot;
    largest = std::max(largest, s[static_cast<size_t>(j)]);
    size = std::max(size, 0.3 * parts);
  }
  // A score is off by at most `slack`, so a weight by that relative error, plus exp's own 2e-7
  // (3e-6 where the weights are then rounded to bfloat16).
  const double slack = kEpsilon * (pool.D + 2) * size;
  const double relative = 2.5 * slack + (bf16 ? 4e-6 : 4e-7) + kEpsilon * (visible + 16);
  const double weightRelative = relative + (bf16 ? 1.01 / 256 : 0);
  double sum = 0;
  std::vector<double> want(static_cast<size_t>(pool.D)), bound = want;
  for (int j = first; j < visible; ++j) {
    const double e = std::exp(s[static_cast<size_t>(j)] - largest);
    sum += e;
    for (int t = 0; t < pool.D; ++t) {
      const double v = factor(pool.v[static_cast<size_t>(j * pool.D + t)], roundsKv);
      want[static_cast<size_t>(t)] += e * v;
      bound[static_cast<size_t>(t)] += e * std::fabs(v) * weightRelative;
    }
  }
  for (double& b : bound) b += 1e-12;
  expect(std::fabs(m - largest) <= slack + 1e-12, __FILE__, __LINE__, what + ": m is off");
  expect(std::fabs(d - sum) <= sum * relative, __FILE__, __LINE__, what + ": d is off");
  checkWithin(what + " o", o, want.data(), bound.data(), want.size());
}

// `window`: most rows that a query reads; 0: no limit.
void conform(const Kernel& kernel, KvType kv, int D, int Q, int rows, uint32_t seed,
             int window = 0) {
  Random random(seed);
  const Pool pool = makePool(kv, D, rows, random);
  Misaligned<float> q(static_cast<size_t>(Q * D), 1);
  random.fill(q);
  std::vector<const float*> queries;
  std::vector<int32_t> first, visible;
  for (int i = 0; i < Q; ++i) {
    queries.push_back(q.data() + i * D);
    // Causal in the first half, anything in the second; the last query sees every row.
    const int causal = rows - (Q - 1 - i) / 3;
    const int any = static_cast<int>(random.below(static_cast<uint32_t>(rows + 1)));
    visible.push_back(i == Q - 1 ? rows : i < Q / 2 ? std::max(0, causal) : any);
    const int begin = visible.back() - window + static_cast<int>(random.below(3));
    first.push_back(window == 0 ? 0 : std::clamp(begin, 0, rows));
  }
  const std::string what = kernel.name() + " " + kvTypeName(kv) + " D=" + std::to_string(D) +
                           " Q=" + std::to_string(Q) + " rows=" + std::to_string(rows) +
                           " window=" + std::to_string(window);
  const Result all =
      run(kernel, pool, queries, visible, window == 0 ? std::vector<int32_t>{} : first);
  bool same = true;
  for (int i = 0; i < Q; ++i) {
    const auto at = static_cast<size_t>(i);
    const float* o = all.o.data() + i * D;
    checkQuery(what + " query " + std::to_string(i), kernel.bf16, pool, queries[at], first[at],
               visible[at], o, all.m[at], all.d[at]);
    const Pool rest = window == 0 ? pool : poisonedOutside(pool, first[at], visible[at]);
    const Result alone = run(kernel, rest, {queries[at]}, {visible[at]}, {first[at]});
    same = same && sameBits(alone.o.data(), o, static_cast<size_t>(D)) &&
           sameBits(alone.m.data(), &all.m[at], 1) && sameBits(alone.d.data(), &all.d[at], 1);
  }
  expect(same, __FILE__, __LINE__, what + ": bits depend on the other queries");
}

}  // namespace

TEST("attend: sizes, formats and causal edges against double precision, bits of a query alone") {
  uint32_t seed = 100;
  for (const Kernel& kernel : kernels()) {
    for (const KvType kv : kKvTypes) {
      if (kernel.ops->isa == Isa::kCuda) {  // emulated, a thousand times slower
        for (const int rows : {0, 1, 16, 33, 80}) conform(kernel, kv, 64, 5, rows, ++seed);
        for (const int D : {16, 80, 128, 256}) conform(kernel, kv, D, 6, 50, ++seed);
        continue;
      }
      for (const int Q : {1, 2, 3, 4, 5, 6, 7, 9, 12, 15, 48, 64})
        conform(kernel, kv, 64, Q, 40, ++seed);
      for (const int rows : {0, 1, 2, 15, 16, 17, 31, 33, 80, 255, 256}) {
        for (const int Q : {1, 3, 8}) conform(kernel, kv, 64, Q, rows, ++seed);
      }
      for (const int D : {16, 32, 48, 80, 96, 128, 256}) {
        for (const int Q : {1, 2, 3, 6, 11}) conform(kernel, kv, D, Q, 50, ++seed);
      }
    }
  }
}

TEST("attend: windows, narrow and wide, cut anywhere; rows before them hold NaN") {
  uint32_t seed = 900;
  for (const Kernel& kernel : kernels()) {
    for (const KvType kv : kKvTypes) {
      if (kernel.ops->isa == Isa::kCuda) {
        for (const int window : {1, 16, 40}) conform(kernel, kv, 32, 6, 100, ++seed, window);
        continue;
      }
      for (const int window : {1, 2, 15, 16, 17, 40, 200}) {
        for (const int Q : {1, 2, 3, 6, 8, 15}) conform(kernel, kv, 32, Q, 100, ++seed, window);
        for (const int rows : {1, 16, 33, 256}) conform(kernel, kv, 64, 8, rows, ++seed, window);
      }
    }
  }
}

TEST("attend: large scores neither overflow nor lose the largest") {
  for (const Kernel& kernel : kernels()) {
    Random random(9);
    const Pool pool = makePool(KvType::kF32, 16, 40, random);
    std::vector<float> q(16);
    random.fill(q);
    for (float& value : q) value *= 1000;
    const Result result = run(kernel, pool, {q.data()}, {40});
    CHECK(std::isfinite(result.m[0]));
    CHECK(result.d[0] >= 1 && result.d[0] <= 40);
    for (const float o : result.o) CHECK(std::isfinite(o));
  }
}

TEST("attendBf16: a row of V that is not finite is nothing to queries that do not read it") {
  for (const Kernel& kernel : kernels()) {
    Random random(21);
    for (const KvType kv : {KvType::kF32, KvType::kF16, KvType::kBF16}) {
      Pool pool = makePool(kv, 32, 48, random);
      std::vector<float> q(size_t{6} * 32);
      random.fill(q);
      std::vector<const float*> queries;
      for (size_t i = 0; i < 6; ++i) queries.push_back(q.data() + i * 32);
      const std::vector<int32_t> visible{20, 20, 20, 48, 48, 48};
      const Result before = run(kernel, pool, queries, visible);
      pool.v[size_t{30} * 32 + 7] = kInfinity;
      storeRows(pool, 16, 32);
      const Result after = run(kernel, pool, queries, visible);
      for (size_t i = 0; i < size_t{3} * 32; ++i) {
        CHECK(std::isfinite(after.o[i]));
        CHECK_NEAR(after.o[i], before.o[i], 0.25);  // weights of twenty rows are rounded or not
      }
      CHECK(!std::isfinite(after.o[size_t{3} * 32 + 7]));
    }
  }
}

TEST("merge: states add up to the state of the whole, and an empty side changes nothing") {
  for (const Ops* ops : tablesWith(&Ops::merge)) {
    Random random(3);
    for (const int D : {16, 64, 80}) {
      const Pool pool = makePool(KvType::kF32, D, 100, random);
      std::vector<float> q(static_cast<size_t>(D));
      random.fill(q);
      const Result whole = run({ops, false}, pool, {q.data()}, {100});
      Result first = run({ops, false}, pool, {q.data()}, {48});
      Pool rest = pool;
      rest.blocks.erase(rest.blocks.begin(), rest.blocks.begin() + 3);
      const Result second = run({ops, false}, rest, {q.data()}, {52});
      ops->merge({first.o.data(), first.m.data(), first.d.data(), second.o.data(), second.m[0],
                  second.d[0], D});
      CHECK_EQ(first.m[0], whole.m[0]);
      CHECK_NEAR(first.d[0], whole.d[0], 2e-6 * whole.d[0]);
      for (int t = 0; t < D; ++t) {
        const auto at = static_cast<size_t>(t);
        CHECK_NEAR(first.o[at], whole.o[at], 4e-6 * whole.d[0]);
      }
      // An empty side, whatever its o holds.
      const std::vector<float> nan(static_cast<size_t>(D), kNan);
      const Result before = first;
      ops->merge({first.o.data(), first.m.data(), first.d.data(), nan.data(), -kInfinity, kNan, D});
      CHECK(sameBits(first.o.data(), before.o.data(), first.o.size()));
      CHECK_EQ(first.d[0], before.d[0]);
      std::vector<float> o = nan;
      float m = -kInfinity, d = 0;
      ops->merge({o.data(), &m, &d, before.o.data(), before.m[0], before.d[0], D});
      CHECK(sameBits(o.data(), before.o.data(), o.size()));
      CHECK(m == before.m[0] && d == before.d[0]);
      m = -kInfinity;
      ops->merge({o.data(), &m, &d, nan.data(), -kInfinity, 0, D});
      CHECK(m == -kInfinity && d == 0 && o[0] == 0 && o[static_cast<size_t>(D - 1)] == 0);
    }
  }
}
