// SPDX-License-Identifier: Apache-2.0
// The kernels of a forward.
#include "support.h"

namespace baton::bench {
namespace {

// R rows of activations in all forms.
struct Activations {
  Activations(int R, int K)
      : x(randomFloats(static_cast<size_t>(R) * static_cast<size_t>(K))),
        q(x.size()),
        d(x.size() / kGroup),
        s(d.size()),
        bf16(x.size()) {
    kScalarOps.quantize({x.data(), q.data(), d.data(), s.data(), K}, 0, R);
    kScalarOps.toBf16({x.data(), bf16.data(), K}, 0, R);
  }

  std::vector<float> x;
  std::vector<int8_t> q;
  std::vector<float> d, s;
  std::vector<uint16_t> bf16;
};

LinearArgs argsOf(const Matrix& w, const Activations& a, float* y, int R, ActivationForm form,
                  bool invariant) {
  return {w.bytes.data(),
          w.panels.data(),
          w.type->dtype,
          w.N,
          w.K,
          form == ActivationForm::kFloat32 ? a.x.data() : nullptr,
          form == ActivationForm::kInt8 ? a.q.data() : nullptr,
          a.d.data(),
          a.s.data(),
          y,
          w.N,
          R,
          false,
          invariant,
          form == ActivationForm::kBf16 ? a.bf16.data() : nullptr};
}

void multiply(Suite& suite, const LinearArgs& args) {
  const int panels = (args.N + 31) / 32;
  const int grain = std::max(1, panels / (4 * suite.pool().workers()));
  const LinearFn linear = args.xb != nullptr ? suite.ops().linearBf16 : suite.ops().linear;
  suite.pool().forEach(panels, grain, [&](int begin, int end, int worker) {
    linear(args, begin * 32, std::min(end * 32, args.N), suite.scratch(worker));
  });
}

void linears(Suite& suite, const std::vector<Matrix>& weights, const char* op, int R,
             ActivationForm form, bool invariant) {
  const std::string type = weights[0].type->name;
  if (!suite.wants(op, type, R)) return;
  int widest = 0, deepest = 0;
  for (const Matrix& w : weights) {
    widest = std::max(widest, w.N);
    deepest = std::max(deepest, w.K);
  }
  const Activations a(R, deepest);
  std::vector<float> y(static_cast<size_t>(R) * static_cast<size_t>(widest));
  Cost cost;
  for (const Matrix& w : weights) {
    cost += linearCost(argsOf(w, a, y.data(), R, form, invariant));
    cost += activationCost(R, w.K, form);
  }
  const std::string detail = std::to_string(weights.size()) + (weights.size() == 1 ? " weight" : " weights");
  suite.measure(op, type, R, invariant ? detail + ", invariant" : detail, cost, [&] {
    for (const Matrix& w : weights) multiply(suite, argsOf(w, a, y.data(), R, form, invariant));
  });
}

}  // namespace

void benchLinear(Suite& suite, const QuantType* type) {
  for (const int R : kRowCounts) {
    const double perLayer = 2.0 * R * (4.0 * kM * kM + 3.0 * kM * kF);
    const std::vector<Matrix> weights = randomLayers(*type, suite.layersFor(perLayer));
    const auto each = [&](const char* op, ActivationForm form) {
      linears(suite, weights, op, R, form, false);
      if (R == 1) linears(suite, weights, op, R, form, true);
    };
    if (type->unpack != nullptr) each("linear int8", ActivationForm::kInt8);
    if (type->dtype == DType::kBF16 && suite.ops().linearBf16 != nullptr) {
      each("linear bf16", ActivationForm::kBf16);
    }
    each("linear float32", ActivationForm::kFloat32);
  }
}

// The engine reads heads with float32 activations.
void benchLogits(Suite& suite, const QuantType*) {
  for (const DType type : {DType::kQ8_0, DType::kF16}) {
    std::vector<Matrix> head;
    head.push_back(randomMatrix(quantType(type), kV, kM));
    for (const int R : {1, 8}) linears(suite, head, "linear logits", R, ActivationForm::kFloat32, false);
  }
}

// ---- attention
// -------------------------------------------------------------------------------------------------

namespace {

// Every kv head of some layers, each with `context` rows of K and V.
struct Contexts {
  Contexts(KvType kv, int context, int layers)
      : type(kv),
        rows(context),
        heads(kG * layers),
        half(kvHeadBytes(kv, kD)),
        stride(2 * half * static_cast<size_t>(context / kBlockRows)),
        bytes(randomKv(kv, stride * static_cast<size_t>(heads))) {
    for (int b = 0; b < kPieceRows / kBlockRows; ++b) blocks.push_back(b);
  }

  KvType type;
  int rows, heads;
  size_t half, stride;
  std::vector<std::byte> bytes;
  std::vector<int32_t> blocks;  // of a piece
};

void attends(Suite& suite, const char* op, AttendFn attend, KvType kv, int rows, int context) {
  const double flops = attendFlops(double(rows) * context * kH, kD);
  const Contexts all(kv, context, suite.layersFor(flops));
  const int group = kH / kG;
  const std::vector<float> q = randomFloats(size_t{kTileRows} * kH / kG * kD);
  const std::vector<int32_t> visible(static_cast<size_t>(kTileRows * group), kPieceRows);
  std::vector<const float*> queries;
  for (size_t i = 0; i < visible.size(); ++i) queries.push_back(q.data() + i * kD);
  const size_t floats = visible.size() * (kD + 2 + kPieceRows);
  const size_t state = floats + attendPairsBytes(kD) / sizeof(float);
  Buffer memory(state * sizeof(float) * static_cast<size_t>(suite.pool().workers()));
  const double layers = double(all.heads) / kG;
  const Cost cost{rows, double(all.bytes.size()) + 2 * layers * floatBytes(rows, kH * kD),
                  flops * layers, 0, attend == suite.ops().attend ? 0 : flops * layers};
  suite.measure(op, kvTypeName(kv), rows, "context " + std::to_string(context), cost, [&] {
    suite.pool().forEach(all.heads, 1, [&](int begin, int end, int worker) {
      float* o = memory.as<float>() + static_cast<size_t>(worker) * state;
      float* m = o + visible.size() * kD;
      float* scores = m + 2 * visible.size();
      for (int head = begin; head < end; ++head) {
        const std::byte* base = all.bytes.data() + static_cast<size_t>(head) * all.stride;
        for (int row = 0; row < rows; row += kTileRows) {
          const int Q = std::min(kTileRows, rows - row) * group;
          for (int piece = 0; piece < context; piece += kPieceRows) {
            const std::byte* k = base + static_cast<size_t>(piece / kBlockRows) * 2 * all.half;
            attend({queries.data(), Q, kD, 0.125f, kv, k, k + all.half, 2 * all.half,
                                all.blocks.data(), visible.data(), o, m, m + visible.size(),
                                scores, nullptr, o + floats});
          }
        }
      }
    });
  });
}

}  // namespace

void benchAttend(Suite& suite, const QuantType*) {
  for (const int rows : kRowCounts) {
    for (const int context : {256, 2048}) {
      for (const KvType kv : kKvTypes) {
        attends(suite, "attend", suite.ops().attend, kv, rows, context);
        if (suite.ops().attendBf16 != nullptr)
          attends(suite, "attendBf16", suite.ops().attendBf16, kv, rows, context);
      }
    }
  }
}

// ---- rows
// ------------------------------------------------------------------------------------------------------

namespace {

// `fn(begin, end)` over R rows on all threads, as the engine deals them out.
template <class Fn>
void overRows(Suite& suite, int R, const Fn& fn) {
  suite.pool().forEach(R, 16, [&](int begin, int end, int) { fn(begin, end); });
}

void positioned(Suite& suite, int R) {
  const Ops& ops = suite.ops();
  const auto rows = static_cast<size_t>(R);
  std::vector<float> x = randomFloats(rows * kH * kD), out(x.size());
  const std::vector<float> table = randomFloats(rows * kD);
  std::vector<int32_t> positions(rows), blocks(rows), slots(rows), tokens(rows);
  for (size_t r = 0; r < rows; ++r) {
    positions[r] = static_cast<int32_t>(r);
    blocks[r] = static_cast<int32_t>(r / kBlockRows);
    slots[r] = static_cast<int32_t>(r % kBlockRows);
    tokens[r] = static_cast<int32_t>(r * 7919 % kV);
  }
  const RopeArgs rope{x.data(),     kH * kD, out.data(), kH * kD, kH, kD, table.data(),
                      table.data() + rows * kD / 2, positions.data(), RopePairing::kAdjacent};
  suite.measure("rope", "", R, "", ropeCost(rope, R),
                [&] { overRows(suite, R, [&](int a, int b) { ops.rope(rope, a, b); }); });
  for (const KvType kv : kKvTypes) {
    const size_t head = kvHeadBytes(kv, kD);
    const size_t block = 2 * kG * head;
    std::vector<std::byte> pool(block * (rows / kBlockRows + 1));
    const KvStoreArgs store{x.data(), kG * kD, out.data(), kG * kD, kG, kD, kv, pool.data(),
                            pool.data() + kG * head, head, block, blocks.data(), slots.data()};
    suite.measure("kvStore", kvTypeName(kv), R, "", kvStoreCost(store, R),
                  [&] { overRows(suite, R, [&](int a, int b) { ops.kvStore(store, a, b); }); });
  }
  const Matrix table8 = randomMatrix(quantType(DType::kQ8_0), kV, kM);
  const EmbedArgs embed{table8.bytes.data(), DType::kQ8_0, kM, tokens.data(), out.data()};
  suite.measure("embed", "Q8_0", R, "", embedCost(embed, R),
                [&] { overRows(suite, R, [&](int a, int b) { ops.embed(embed, a, b); }); });
}

void elementwise(Suite& suite, int R) {
  const Ops& ops = suite.ops();
  const Activations a(R, kF);
  std::vector<float> out(a.x.size());
  std::vector<int8_t> q(out.size());
  std::vector<float> d(a.d.size()), s(d.size());
  const std::vector<float> weight = randomFloats(kF);
  const RmsNormArgs norm{a.x.data(), weight.data(), out.data(), kM, 1e-5f};
  suite.measure("rmsnorm", "", R, "", rmsnormCost(norm, R),
                [&] { overRows(suite, R, [&](int b, int e) { ops.rmsnorm(norm, b, e); }); });
  for (float* rows : {static_cast<float*>(nullptr), out.data()}) {
    const RmsNormQuantizeArgs both{norm.x, norm.weight, rows, q.data(), d.data(), s.data(), kM,
                                   norm.epsilon};
    suite.measure("rmsnormQuantize", "", R, rows == nullptr ? "" : "and the rows",
                  rmsnormQuantizeCost(both, R), [&] {
                    overRows(suite, R, [&](int b, int e) { ops.rmsnormQuantize(both, b, e); });
                  });
  }
  const AddBiasArgs bias{weight.data(), out.data(), kM};
  suite.measure("addBias", "", R, "", addBiasCost(bias, R),
                [&] { overRows(suite, R, [&](int b, int e) { ops.addBias(bias, b, e); }); });
  for (const int K : {kM, kF}) {
    const QuantizeArgs quantize{a.x.data(), q.data(), d.data(), s.data(), K};
    suite.measure("quantize", "", R, "K " + std::to_string(K), quantizeCost(quantize, R),
                  [&] { overRows(suite, R, [&](int b, int e) { ops.quantize(quantize, b, e); }); });
  }
  const GluArgs glu{a.x.data(), a.x.data(), out.data(), kF};
  suite.measure("swiglu", "", R, "", gluCost(glu, R, false),
                [&] { overRows(suite, R, [&](int b, int e) { ops.swiglu(glu, b, e); }); });
  suite.measure("geglu", "", R, "", gluCost(glu, R, true),
                [&] { overRows(suite, R, [&](int b, int e) { ops.geglu(glu, b, e); }); });
}

// States of all heads of R rows, each with another one. On one thread, as after a split decode.
void merges(Suite& suite, int R) {
  const auto states = static_cast<size_t>(R * kH);
  std::vector<float> o = randomFloats(states * kD), m(states, 0), d(states, 1);
  const std::vector<float> later = randomFloats(o.size());
  const double count = static_cast<double>(states) * kD;
  suite.measure("merge", "", R, "one thread", {R, 12 * count, 3 * count, 0}, [&] {
    for (size_t i = 0; i < states; ++i) {
      d[i] = 1;
      suite.ops().merge({o.data() + i * kD, m.data() + i, d.data() + i, later.data() + i * kD, -1,
                         0.5f, kD});
    }
  });
}

}  // namespace

void benchRows(Suite& suite, const QuantType*) {
  for (const int R : kRowCounts) {
    elementwise(suite, R);
    positioned(suite, R);
    merges(suite, R);
  }
}

}  // namespace baton::bench
