// SPDX-License-Identifier: Apache-2.0
// Every backward op of every table that this machine runs against PyTorch's autograd
// (test/fixtures/python/backward_ops.py): rows of the fixture in, gradients within 2e-6 of the
// largest of a tensor.
#include "base/buffer.h"
#include "fixture.h"
#include "kv_pool.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr float kNorm = 1e-5f, kScale = 0.25f;  // as the script has them

const FixtureFile& fixture() {
  static const FixtureFile file("backward-ops");
  return file;
}

void compare(const Ops& ops, const std::string& name, const float* got) {
  const Rows<float> want = fixture().floats(name);
  double largest = 0;
  for (const float value : want.data) largest = std::max<double>(largest, std::fabs(value));
  const std::vector<double> expected(want.data.begin(), want.data.end());
  const std::vector<double> bound(expected.size(), 2e-6 * largest);
  CHECK(largest > 0);
  checkWithin(std::string(isaName(ops.isa)) + " " + name, got, expected.data(), bound.data(),
              expected.size());
}

}  // namespace

TEST("backward: rmsnorm, gated units and rope agree with PyTorch's autograd") {
  const FixtureFile& file = fixture();
  for (const Ops* ops : availableOps()) {
    {
      const auto x = file.floats("rmsnorm.x"), weight = file.floats("rmsnorm.weight");
      const auto dy = file.floats("rmsnorm.dout");
      std::vector<float> dx(x.data.size());
      ops->dRmsnorm({x.data.data(), weight.data.data(), dy.data.data(), dx.data(),
                     static_cast<int>(x.columns), kNorm},
                    0, static_cast<int>(x.rows));
      compare(*ops, "rmsnorm.dx", dx.data());
    }
    for (const bool gelu : {false, true}) {
      const std::string name = gelu ? "geglu" : "swiglu";
      const auto gate = file.floats(name + ".gate"), up = file.floats(name + ".up");
      const auto dout = file.floats(name + ".dout");
      std::vector<float> dgate(gate.data.size()), dup(dgate);
      (gelu ? ops->dGeglu : ops->dSwiglu)(
          {gate.data.data(), up.data.data(), dout.data.data(), dgate.data(), dup.data(),
           static_cast<int>(gate.columns)},
          0, static_cast<int>(gate.rows));
      compare(*ops, name + ".dgate", dgate.data());
      compare(*ops, name + ".dup", dup.data());
    }
    {
      const auto dy = file.floats("rope.dout"), cosines = file.floats("rope.cos");
      const auto sines = file.floats("rope.sin");
      std::vector<int32_t> back = file.ints("rope.positions").data;
      for (int32_t& position : back) position = -position;
      const int D = static_cast<int>(dy.columns);
      std::vector<float> dx(dy.data.size());
      ops->rope({dy.data.data(), D, dx.data(), D, 1, D, cosines.data.data(), sines.data.data(),
                 back.data(), RopePairing::kHalves},
                0, static_cast<int>(dy.rows));
      compare(*ops, "rope.dx", dx.data());
    }
  }
}

TEST("backward: linear and cross-entropy agree with PyTorch's autograd") {
  const FixtureFile& file = fixture();
  for (const Ops* ops : availableOps()) {
    {
      const auto weight = file.floats("linear.weight"), dy = file.floats("linear.dout");
      const int K = static_cast<int>(weight.columns), N = static_cast<int>(weight.rows);
      std::vector<float> dx(dy.rows * weight.columns);
      Buffer scratch(dLinearScratchBytes());
      ops->dLinear({weight.data.data(), DType::kF32, N, K, dy.data.data(), N, dx.data(), K,
                    static_cast<int>(dy.rows), false},
                   0, K, scratch.data());
      compare(*ops, "linear.dx", dx.data());
    }
    {
      auto logits = file.floats("entropy.logits");
      const auto labels = file.ints("entropy.labels");
      const auto scale = file.floats("entropy.scale");
      std::vector<float> loss(logits.rows);
      ops->crossEntropy({logits.data.data(), labels.data.data(), scale.data.data(), loss.data(),
                         static_cast<int>(logits.columns)},
                        0, static_cast<int>(logits.rows));
      compare(*ops, "entropy.loss", loss.data());
      compare(*ops, "entropy.dlogits", logits.data.data());
    }
  }
}

namespace {

// One interval of the fixture, with its queries.
struct Interval {
  std::string name;  // "0" or "1"
  Rows<float> q;
  Pool pool;
  std::vector<int32_t> first, visible;
};

std::vector<const float*> pointersTo(const Rows<float>& rows) {
  std::vector<const float*> out;
  for (size_t i = 0; i < rows.rows; ++i) out.push_back(rows.row(i));
  return out;
}

Interval intervalOf(size_t part) {
  const FixtureFile& file = fixture();
  const std::string name = std::to_string(part);
  const auto k = file.floats("attention.k" + name), v = file.floats("attention.v" + name);
  const auto first = file.ints("attention.first"), visible = file.ints("attention.visible");
  const int rows = static_cast<int>(k.rows);
  const auto row = [&](const Rows<int32_t>& of) {
    return std::vector<int32_t>(of.row(part), of.row(part) + of.columns);
  };
  return {name, file.floats("attention.q" + name),
          storedPool(KvType::kF32, static_cast<int>(k.columns), rows, k.data, v.data,
                     blockNumbers(rows)),
          row(first), row(visible)};
}

// Attention over both intervals: out [Q, D] and lse [Q].
struct Forward {
  std::vector<float> out, lse;
};

Forward forward(const Ops& ops, const std::vector<Interval>& intervals) {
  const size_t Q = intervals[0].q.rows, D = intervals[0].q.columns;
  Forward result{std::vector<float>(Q * D), std::vector<float>(Q)};
  std::vector<float> m(Q, -kInfinity), d(Q), o(Q * D), m2(Q), d2(Q);
  Buffer scores(Q * kPieceRows * sizeof(float));
  for (const Interval& one : intervals) {
    const std::vector<const float*> queries = pointersTo(one.q);
    ops.attend({queries.data(), static_cast<int>(Q), static_cast<int>(D), kScale, KvType::kF32,
                one.pool.memory.data(), one.pool.memory.data() + one.pool.vOffset,
                one.pool.blockStride, one.pool.blocks.data(), one.visible.data(), o.data(),
                m2.data(), d2.data(), scores.as<float>(), one.first.data()});
    for (size_t i = 0; i < Q; ++i) {
      ops.merge({&result.out[i * D], &m[i], &d[i], &o[i * D], m2[i], d2[i], static_cast<int>(D)});
    }
  }
  for (size_t i = 0; i < Q * D; ++i) result.out[i] /= d[i / D];
  for (size_t i = 0; i < Q; ++i) result.lse[i] = m[i] + std::log(d[i]);
  return result;
}

}  // namespace

TEST("backward: softmax attention over two intervals agrees with PyTorch's autograd") {
  const auto dout = fixture().floats("attention.dout");
  const size_t Q = dout.rows, D = dout.columns;
  for (const Ops* ops : availableOps()) {
    const std::vector<Interval> intervals{intervalOf(0), intervalOf(1)};
    const Forward seen = forward(*ops, intervals);
    compare(*ops, "attention.out", seen.out.data());
    compare(*ops, "attention.lse", seen.lse.data());
    std::vector<float> delta(Q);
    const std::vector<const float*> gradients = pointersTo(dout);
    for (size_t i = 0; i < Q; ++i) {
      double sum = 0;
      for (size_t t = 0; t < D; ++t)
        sum += static_cast<double>(dout.row(i)[t]) * seen.out[i * D + t];
      delta[i] = static_cast<float>(sum);
    }
    Buffer scratch(dAttendScratchFloats(static_cast<int>(D)) * sizeof(float));
    for (const Interval& one : intervals) {
      const size_t rows = static_cast<size_t>(one.pool.rows);
      std::vector<float> dq(Q * D), dk(rows * D), dv(rows * D);
      std::vector<float*> results;
      for (size_t i = 0; i < Q; ++i) results.push_back(&dq[i * D]);
      const std::vector<const float*> queries = pointersTo(one.q);
      const DAttendArgs args{.q = queries.data(),
                             .dout = gradients.data(),
                             .lse = seen.lse.data(),
                             .delta = delta.data(),
                             .Q = static_cast<int>(Q),
                             .D = static_cast<int>(D),
                             .scale = kScale,
                             .kv = KvType::kF32,
                             .k = one.pool.memory.data(),
                             .v = one.pool.memory.data() + one.pool.vOffset,
                             .blockStride = one.pool.blockStride,
                             .blocks = one.pool.blocks.data(),
                             .visible = one.visible.data(),
                             .first = one.first.data(),
                             .scratch = scratch.as<float>(),
                             .dq = results.data(),
                             .dk = dk.data(),
                             .dv = dv.data(),
                             .ldk = static_cast<int>(D)};
      ops->dAttendQuery(args);
      ops->dAttendKey(args);
      compare(*ops, "attention.dq" + one.name, dq.data());
      compare(*ops, "attention.dk" + one.name, dk.data());
      compare(*ops, "attention.dv" + one.name, dv.data());
    }
  }
}
