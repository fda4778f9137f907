// SPDX-License-Identifier: Apache-2.0
// The kernels of attention_backward.h over whole views, ragged, split, shifted and windowed,
// against sums in double precision over the rows that a view's table says are read. Every other row
// of the pool is NaN.
#include "cuda/attention_backward.h"

#include <map>

#include "cuda/views.h"
#include "emulation/cuda.h"
#include "engine/slot_backward.h"
#include "kernels/gradients.h"
#include "kernels/support.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr float kScale = 0.3f, kStart = 0.25f;
constexpr int kPositions = 256;

struct Problem : ViewProblem {
  std::vector<int> live;  // segments that no row of the batch is of
  int partRows = kKeyPartRows;
  RopePairing pairing = RopePairing::kHalves;
};

// Three segments of a batch behind a frozen trunk and a live prompt; the last reads the first two,
// one of them with a shift. Their ends lie at, before and behind the ends of blocks.
Problem chain(KvType kv, int group, int D) {
  Problem p;
  p.name = "chain";
  p.kv = kv;
  p.group = group;
  p.G = group == 1 ? 2 : 1;
  p.D = D;
  p.segments = {{37, 20}, {20, 0}, {1, 57}, {16, 57}, {35, 90}, {3, 0}};
  p.readers = {{{{1, 20, 0}, {0, 37, 0}}, 2, 0, 1},
               {{{1, 20, 0}, {0, 37, 0}}, 3, 0, 16},
               {{{1, 18, 13}, {2, 1, 0}, {0, 37, 13}, {3, 9, -5}}, 4, 0, 35},
               {{}, 5, 0, 3}};
  p.live = {1};
  return p;
}

struct Gradients {
  std::vector<float> delta;   // [R, H]
  std::vector<float> dq;      // [R, H, D]
  std::vector<float> dk, dv;  // [R, G, D], then of each live segment outside
};

// All that the kernels read, and where segments are in dk and dv.
struct Setting {
  const Problem& p;
  Planner planner;
  StoredViews world;
  SlotBackward lists;
  std::vector<float> dout, out, lse;
  std::vector<float> cos, sin;
  std::map<int, int> rowOf;  // by segment
  int rows = 0;              // of dk and dv

  Setting(const Problem& problem, Random random)
      : p(problem), planner(p, random), world(p, planner.blocks, random) {
    const Plan& plan = planner.plan;
    std::vector<const Segment*> outside;
    for (const int segment : p.live) outside.push_back(planner.segmentAt(segment));
    lists.make(plan.views, plan.lists, planner.batch(), outside, p.partRows);
    const auto R = static_cast<size_t>(plan.views.rows), H = static_cast<size_t>(p.group * p.G);
    const auto D = static_cast<size_t>(p.D);
    world.q.resize(static_cast<size_t>(plan.views.queryRows) * H * D);
    dout.resize(R * H * D);
    out.resize(R * H * D);
    for (auto* all : {&world.q, &dout, &out}) random.fill(*all);
    for (const auto& pairs : plan.table) {
      for (const Pair& pair : pairs) world.store(p, pair.segment, pair.row);
    }
    for (size_t i = 0; i < p.readers.size(); ++i)
      rowOf[p.readers[i].own] = planner.batch().runs[i].batchRow;
    rows = plan.views.rows;
    for (const int segment : p.live) {
      rowOf[segment] = rows;
      rows += p.segments[static_cast<size_t>(segment)].rows;
    }
    for (size_t i = 0; i < kPositions * D / 2; ++i) {
      const double angle = i < D / 2 ? 0.0 : random.number();  // none at position 0
      cos.push_back(static_cast<float>(std::cos(angle)));
      sin.push_back(static_cast<float>(std::sin(angle)));
    }
    for (int row = 0; row < plan.views.rows; ++row) {
      for (int h = 0; h < p.group * p.G; ++h) lse.push_back(static_cast<float>(lseOf(row, h)));
    }
  }

  const float* query(int row, int head) const {
    return world.q.data() + (row * p.group * p.G + head) * p.D;
  }
  const float* stored(const std::vector<std::vector<float>>& all, const Pair& pair,
                      int head) const {
    return all[static_cast<size_t>(pair.segment)].data() + (pair.row * p.G + head / p.group) * p.D;
  }

  double lseOf(int row, int head) const {
    double sum = 0, largest = -1e300;
    std::vector<double> scores;
    for (const Pair& pair : planner.plan.table[static_cast<size_t>(row)]) {
      scores.push_back(kScale * dot(query(pair.queryRow, head), stored(world.k, pair, head), p.D));
      largest = std::max(largest, scores.back());
    }
    for (const double score : scores) sum += std::exp(score - largest);
    return largest + std::log(sum);
  }
};

Gradients run(const Setting& s) {
  const Problem& p = s.p;
  const int H = p.group * p.G, R = s.planner.plan.views.rows, width = p.G * p.D;
  const auto numbers = [&](int rows, int heads) {
    return static_cast<size_t>(rows) * static_cast<size_t>(heads * p.D);
  };
  Gradients got{std::vector<float>(static_cast<size_t>(R * H), kNan),
                std::vector<float>(numbers(R, H), kNan),
                std::vector<float>(numbers(s.rows, p.G), kStart),
                {}};
  got.dv = got.dk;
  dAttendDeltaCuda({s.dout.data(), s.out.data(), H, p.D, got.delta.data()}, 0, R);
  std::vector<float> partQ(numbers(s.lists.states, H), kNan);
  const auto parts = static_cast<int>(s.lists.parts.size());
  std::vector<float> partK(numbers(parts * kBlockRows, p.G), kNan), partV = partK;
  const DAttendSlotsArgs args{
      .q = s.world.q.data(),
      .dout = s.dout.data(),
      .lse = s.lse.data(),
      .delta = got.delta.data(),
      .H = H,
      .G = p.G,
      .D = p.D,
      .scale = kScale,
      .window = p.window,
      .kv = p.kv,
      .k = s.world.pool.data(),
      .v = s.world.pool.data() + static_cast<size_t>(p.G) * s.world.headBytes,
      .headStride = s.world.headBytes,
      .blockStride = s.world.blockStride,
      .slots = s.planner.plan.lists.slots.data(),
      .items = s.lists.items.data(),
      .mostRows = s.lists.mostRows,
      .dq = partQ.data(),
      .uses = s.lists.uses.data(),
      .parts = s.lists.parts.data(),
      .dk = partK.data(),
      .dv = partV.data()};
  dAttendQueriesCuda(args, 0, static_cast<int>(s.lists.items.size()));
  dAttendTurnCuda({partQ.data(), s.lists.positions.data(), s.lists.lists.data(), H, p.D,
                   s.cos.data(), s.sin.data(), p.pairing, got.dq.data()},
                  0, R);
  const auto gather = [&](const SlotBackward::Range& range, int row) {
    dAttendKeysCuda(args, range.partBegin, range.partEnd);
    dAttendGatherCuda({partK.data(), partV.data(), s.lists.targets.data(), width,
                       got.dk.data() + row * width, got.dv.data() + row * width},
                      range.targetBegin, range.targetEnd);
  };
  gather(s.lists.batch, 0);
  for (size_t i = 0; i < p.live.size(); ++i) gather(s.lists.outside[i], s.rowOf.at(p.live[i]));
  return got;
}

// A sum in double precision, and how far off one in float32 may be.
struct Sum {
  std::vector<double> value, bound;
  Sum(size_t n, double start) : value(n, start), bound(n, 1e-12 + 4 * kEpsilon * start) {}
  void add(size_t at, double factor, double off, double number) {
    value[at] += factor * number;
    bound[at] += (off + 64 * kEpsilon * std::fabs(factor)) * std::fabs(number);
  }
};

// number t of a row as rope at the negated position makes it of `from`.
double turnedBack(const Setting& s, const float* from, int position, int t) {
  const int half = s.p.D / 2;
  const bool adjacent = s.p.pairing == RopePairing::kAdjacent;
  const int pair = adjacent ? t / 2 : t % half;
  const bool second = adjacent ? t % 2 == 1 : t >= half;
  const int other = adjacent ? t ^ 1 : (t + half) % s.p.D;
  const auto at = static_cast<size_t>(std::abs(position) * half + pair);
  const double c = s.cos[at], sine = position < 0 ? -s.sin[at] : s.sin[at];
  return from[t] * c + (second ? -sine : sine) * from[other];
}

// What a row of the result adds to all sums.
void addRow(const Setting& s, int row, int head, Sum& dq, Sum& dk, Sum& dv) {
  const Problem& p = s.p;
  const int D = p.D, H = p.group * p.G;
  const auto at = static_cast<size_t>(row * H + head);
  const float* dout = s.dout.data() + at * static_cast<size_t>(D);
  const float* out = s.out.data() + at * static_cast<size_t>(D);
  const double delta = dot(dout, out, D);
  for (const Pair& pair : s.planner.plan.table[static_cast<size_t>(row)]) {
    const float* q = s.query(pair.queryRow, head);
    const float *k = s.stored(s.world.k, pair, head), *v = s.stored(s.world.v, pair, head);
    double scoreSize = 0, dpSize = std::fabs(delta);
    for (int t = 0; t < D; ++t) {
      scoreSize += std::fabs(double(q[t]) * k[t]);
      dpSize += std::fabs(double(dout[t]) * v[t]) + std::fabs(double(dout[t]) * out[t]);
    }
    const double e = std::exp(kScale * dot(q, k, D) - s.lse[at]);
    const double ds = e * (dot(dout, v, D) - delta) * kScale;
    const double eOff = kEpsilon * (D + 4) * (kScale * scoreSize + std::fabs(s.lse[at])) + 5e-7;
    const double dsOff = eOff * std::fabs(ds) + e * kScale * kEpsilon * (D + 4) * dpSize;
    const int position = s.planner.plan.views.queryPositions[static_cast<size_t>(pair.queryRow)];
    for (int t = 0; t < D; ++t) {
      const size_t number = at * static_cast<size_t>(D) + static_cast<size_t>(t);
      dq.add(number, ds, dsOff, turnedBack(s, k, position, t));
      dq.bound[number] += (dsOff + 64 * kEpsilon * std::fabs(ds)) * dot(k, k, D);
    }
    const auto target = s.rowOf.find(pair.segment);
    if (target == s.rowOf.end()) continue;  // frozen
    for (int t = 0; t < D; ++t) {
      const auto number =
          static_cast<size_t>(((target->second + pair.row) * p.G + head / p.group) * D + t);
      dk.add(number, ds, dsOff, q[t]);
      dv.add(number, e, eOff * e, dout[t]);
    }
  }
}

Gradients conform(const Problem& p, uint32_t seed) {
  const Setting s(p, Random(seed));
  const Gradients got = run(s);
  Sum dq(got.dq.size(), 0), dk(got.dk.size(), kStart), dv(got.dv.size(), kStart);
  std::vector<double> delta, deltaBound;
  for (int row = 0; row < s.planner.plan.views.rows; ++row) {
    for (int h = 0; h < p.group * p.G; ++h) {
      addRow(s, row, h, dq, dk, dv);
      const int at = (row * p.group * p.G + h) * p.D;
      delta.push_back(dot(s.dout.data() + at, s.out.data() + at, p.D));
      deltaBound.push_back(1e-12);
      for (int t = at; t < at + p.D; ++t) {
        const auto i = static_cast<size_t>(t);
        deltaBound.back() += kEpsilon * (p.D + 2) * std::fabs(double(s.dout[i]) * s.out[i]);
      }
    }
  }
  const std::string what = describe(p) + " part=" + std::to_string(p.partRows);
  checkWithin(what + " delta", got.delta.data(), delta.data(), deltaBound.data(), delta.size());
  checkWithin(what + " dq", got.dq.data(), dq.value.data(), dq.bound.data(), got.dq.size());
  checkWithin(what + " dk", got.dk.data(), dk.value.data(), dk.bound.data(), got.dk.size());
  checkWithin(what + " dv", got.dv.data(), dv.value.data(), dv.bound.data(), got.dv.size());
  return got;
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && sameBits(a.data(), b.data(), a.size());
}

}  // namespace

TEST("cuda: backward of attention over slots, every KV format, group and size of head") {
  uint32_t seed = 400;
  for (const KvType kv : kKvTypes) {
    for (const int group : {3, 4, 8}) conform(chain(kv, group, 64), ++seed);
    for (const int D : {16, 80, 128, 256}) {
      Problem p = chain(kv, 1, D);
      p.pairing = D == 80 ? RopePairing::kAdjacent : RopePairing::kHalves;
      conform(p, ++seed);
    }
  }
}

TEST("cuda: backward of attention of lists and of readers that are split, and that are not") {
  uint32_t seed = 480;
  for (const int split : {0, 1, 2}) {
    for (const int partRows : {16, 20, 33}) {
      Problem p = chain(KvType::kF16, 3, 32);
      p.split = split;
      p.partRows = partRows;
      conform(p, ++seed);
    }
  }
}

TEST("cuda: backward of attention within a window") {
  uint32_t seed = 520;
  for (const KvType kv : {KvType::kBF16, KvType::kInt8}) {
    for (const int window : {1, 16, 30}) {
      Problem p = chain(kv, 3, 32);
      p.window = window;
      p.split = window % 4;
      conform(p, ++seed);
    }
  }
}

TEST("cuda: backward of attention has the same bits in any order of threads, dq beside any rows") {
  Problem p = chain(KvType::kInt8, 4, 64);
  p.split = 2;
  const Gradients once = conform(p, 7);
  emulation::setOrder(emulation::Order::kBackwards);
  const Gradients again = conform(p, 7);
  emulation::setOrder(emulation::Order::kForwards);
  CHECK(same(again.dq, once.dq));
  CHECK(same(again.dk, once.dk));
  CHECK(same(again.dv, once.dv));
  p.alone = true;
  CHECK(same(conform(p, 7).dq, once.dq));
}

TEST("cuda: of a segment that nobody reads and a prompt that nobody reads all of, rows stay") {
  Problem p = chain(KvType::kF32, 1, 16);
  p.segments.push_back({40, 0});
  p.live = {1, 6};
  const Gradients got = conform(p, 9);  // rows that are not read are compared with their start
  const auto rows = got.dk.size() / static_cast<size_t>(p.G * p.D);
  CHECK_EQ(rows, size_t{1 + 16 + 35 + 3 + 20 + 40});
  CHECK(std::all_of(got.dk.end() - 40 * p.G * p.D, got.dk.end(),
                    [](float x) { return x == kStart; }));
}
