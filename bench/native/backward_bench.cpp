// SPDX-License-Identifier: Apache-2.0
// The kernels of a backward.
#include <numeric>

#include "support.h"

namespace baton::bench {
namespace {

void dLinears(Suite& suite, const std::vector<Matrix>& weights, const char* op, int R) {
  const std::string type = weights[0].type->name;
  if (!suite.wants(op, type, R)) return;
  int widest = 0, deepest = 0;
  for (const Matrix& w : weights) {
    widest = std::max(widest, w.N);
    deepest = std::max(deepest, w.K);
  }
  const std::vector<float> dy = randomFloats(static_cast<size_t>(R) * static_cast<size_t>(widest));
  std::vector<float> dx(static_cast<size_t>(R) * static_cast<size_t>(deepest));
  const auto argsOf = [&](const Matrix& w) {
    return DLinearArgs{w.bytes.data(), w.type->dtype, w.N, w.K, dy.data(), w.N,
                       dx.data(),      w.K,           R,   false};
  };
  Cost cost;
  for (const Matrix& w : weights) cost += dLinearCost(argsOf(w));
  suite.measure(op, type, R, std::to_string(weights.size()) + (weights.size() == 1 ? " weight" : " weights"), cost, [&] {
    for (const Matrix& w : weights) {
      const DLinearArgs args = argsOf(w);
      const int panels = (w.K + kDLinearColumns - 1) / kDLinearColumns;
      suite.pool().forEach(panels, 1, [&](int begin, int end, int worker) {
        suite.ops().dLinear(args, begin * kDLinearColumns, std::min(end * kDLinearColumns, w.K),
                            suite.scratch(worker));
      });
    }
  });
}

struct Gradients {
  std::vector<float> q, dout, lse, delta;
  std::vector<int32_t> visible;

  explicit Gradients(int queries)
      : q(randomFloats(static_cast<size_t>(queries) * kD)),
        dout(q),
        lse(static_cast<size_t>(queries), 8.0f),
        delta(lse.size(), 0.1f),
        visible(lse.size(), kPieceRows) {}
};

// Bytes of a layer besides K and V: queries, their outputs' gradients and dq, or dk and dv.
double dAttendMoved(int rows, int context, bool keys) {
  const double queries = floatBytes(rows, kH * kD);
  return keys ? 2 * queries + 4 * floatBytes(context, kG * kD) : 3 * queries;
}

// `rows` rows that read `context` cached rows each, in every kv head of some layers.
struct Readers {
  Readers(int rows, int contextRows, int layers)
      : context(contextRows),
        queries(rows * kH / kG),
        heads(kG * layers),
        half(kvHeadBytes(KvType::kF16, kD)),
        stride(2 * half * static_cast<size_t>(context / kBlockRows)),
        kv(randomKv(KvType::kF16, stride * static_cast<size_t>(heads))),
        given(queries),
        blocks(static_cast<size_t>(context / kBlockRows)),
        outFloats(static_cast<size_t>(queries + 2 * context) * kD) {
    std::iota(blocks.begin(), blocks.end(), 0);
  }

  // Queries from `first` on with the piece of `head` that begins at `row`; `out`: dq, dk, dv.
  void piece(DAttendFn kernel, int head, int row, int first, float* out, float* scratch) const {
    const float *q[kMaxQueries], *dout[kMaxQueries];
    float* dq[kMaxQueries];
    const int count = std::min(kMaxQueries, queries - first);
    for (int j = 0; j < count; ++j) {
      q[j] = given.q.data() + (first + j) * kD;
      dout[j] = given.dout.data() + (first + j) * kD;
      dq[j] = out + (first + j) * kD;
    }
    const std::byte* base = kv.data() + static_cast<size_t>(head) * stride;
    float* const dk = out + queries * kD;
    kernel({.q = q,
            .dout = dout,
            .lse = given.lse.data(),
            .delta = given.delta.data(),
            .Q = count,
            .D = kD,
            .scale = 0.125f,
            .kv = KvType::kF16,
            .k = base,
            .v = base + half,
            .blockStride = 2 * half,
            .blocks = blocks.data() + row / kBlockRows,
            .visible = given.visible.data(),
            .first = nullptr,
            .scratch = scratch,
            .dq = dq,
            .dk = dk + row * kD,
            .dv = dk + (context + row) * kD,
            .ldk = kD});
  }

  int context, queries, heads;
  size_t half, stride;
  std::vector<std::byte> kv;
  Gradients given;
  std::vector<int32_t> blocks;
  size_t outFloats;
};

// With `keys` the rows that are read need gradients, without those that read.
void dAttends(Suite& suite, int rows, int context, bool keys) {
  const double perPair = keys ? dAttendKeyFlops(kD) : dAttendQueryFlops(kD);
  const double flops = perPair * rows * kH * context;
  const Readers readers(rows, context, suite.layersFor(flops));
  std::vector<float> out(readers.outFloats * static_cast<size_t>(suite.pool().workers()));
  const double layers = double(readers.heads) / kG;
  const Cost cost{rows, double(readers.kv.size()) + layers * dAttendMoved(rows, context, keys),
                  flops * layers, 0};
  const DAttendFn kernel = keys ? suite.ops().dAttendKey : suite.ops().dAttendQuery;
  suite.measure(keys ? "dAttendKey" : "dAttendQuery", "f16", rows,
                "context " + std::to_string(context), cost, [&] {
                  suite.pool().forEach(readers.heads, 1, [&](int begin, int end, int worker) {
                    float* to = out.data() + static_cast<size_t>(worker) * readers.outFloats;
                    for (int head = begin; head < end; ++head) {
                      for (int row = 0; row < context; row += kPieceRows) {
                        for (int first = 0; first < readers.queries; first += kMaxQueries)
                          readers.piece(kernel, head, row, first, to, suite.scratch(worker));
                      }
                    }
                  });
                });
}

}  // namespace

void benchDLinear(Suite& suite, const QuantType* type) {
  for (const int R : kRowCounts) {
    const double perLayer = 2.0 * R * (4.0 * kM * kM + 3.0 * kM * kF);
    dLinears(suite, randomLayers(*type, suite.layersFor(perLayer)), "dLinear", R);
  }
}

void benchDLogits(Suite& suite, const QuantType*) {
  std::vector<Matrix> head;
  head.push_back(randomMatrix(quantType(DType::kQ8_0), kV, kM));
  for (const int R : {8, 64}) dLinears(suite, head, "dLinear logits", R);
}

void benchDAttend(Suite& suite, const QuantType*) {
  for (const bool keys : {false, true}) {
    for (const int rows : kRowCounts) dAttends(suite, rows, 1024, keys);
  }
}

void benchDRows(Suite& suite, const QuantType*) {
  const Ops& ops = suite.ops();
  for (const int R : kRowCounts) {
    const std::vector<float> x = randomFloats(static_cast<size_t>(R) * kF), weight(kM, 1.0f);
    std::vector<float> dgate(x.size()), dup(x.size());
    const auto overRows = [&](const auto& fn) {
      suite.pool().forEach(R, 16, [&](int begin, int end, int) { fn(begin, end); });
    };
    const DRmsNormArgs norm{x.data(), weight.data(), x.data(), dgate.data(), kM, 1e-5f};
    suite.measure("dRmsnorm", "", R, "", dRmsnormCost(norm, R),
                  [&] { overRows([&](int a, int b) { ops.dRmsnorm(norm, a, b); }); });
    const DGluArgs glu{x.data(), x.data(), x.data(), dgate.data(), dup.data(), kF};
    suite.measure("dSwiglu", "", R, "", dGluCost(glu, R, false),
                  [&] { overRows([&](int a, int b) { ops.dSwiglu(glu, a, b); }); });
    suite.measure("dGeglu", "", R, "", dGluCost(glu, R, true),
                  [&] { overRows([&](int a, int b) { ops.dGeglu(glu, a, b); }); });
  }
  for (const int R : {1, 8, 64}) {
    std::vector<float> logits = randomFloats(static_cast<size_t>(R) * kV);
    std::vector<float> loss(static_cast<size_t>(R));
    const std::vector<int32_t> labels(loss.size(), 7);
    const std::vector<float> scale(loss.size(), 1.0f);
    const CrossEntropyArgs args{logits.data(), labels.data(), scale.data(), loss.data(), kV};
    suite.measure("crossEntropy", "", R, "in place", crossEntropyCost(args, R), [&] {
      suite.pool().forEach(R, 1, [&](int a, int b, int) { ops.crossEntropy(args, a, b); });
    });
  }
}

}  // namespace baton::bench
