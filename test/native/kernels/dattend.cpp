// SPDX-License-Identifier: Apache-2.0
// dattend.h for every table that this machine runs: against double precision; against finite
// differences of the forward references over two intervals; rows that nobody reads hold NaN; bit
// for bit between queries alone, in company, and in calls of any sizes. In bfloat16 the reference
// rounds what goes into a product as the kernel does, so that bounds stay narrow.
#include "kernels/attend/dattend.h"

#include <span>

#include "base/buffer.h"
#include "gradients.h"
#include "kv_pool.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr float kScale = 0.3f;

struct Problem {
  Pool pool;
  std::vector<float> q, dout;     // [Q, D]
  std::vector<float> lse, delta;  // [Q]
  std::vector<int32_t> first, visible;
  bool windowed;
  bool bf16 = false;

  int Q() const { return static_cast<int>(lse.size()); }
};

// Whether the table's kernels round what goes into a product.
bool rounds(const Ops& ops, bool bf16) {
  return bf16 && ops.isa != Isa::kAvx2 && ops.isa != Isa::kCuda;
}

double factor(float x, bool rounded) {
  return rounded ? floatOfBfloat(bfloatOfFloat(x)) : x;
}

struct Result {
  std::vector<float> dq;      // [Q, D]
  std::vector<float> dk, dv;  // [rows, ldk]
  int ldk;
};

// dq, dk and dv start at what `start` gives for their index. `calls`: how many queries each call
// takes, in order; empty: all at once.
Result run(const Ops& ops, const Problem& p, const std::vector<int>& order,
           const std::vector<int>& calls = {}, float start = 0.25f) {
  const int D = p.pool.D, ldk = D + 3;
  Result out{std::vector<float>(p.q.size(), start),
             std::vector<float>(static_cast<size_t>(std::max(1, p.pool.rows) * ldk), start),
             {},
             ldk};
  out.dv = out.dk;
  Buffer scratch(dAttendScratchFloats(D) * sizeof(float));
  std::memset(scratch.data(), 0xff, scratch.size());
  size_t at = 0;
  for (size_t call = 0; at < order.size(); ++call) {
    const size_t count =
        calls.empty() ? order.size() : static_cast<size_t>(calls[call % calls.size()]);
    const std::span<const int> part =
        std::span(order).subspan(at, std::min(count, order.size() - at));
    at += part.size();
    std::vector<const float*> q, dout;
    std::vector<float*> dq;
    std::vector<float> lse, delta;
    std::vector<int32_t> first, visible;
    for (const int i : part) {
      const auto index = static_cast<size_t>(i);
      q.push_back(p.q.data() + i * D);
      dout.push_back(p.dout.data() + i * D);
      dq.push_back(out.dq.data() + i * D);
      lse.push_back(p.lse[index]);
      delta.push_back(p.delta[index]);
      first.push_back(p.first[index]);
      visible.push_back(p.visible[index]);
    }
    DAttendArgs args{.q = q.data(),
                     .dout = dout.data(),
                     .lse = lse.data(),
                     .delta = delta.data(),
                     .Q = static_cast<int>(part.size()),
                     .D = D,
                     .scale = kScale,
                     .kv = p.pool.kv,
                     .k = p.pool.memory.data(),
                     .v = p.pool.memory.data() + p.pool.vOffset,
                     .blockStride = p.pool.blockStride,
                     .blocks = p.pool.blocks.data(),
                     .visible = visible.data(),
                     .first = p.windowed ? first.data() : nullptr,
                     .scratch = scratch.as<float>(),
                     .dq = dq.data(),
                     .bf16 = p.bf16};
    ops.dAttendQuery(args);
    args.dq = nullptr;
    args.dk = out.dk.data();
    args.dv = out.dv.data();
    args.ldk = ldk;
    ops.dAttendKey(args);
  }
  return out;
}

// `window`: most rows that a query reads; 0: no limit. The softmax's denominator is that of the
// piece and of something else that the view reads besides.
Problem make(KvType kv, int D, int Q, int rows, uint32_t seed, int window, bool bf16 = false) {
  Random random(seed);
  Problem p{makePool(kv, D, rows, random), {}, {}, {}, {}, {}, {}, window != 0, bf16};
  p.q.resize(static_cast<size_t>(Q * D));
  p.dout = p.q;
  random.fill(p.q);
  random.fill(p.dout);
  for (int i = 0; i < Q; ++i) {
    const int causal = rows - (Q - 1 - i) / 3;
    const int any = static_cast<int>(random.below(static_cast<uint32_t>(rows + 1)));
    p.visible.push_back(i == Q - 1 ? rows : i < Q / 2 ? std::max(0, causal) : any);
    const int begin = p.visible.back() - window + static_cast<int>(random.below(3));
    p.first.push_back(window == 0 ? 0 : std::clamp(begin, 0, rows));
    double largest = 0, sum = 0.5;
    std::vector<double> scores;
    for (int j = p.first.back(); j < p.visible.back(); ++j) {
      scores.push_back(
          kScale * dot(&p.q[static_cast<size_t>(i * D)], &p.pool.k[static_cast<size_t>(j * D)], D));
      largest = std::max(largest, scores.back());
    }
    for (const double s : scores) sum += std::exp(s - largest);
    p.lse.push_back(static_cast<float>(largest + std::log(sum)));
    p.delta.push_back(random.number());
  }
  return p;
}

// What all queries add to dq, dk and dv in double precision, and bounds of what may be off.
struct Oracle {
  std::vector<double> dq, dk, dv, dqBound, dkBound, dvBound;  // [Q, D] and [rows, D]
};

Oracle oracle(const Problem& p, float start, bool rounded) {
  const int D = p.pool.D;
  const auto n = static_cast<size_t>(p.pool.rows * D);
  Oracle o{std::vector<double>(p.q.size(), start), std::vector<double>(n, start), {}, {}, {}, {}};
  o.dv = o.dk;
  const double slack = std::fabs(start) * kEpsilon * 2;
  o.dqBound.assign(o.dq.size(), slack + 1e-12);
  o.dkBound.assign(n, slack + 1e-12);
  o.dvBound = o.dkBound;
  const bool roundsKv = rounded && p.pool.kv != KvType::kInt8;  // whose stored numbers are exact
  const double rounding = rounded ? 1.01 / 256 : 0, power = rounded ? 4e-6 : 5e-7;
  for (int i = 0; i < p.Q(); ++i) {
    const auto index = static_cast<size_t>(i);
    for (int j = p.first[index]; j < p.visible[index]; ++j) {
      double score = 0, scoreSize = 0, dp = 0, dpSize = 0;
      for (int t = 0; t < D; ++t) {
        const auto qt = static_cast<size_t>(i * D + t), kt = static_cast<size_t>(j * D + t);
        const double qk = factor(p.q[qt], rounded) * factor(p.pool.k[kt], roundsKv);
        const double dv = factor(p.dout[qt], rounded) * factor(p.pool.v[kt], roundsKv);
        score += qk;
        scoreSize += std::fabs(qk);
        dp += dv;
        dpSize += std::fabs(dv);
      }
      const double e = std::exp(kScale * score - p.lse[index]);
      const double ds = e * (dp - p.delta[index]) * kScale;
      // The score is off by its chain's roundings, and so, relatively, is e; dp by its own; and
      // each addition to a sum rounds once (with a chain as long as there are queries or rows).
      const double eOff = kEpsilon * ((D + 4) * (kScale * scoreSize + std::fabs(p.lse[index]))) +
                          power + kEpsilon * (p.Q() + p.pool.rows);
      const double dsOff = eOff * std::fabs(ds) +
                           e * kScale * kEpsilon * (D + 4) * (dpSize + std::fabs(p.delta[index]));
      for (int t = 0; t < D; ++t) {
        const auto qt = static_cast<size_t>(i * D + t), kt = static_cast<size_t>(j * D + t);
        const double k = factor(p.pool.k[kt], roundsKv), q = factor(p.q[qt], rounded);
        const double dout = factor(p.dout[qt], rounded);
        o.dq[qt] += ds * k;
        o.dk[kt] += ds * q;
        o.dv[kt] += e * dout;
        o.dqBound[qt] += (dsOff + rounding * std::fabs(ds)) * std::fabs(k) + slack;
        o.dkBound[kt] += (dsOff + rounding * std::fabs(ds)) * std::fabs(q) + slack;
        o.dvBound[kt] += (eOff + rounding) * e * std::fabs(dout) + slack;
      }
    }
  }
  return o;
}

std::vector<int> upTo(int n) {
  std::vector<int> out(static_cast<size_t>(n));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

std::vector<float> withoutGaps(const std::vector<float>& rows, int count, int D, int stride) {
  std::vector<float> out;
  for (int j = 0; j < count; ++j) {
    out.insert(out.end(), rows.begin() + j * stride, rows.begin() + j * stride + D);
  }
  return out;
}

void conformIn(bool bf16, const Ops& ops, KvType kv, int D, int Q, int rows, uint32_t seed,
               int window) {
  const Problem p = make(kv, D, Q, rows, seed, window, bf16);
  const bool rounded = rounds(ops, bf16);
  const std::string what = std::string(isaName(ops.isa)) + (bf16 ? " bf16 " : " ") +
                           kvTypeName(kv) + " D=" + std::to_string(D) + " Q=" + std::to_string(Q) +
                           " rows=" + std::to_string(rows) + " window=" + std::to_string(window);
  const Oracle want = oracle(p, 0.25f, rounded);
  const Result all = run(ops, p, upTo(Q));
  checkWithin(what + " dq", all.dq.data(), want.dq.data(), want.dqBound.data(), all.dq.size());
  const std::vector<float> dk = withoutGaps(all.dk, rows, D, all.ldk);
  const std::vector<float> dv = withoutGaps(all.dv, rows, D, all.ldk);
  checkWithin(what + " dk", dk.data(), want.dk.data(), want.dkBound.data(), dk.size());
  checkWithin(what + " dv", dv.data(), want.dv.data(), want.dvBound.data(), dv.size());
  int touched = 0;
  for (int j = 0; j < rows; ++j) {
    for (int t = D; t < all.ldk; ++t) {
      const auto at = static_cast<size_t>(j * all.ldk + t);
      touched += all.dk[at] != 0.25f || all.dv[at] != 0.25f;
    }
  }
  expect(touched == 0, __FILE__, __LINE__, what + ": values between the rows changed");
  // Queries in other calls: the same bits of everything; where two queries are a pair, of dk and dv
  // in calls that leave the pairs together.
  for (const std::vector<int>& calls : {std::vector<int>{1}, {5}, {2, 7}, {4, 6}}) {
    const Result parts = run(ops, p, upTo(Q), calls);
    const bool pairs = std::all_of(calls.begin(), calls.end(), [](int n) { return n % 2 == 0; });
    expect(sameBits(parts.dq.data(), all.dq.data(), all.dq.size()) &&
               ((rounded && !pairs) || (sameBits(parts.dk.data(), all.dk.data(), all.dk.size()) &&
                                        sameBits(parts.dv.data(), all.dv.data(), all.dv.size()))),
           __FILE__, __LINE__, what + ": bits depend on the calls");
  }
}

void conform(const Ops& ops, KvType kv, int D, int Q, int rows, uint32_t seed, int window = 0) {
  for (const bool bf16 : {false, true}) conformIn(bf16, ops, kv, D, Q, rows, seed, window);
}

// A query's bits where rows that it does not read hold NaN, and those of dk and dv from it alone.
void checkPoisoned(const Ops& ops, const Problem& p) {
  const int D = p.pool.D;
  const Result all = run(ops, p, upTo(p.Q()));
  for (int i = 0; i < p.Q(); ++i) {
    const auto at = static_cast<size_t>(i);
    Problem rest = p;
    rest.pool = poisonedOutside(p.pool, p.first[at], p.visible[at]);
    const Result alone = run(ops, rest, {i});
    CHECK(sameBits(alone.dq.data() + i * D, all.dq.data() + i * D, static_cast<size_t>(D)));
    const Result clean = run(ops, p, {i});
    CHECK(sameBits(alone.dk.data(), clean.dk.data(), clean.dk.size()));
    CHECK(sameBits(alone.dv.data(), clean.dv.data(), clean.dv.size()));
  }
  // A query that reads nothing, whatever it and its view hold, changes nothing.
  Problem nothing = p;
  nothing.pool = poisonedOutside(p.pool, 0, 0);
  std::fill(nothing.visible.begin(), nothing.visible.end(), 0);
  std::fill(nothing.lse.begin(), nothing.lse.end(), -kInfinity);
  std::fill(nothing.delta.begin(), nothing.delta.end(), kNan);
  const Result none = run(ops, nothing, upTo(p.Q()));
  for (const std::vector<float>* values : {&none.dq, &none.dk, &none.dv}) {
    CHECK(std::all_of(values->begin(), values->end(), [](float x) { return x == 0.25f; }));
  }
}

}  // namespace

TEST("dAttend: sizes, formats and causal edges against double precision, bits in any calls") {
  uint32_t seed = 300;
  for (const Ops* ops : tablesWith(&Ops::dAttendQuery)) {
    for (const KvType kv : kKvTypes) {
      for (const int Q : {1, 2, 3, 4, 5, 6, 7, 9, 12, 15, 48, 64})
        conform(*ops, kv, 64, Q, 40, ++seed);
      for (const int rows : {0, 1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 80, 255, 256}) {
        for (const int Q : {1, 3, 8}) conform(*ops, kv, 32, Q, rows, ++seed);
      }
      for (const int D : {16, 32, 48, 80, 96, 128, 256}) {
        for (const int Q : {1, 2, 6, 11}) conform(*ops, kv, D, Q, 50, ++seed);
      }
    }
  }
}

TEST("dAttend: windows, narrow and wide, cut anywhere") {
  uint32_t seed = 1900;
  for (const Ops* ops : tablesWith(&Ops::dAttendQuery)) {
    for (const KvType kv : kKvTypes) {
      for (const int window : {1, 2, 15, 16, 17, 40, 200}) {
        for (const int Q : {1, 3, 8, 15}) conform(*ops, kv, 32, Q, 100, ++seed, window);
        for (const int rows : {1, 16, 33, 256}) conform(*ops, kv, 64, 8, rows, ++seed, window);
      }
    }
  }
}

TEST("dAttend: rows that a query does not read hold NaN and influence no bit of it") {
  uint32_t seed = 2900;
  for (const Ops* ops : tablesWith(&Ops::dAttendQuery)) {
    for (const KvType kv : kKvTypes) {
      for (const int window : {1, 20, 90, 200}) {
        ++seed;
        for (const bool bf16 : {false, true})
          checkPoisoned(*ops, make(kv, 48, 13, 150, seed, window, bf16));
      }
    }
  }
}

TEST("dAttend: finite differences of the forward references, over two intervals") {
  constexpr int kD = 16, kRows[2] = {21, 5};
  for (const Ops* ops : tablesWith(&Ops::dAttendQuery)) {
    Random random(77);
    std::vector<float> q(kD), dout(kD), k[2], v[2];
    random.fill(q);
    random.fill(dout);
    for (int part = 0; part < 2; ++part) {
      k[part].resize(static_cast<size_t>(kRows[part] * kD));
      v[part] = k[part];
      random.fill(k[part]);
      random.fill(v[part]);
    }
    // The second interval is read from row 1 on.
    const int32_t first[2] = {0, 1}, visible[2] = {kRows[0], kRows[1]};
    std::vector<float> o(kD), later(kD);
    float m = 0, d = 0;
    const auto poolOf = [&](int part) {
      return storedPool(KvType::kF32, kD, kRows[part], k[part], v[part], blockNumbers(kRows[part]));
    };
    const auto loss = [&] {
      float m2, d2;
      const float* query = q.data();
      Buffer scores(kPieceRows * 4);
      for (int part = 0; part < 2; ++part) {
        const Pool pool = poolOf(part);
        kScalarOps.attend({&query, 1, kD, kScale, pool.kv, pool.memory.data(),
                           pool.memory.data() + pool.vOffset, pool.blockStride, pool.blocks.data(),
                           &visible[part], part ? later.data() : o.data(), part ? &m2 : &m,
                           part ? &d2 : &d, scores.as<float>(), &first[part]});
      }
      kScalarOps.merge({o.data(), &m, &d, later.data(), m2, d2, kD});
      for (float& value : o) value /= d;
      return dot(o.data(), dout.data(), kD);
    };
    const auto delta = static_cast<float>(loss());
    const float lse = m + std::log(d);
    Result sums[2];
    for (int part = 0; part < 2; ++part) {
      const Problem p{poolOf(part), q, dout, {lse}, {delta}, {first[part]}, {visible[part]}, true};
      sums[part] = run(*ops, p, {0}, {}, 0);
    }
    std::vector<float> dq = sums[0].dq;
    for (size_t t = 0; t < dq.size(); ++t) dq[t] += sums[1].dq[t];
    const std::string what = isaName(ops->isa);
    checkGradient(what + " dq", q, dq.data(), loss);
    for (int part = 0; part < 2; ++part) {
      const Result& sum = sums[part];
      const std::string where = what + " interval " + std::to_string(part);
      checkGradient(where + " dk", k[part], withoutGaps(sum.dk, kRows[part], kD, sum.ldk).data(),
                    loss);
      checkGradient(where + " dv", v[part], withoutGaps(sum.dv, kRows[part], kD, sum.ldk).data(),
                    loss);
    }
  }
}
