// SPDX-License-Identifier: Apache-2.0
// attendSlots and mergeStates under emulation: whole views, ragged, split, shifted and windowed,
// against softmax in double precision over the rows that a view's table says are read. Every other
// row of the pool is NaN.
#include "cuda/attention.h"
#include "cuda/views.h"
#include "emulation/cuda.h"
#include "kernels/support.h"

using namespace baton;
using namespace baton::test;

namespace {

struct Result {
  std::vector<float> out, lse;
};

constexpr float kScale = 0.3f;

Result run(const ViewProblem& p, const StoredViews& world, const Plan& plan) {
  const int H = p.group * p.G, count = plan.views.rows;
  const SlotPlan& lists = plan.lists;
  const auto heads = [&](int rows) { return static_cast<size_t>(rows * H); };
  const auto numbers = [&](int rows) { return static_cast<size_t>(rows * H * p.D); };
  Result result{std::vector<float>(numbers(count), kNan), std::vector<float>(heads(count), kNan)};
  std::vector<float> o(numbers(lists.states), kNan), m(heads(lists.states), kNan), d = m;
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
                   .slots = lists.slots.data(),
                   .items = lists.items.data(),
                   .mostRows = lists.mostRows,
                   .o = o.data(),
                   .m = m.data(),
                   .d = d.data(),
                   .out = result.out.data(),
                   .lse = result.lse.data(),
                   .rows = lists.rows.data()},
                  0, static_cast<int>(lists.items.size()));
  if (lists.merges) {
    mergeStatesCuda({o.data(), m.data(), d.data(), lists.lists.data(), H, p.D, result.out.data(),
                     result.lse.data()},
                    0, count);
  }
  return result;
}

void checkRow(const ViewProblem& p, const StoredViews& world, const std::vector<Pair>& pairs,
              int head, const float* out, float lse) {
  const auto D = static_cast<size_t>(p.D);
  if (pairs.empty()) {
    bool zero = lse == -kInfinity;
    for (size_t t = 0; t < D; ++t) zero = zero && out[t] == 0;
    expect(zero, __FILE__, __LINE__, describe(p) + ": a row that reads nothing is not 0");
    return;
  }
  const auto rowOf = [&](const std::vector<std::vector<float>>& all, const Pair& pair) {
    return all[static_cast<size_t>(pair.segment)].data() + (pair.row * p.G + head / p.group) * p.D;
  };
  std::vector<double> scores;
  double largest = -1e300, size = 0;
  for (const Pair& pair : pairs) {
    const float* q = world.q.data() + (pair.queryRow * p.group * p.G + head) * p.D;
    const float* k = rowOf(world.k, pair);
    double dot = 0, parts = 0;
    for (size_t t = 0; t < D; ++t)
      dot += double(q[t]) * k[t], parts += std::fabs(double(q[t]) * k[t]);
    scores.push_back(kScale * dot);
    largest = std::max(largest, scores.back());
    size = std::max(size, kScale * parts);
  }
  const auto count = static_cast<double>(pairs.size());
  const double slack = kEpsilon * (p.D + 2) * size;
  const double relative = 5 * slack + 8e-7 + kEpsilon * (count + 16);
  std::vector<double> want(D), bound(D, 1e-12);
  double sum = 0;
  for (size_t j = 0; j < pairs.size(); ++j) sum += std::exp(scores[j] - largest);
  for (size_t j = 0; j < pairs.size(); ++j) {
    const double weight = std::exp(scores[j] - largest) / sum;
    const float* v = rowOf(world.v, pairs[j]);
    for (size_t t = 0; t < D; ++t) {
      want[t] += weight * v[t];
      bound[t] += weight * std::fabs(v[t]) * relative;
    }
  }
  const double wantLse = largest + std::log(sum);
  expect(std::fabs(lse - wantLse) <= slack + relative + kEpsilon * 4 * std::fabs(wantLse), __FILE__,
         __LINE__, describe(p) + ": lse " + show(lse) + " instead of " + show(wantLse));
  checkWithin(describe(p), out, want.data(), bound.data(), D);
}

Result conform(const ViewProblem& p, uint32_t seed) {
  Random random(seed);
  const Planner planner(p, random);
  StoredViews world(p, planner.blocks, random);
  const Plan& plan = planner.plan;
  world.q.resize(static_cast<size_t>(plan.views.queryRows * p.group * p.G * p.D));
  random.fill(world.q);
  for (const auto& pairs : plan.table) {
    for (const Pair& pair : pairs) world.store(p, pair.segment, pair.row);
  }
  const Result result = run(p, world, plan);
  const int H = p.group * p.G;
  for (int row = 0; row < plan.views.rows; ++row) {
    for (int h = 0; h < H; ++h) {
      const int at = row * H + h;
      checkRow(p, world, plan.table[static_cast<size_t>(row)], h, result.out.data() + at * p.D,
               result.lse[static_cast<size_t>(at)]);
    }
  }
  return result;
}

// A chain in the middle of its work: two branches decode over a trunk and what they have written, a
// third is fed some rows at once and reads the first with a shift, and one is at its very first
// row. Ends of segments at, before and behind the ends of blocks.
ViewProblem chain(KvType kv, int group, int D) {
  return {.name = "chain",
          .kv = kv,
          .group = group,
          .G = group == 1 ? 2 : 1,
          .D = D,
          .segments = {{37, 0}, {16, 37}, {17, 37}, {9, 60}, {1, 0}},
          .readers = {{{{0, 37, 0}}, 1, 15, 1},
                      {{{0, 37, 0}, {1, 3, 0}}, 2, 16, 1},
                      {{{0, 37, 0}, {1, 16, 7}, {2, 17, -5}}, 3, 4, 5},
                      {{}, 4, 0, 1}},
          .window = 0,
          .split = 0};
}

bool sameResults(const Result& a, const Result& b) {
  return a.out.size() == b.out.size() && sameBits(a.out.data(), b.out.data(), a.out.size()) &&
         sameBits(a.lse.data(), b.lse.data(), a.lse.size());
}

// Branches that decode behind a trunk and half of another one, which two of them read elsewhere;
// one with two rows, and one that is fed more rows than fit beside the others.
ViewProblem tree(KvType kv, int group, int D) {
  ViewProblem p{.name = "tree",
                .kv = kv,
                .group = group,
                .G = group == 1 ? 2 : 1,
                .D = D,
                .segments = {{70, 0}, {40, 70}},
                .readers = {}};
  for (int branch = 0; branch < 6; ++branch) {
    Reader reader{{{0, 70, 0}, {1, 33, branch < 2 ? 5 : 0}}, branch + 2, branch, 1};
    if (branch == 3) reader.count = 2;
    if (branch == 5) reader.count = 13;
    p.readers.push_back(reader);
    p.segments.push_back({20, 110});
  }
  p.split = 2;
  return p;
}

}  // namespace

TEST("cuda: attention of views over slots, every KV format, group and size of head") {
  uint32_t seed = 40;
  for (const KvType kv : kKvTypes) {
    for (const int group : {3, 4, 8}) conform(chain(kv, group, 64), ++seed);
    for (const int D : {80, 128, 256}) conform(chain(kv, 1, D), ++seed);
  }
}

TEST("cuda: attention of a list that is split, and of one that is not") {
  uint32_t seed = 80;
  for (const KvType kv : kKvTypes) {
    ViewProblem p = chain(kv, 4, 64);
    p.split = 1 + static_cast<int>(++seed % 3);
    conform(p, seed);
  }
}

TEST("cuda: attention within a window, of which rows and whole slots are left out") {
  uint32_t seed = 120;
  for (const KvType kv : kKvTypes) {
    for (const int window : {1, 16, 30}) {
      ViewProblem p = chain(kv, 3, 64);
      p.window = window;
      p.split = window % 4;
      conform(p, ++seed);
    }
  }
}

TEST(
    "cuda: attention of a row has the same bits alone, among others, and in any order of threads") {
  for (const KvType kv : {KvType::kBF16, KvType::kInt8}) {
    for (const int group : {1, 4}) {
      ViewProblem p = chain(kv, group, 64);
      p.split = 2;
      const Result together = conform(p, 7);
      p.alone = true;
      CHECK(sameResults(conform(p, 7), together));
      p.alone = false;
      emulation::setOrder(emulation::Order::kBackwards);
      CHECK(sameResults(conform(p, 7), together));
      emulation::setOrder(emulation::Order::kForwards);
    }
  }
}

TEST("cuda: attention of a row has the same bits where its blocks are read for several readers") {
  uint32_t seed = 150;
  for (const KvType kv : kKvTypes) {
    for (const int group : {1, 4}) {
      for (const int window : {0, 50}) {
        ViewProblem p = tree(kv, group, group == 1 ? 80 : 64);
        p.window = window;
        const Result apart = conform(p, ++seed);
        p.sharing = Sharing::kFew;
        Random random(seed);
        CHECK(!Planner(p, random).plan.lists.rows.empty());
        CHECK(sameResults(conform(p, seed), apart));
        emulation::setOrder(emulation::Order::kBackwards);
        CHECK(sameResults(conform(p, seed), apart));
        emulation::setOrder(emulation::Order::kForwards);
      }
    }
  }
}

TEST("cuda: a row of K and V that is NaN reaches the rows that read it and no other") {
  for (const KvType kv : kKvTypes) {
    Random random(3);
    const ViewProblem p = chain(kv, 1, 64);
    const Planner planner(p, random);
    StoredViews world(p, planner.blocks, random);
    const Plan& plan = planner.plan;
    world.q.resize(static_cast<size_t>(plan.views.queryRows * p.group * p.G * p.D));
    random.fill(world.q);
    for (const auto& pairs : plan.table) {
      for (const Pair& pair : pairs) world.store(p, pair.segment, pair.row);
    }
    const Result before = run(p, world, plan);
    // The fourth of the rows that one reader is fed at once: the same threads attend for the three
    // before it, which do not read it; the fifth does.
    const Pair last = plan.table[5].back();
    for (auto* all : {&world.k, &world.v}) {
      auto& rows = (*all)[static_cast<size_t>(last.segment)];
      std::fill_n(rows.begin() + last.row * p.G * p.D, p.G * p.D, kNan);
    }
    world.store(p, last.segment, last.row);
    const Result after = run(p, world, plan);
    const int each = p.group * p.G * p.D;
    for (int row = 0; row < plan.views.rows; ++row) {
      const float *was = before.out.data() + row * each, *is = after.out.data() + row * each;
      const bool wanted =
          row == 5 || row == 6
              ? std::all_of(is, is + each, [](float value) { return std::isnan(value); })
              : sameBits(was, is, static_cast<size_t>(each));
      expect(wanted, __FILE__, __LINE__, describe(p) + ": row " + std::to_string(row));
    }
  }
}

TEST("cuda: attention of a row whose slots are empty, or lie before its window, is 0") {
  for (const int split : {0, 1}) {
    // Neither can be of a view, whose rows read at least themselves.
    const KvSlot slots[] = {{1, 0, 16, 0}, {1, 16, 16, 0}};
    const AttendItem items[] = {{0, split == 0 ? 0 : 2, 0, 1, 100, 0, 1}};
    std::vector<std::byte> pool(3 * 4096, std::byte{0xff});
    const std::vector<float> q(16, 1.0f);
    std::vector<float> out(16, kNan), lse(1, kNan);
    attendSlotsCuda({.q = q.data(),
                     .H = 1,
                     .G = 1,
                     .D = 16,
                     .scale = kScale,
                     .window = 8,
                     .kv = KvType::kF32,
                     .k = pool.data(),
                     .v = pool.data() + 1024,
                     .headStride = 1024,
                     .blockStride = 4096,
                     .slots = slots,
                     .items = items,
                     .mostRows = 1,
                     .o = nullptr,
                     .m = nullptr,
                     .d = nullptr,
                     .out = out.data(),
                     .lse = lse.data()},
                    0, 1);
    CHECK(out == std::vector<float>(16, 0.0f));
    CHECK_EQ(lse[0], -kInfinity);
  }
}
