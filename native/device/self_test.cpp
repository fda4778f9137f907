// SPDX-License-Identifier: Apache-2.0
// Each kernel of a table against its scalar reference, on data that is the same everywhere. Small
// on purpose: `doctor` and start-up run it. The sweep over sizes and alignments is
// test/native/kernels.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/buffer.h"
#include "device/device.h"
#include "quant/types.h"

namespace baton {
namespace {

constexpr int kRows = 5, kCols = 40, kDepth = 96, kHeadDim = 32;

// kDepth, or the next larger one that is whole blocks of the type.
int depthFor(DType type) {
  const int block = quantType(type).blockElements;
  return (kDepth + block - 1) / block * block;
}

// Numbers in [-1, 1) that do not depend on the library (Knuth's MMIX generator).
std::vector<float> numbers(size_t n, uint64_t seed) {
  std::vector<float> out(n);
  uint64_t state = seed;
  for (float& value : out) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = static_cast<float>(static_cast<int64_t>(state) >> 40) * 0x1p-23f;
  }
  return out;
}

// Largest difference, relative to the largest magnitude of the reference. NaN counts as infinite.
double relativeError(const std::vector<float>& got, const std::vector<float>& reference) {
  double largest = 1e-30, difference = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double delta = std::fabs(static_cast<double>(got[i]) - reference[i]);
    difference = delta >= 0 ? std::max(difference, delta) : std::numeric_limits<double>::infinity();
    largest = std::max<double>(largest, std::fabs(reference[i]));
  }
  return difference / largest;
}

struct Quantised {
  std::vector<int8_t> q;
  std::vector<float> d, s;
};

Quantised quantised(const Ops& ops, const std::vector<float>& x, int rows) {
  Quantised out{std::vector<int8_t>(x.size()), std::vector<float>(x.size() / kGroup),
                std::vector<float>(x.size() / kGroup)};
  ops.quantize(
      {x.data(), out.q.data(), out.d.data(), out.s.data(), static_cast<int>(x.size()) / rows}, 0,
      rows);
  return out;
}

std::vector<float> linear(const Ops& ops, DType type, bool int8, bool invariant) {
  const int depth = depthFor(type);
  const std::vector<float> w = numbers(static_cast<size_t>(kCols * depth), 1);
  const std::vector<float> x = numbers(static_cast<size_t>(kRows * depth), 2);
  const Quantised xq = quantised(kScalarOps, x, kRows);
  std::vector<std::byte> packed(quantRowBytes(quantType(type), kCols * depth));
  quantType(type).quantize(w.data(), packed.data(), w.size());
  std::vector<float> y(size_t{kRows} * kCols);
  Buffer scratch(linearScratchBytes(depth));
  const LinearArgs args{packed.data(),
                        type,
                        kCols,
                        depth,
                        int8 ? nullptr : x.data(),
                        int8 ? xq.q.data() : nullptr,
                        xq.d.data(),
                        xq.s.data(),
                        y.data(),
                        kCols,
                        invariant ? kRows : 1,
                        false,
                        invariant};
  ops.linear(args, 0, kCols, scratch.data());
  return y;
}

struct Pool {
  std::vector<std::byte> bytes;
  size_t half;
};

// K and V of three blocks, written by the kernel under test.
Pool stored(const Ops& ops, KvType kv) {
  constexpr int kPoolRows = 3 * kBlockRows;
  const std::vector<float> k = numbers(size_t{kPoolRows} * kHeadDim, 3);
  const std::vector<float> v = numbers(size_t{kPoolRows} * kHeadDim, 4);
  const size_t block = size_t{kBlockRows} * kHeadDim * static_cast<size_t>(kvTypeBytes(kv));
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

std::vector<float> attend(const Ops& ops, KvType kv, bool windowed) {
  const Pool pool = stored(kScalarOps, kv);
  const std::vector<float> q = numbers(size_t{kRows} * kHeadDim, 5);
  const int32_t blocks[] = {2, 1, 0}, visible[] = {1, 16, 31, 40, 48}, first[] = {0, 3, 17, 17, 33};
  const float* queries[kRows];
  for (int i = 0; i < kRows; ++i) queries[i] = q.data() + i * kHeadDim;
  std::vector<float> out(kRows * (kHeadDim + 2));
  float* const m = out.data() + kRows * kHeadDim;
  Buffer scores(size_t{kRows} * kPieceRows * 4);
  ops.attend({queries, kRows, kHeadDim, 0.5f, kv, pool.bytes.data(), pool.bytes.data() + pool.half,
              2 * pool.half, blocks, visible, out.data(), m, m + kRows, scores.as<float>(),
              windowed ? first : nullptr});
  return out;
}

std::vector<float> merge(const Ops& ops) {
  std::vector<float> o = numbers(kHeadDim + 2, 6);
  const std::vector<float> later = numbers(kHeadDim, 7);
  ops.merge({o.data(), o.data() + kHeadDim, o.data() + kHeadDim + 1, later.data(), 0.75f, 2.5f,
             kHeadDim});
  return o;
}

std::vector<float> rope(const Ops& ops, RopePairing pairing) {
  const std::vector<float> x = numbers(size_t{kRows} * 2 * kHeadDim, 8);
  const std::vector<float> table = numbers(size_t{kRows} * kHeadDim, 9);
  const int32_t positions[] = {0, 3, -2, 4, -4};
  std::vector<float> out(x.size());
  ops.rope({x.data(), 2 * kHeadDim, out.data(), 2 * kHeadDim, 2, kHeadDim, table.data(),
            table.data() + kRows * kHeadDim / 2, positions, pairing},
           0, kRows);
  return out;
}

std::vector<float> rmsnorm(const Ops& ops, bool accumulate) {
  const std::vector<float> x = numbers(size_t{kRows} * kDepth, 10), w = numbers(kDepth, 11);
  std::vector<float> y = numbers(x.size(), 18);
  ops.rmsnorm({x.data(), w.data(), y.data(), kDepth, 1e-5f, accumulate}, 0, kRows);
  return y;
}

std::vector<float> glu(GluFn op) {
  std::vector<float> gate = numbers(size_t{kRows} * kDepth, 12);
  for (float& value : gate) value *= 20;
  const std::vector<float> up = numbers(gate.size(), 13);
  std::vector<float> out(gate.size());
  op({gate.data(), up.data(), out.data(), kDepth}, 0, kRows);
  return out;
}

std::vector<float> addBias(const Ops& ops) {
  std::vector<float> y = numbers(size_t{kRows} * kDepth, 16);
  const std::vector<float> bias = numbers(kDepth, 17);
  ops.addBias({bias.data(), y.data(), kDepth}, 0, kRows);
  return y;
}

std::vector<float> embed(const Ops& ops, DType type) {
  const int depth = depthFor(type);
  const std::vector<float> w = numbers(static_cast<size_t>(kCols * depth), 14);
  std::vector<std::byte> table(quantRowBytes(quantType(type), kCols * depth));
  quantType(type).quantize(w.data(), table.data(), w.size());
  const int32_t tokens[] = {7, 0, -1, 39, 7};
  std::vector<float> out(static_cast<size_t>(kRows * depth), 0.5f);
  ops.embed({table.data(), type, depth, tokens, out.data(), 2.5f}, 0, kRows);
  return out;
}

std::vector<float> quantize(const Ops& ops) {
  const Quantised out = quantised(ops, numbers(size_t{kRows} * kDepth, 15), kRows);
  std::vector<float> all(out.q.begin(), out.q.end());
  all.insert(all.end(), out.d.begin(), out.d.end());
  all.insert(all.end(), out.s.begin(), out.s.end());
  return all;
}

std::vector<float> kvStore(const Ops& ops, KvType kv) {
  const Pool pool = stored(ops, kv);
  std::vector<float> out(pool.bytes.size());
  std::transform(pool.bytes.begin(), pool.bytes.end(), out.begin(),
                 [](std::byte b) { return static_cast<float>(b); });
  return out;
}

// ---- backward

std::vector<float> dLinear(const Ops& ops, DType type, bool accumulate) {
  const int depth = depthFor(type);
  const std::vector<float> w = numbers(static_cast<size_t>(kCols * depth), 1);
  const std::vector<float> dy = numbers(size_t{kRows} * kCols, 19);
  std::vector<std::byte> packed(quantRowBytes(quantType(type), kCols * depth));
  quantType(type).quantize(w.data(), packed.data(), w.size());
  std::vector<float> dx = numbers(static_cast<size_t>(kRows * depth), 20);
  Buffer scratch(dLinearScratchBytes());
  ops.dLinear(
      {packed.data(), type, kCols, depth, dy.data(), kCols, dx.data(), depth, kRows, accumulate}, 0,
      depth, scratch.data());
  return dx;
}

std::vector<float> dRmsnorm(const Ops& ops, bool accumulate) {
  const std::vector<float> x = numbers(size_t{kRows} * kDepth, 10), w = numbers(kDepth, 11);
  const std::vector<float> dy = numbers(x.size(), 21);
  std::vector<float> dx = numbers(x.size(), 18);
  ops.dRmsnorm({x.data(), w.data(), dy.data(), dx.data(), kDepth, 1e-5f, accumulate}, 0, kRows);
  return dx;
}

std::vector<float> dGlu(DGluFn op) {
  std::vector<float> gate = numbers(size_t{kRows} * kDepth, 12);
  for (float& value : gate) value *= 20;
  const std::vector<float> up = numbers(gate.size(), 13), dout = numbers(gate.size(), 22);
  std::vector<float> out(2 * gate.size());
  op({gate.data(), up.data(), dout.data(), out.data(), out.data() + gate.size(), kDepth}, 0, kRows);
  return out;
}

std::vector<float> crossEntropy(const Ops& ops) {
  std::vector<float> out = numbers(size_t{kRows} * (kDepth + 1), 23);  // logits, then losses
  for (float& value : out) value *= 20;
  const int32_t labels[] = {0, 95, 40, 7, 8};
  const float scale[] = {1, 0.5f, 2, 0.125f, 1};
  ops.crossEntropy({out.data(), labels, scale, out.data() + kRows * kDepth, kDepth}, 0, kRows);
  return out;
}

// dq of all queries, then dk and dv of all rows.
std::vector<float> dAttend(const Ops& ops, KvType kv, bool windowed) {
  const Pool pool = stored(kScalarOps, kv);
  const std::vector<float> q = numbers(size_t{kRows} * kHeadDim, 5);
  const std::vector<float> dout = numbers(q.size(), 24);
  const float lse[] = {1, 3, 3.5f, 4, 4}, delta[] = {0.5f, -1, 0, 2, 0.25f};
  const int32_t blocks[] = {2, 1, 0}, visible[] = {1, 16, 31, 40, 48}, first[] = {0, 3, 17, 17, 33};
  constexpr size_t kKeys = size_t{3} * kBlockRows * kHeadDim;
  std::vector<float> out(q.size() + 2 * kKeys);
  const float *queries[kRows], *gradients[kRows];
  float* dq[kRows];
  for (int i = 0; i < kRows; ++i) {
    queries[i] = q.data() + i * kHeadDim;
    gradients[i] = dout.data() + i * kHeadDim;
    dq[i] = out.data() + i * kHeadDim;
  }
  Buffer scratch(dAttendScratchFloats(kHeadDim) * sizeof(float));
  float* const dk = out.data() + q.size();
  const DAttendArgs args{queries,
                         gradients,
                         lse,
                         delta,
                         kRows,
                         kHeadDim,
                         0.5f,
                         kv,
                         pool.bytes.data(),
                         pool.bytes.data() + pool.half,
                         2 * pool.half,
                         blocks,
                         visible,
                         windowed ? first : nullptr,
                         scratch.as<float>(),
                         dq,
                         dk,
                         dk + kKeys,
                         kHeadDim};
  ops.dAttendQuery(args);
  ops.dAttendKey(args);
  return out;
}

constexpr std::pair<KvType, const char*> kKv[] = {
    {KvType::kF32, "f32"}, {KvType::kF16, "f16"}, {KvType::kBF16, "bf16"}};

void backwardChecks(const auto& check) {
  for (const QuantType& type : quantTypes()) {
    for (const bool accumulate : {false, true}) {
      check(std::string("dLinear ") + type.name + (accumulate ? " accumulate" : ""), 1e-5,
            [&](const Ops& o) { return dLinear(o, type.dtype, accumulate); });
    }
  }
  for (const auto& [type, name] : kKv) {
    const KvType kv = type;  // clang 14 captures no structured binding
    check(std::string("dAttend ") + name, 1e-5,
          [&](const Ops& o) { return dAttend(o, kv, false); });
    check(std::string("dAttend window ") + name, 1e-5,
          [&](const Ops& o) { return dAttend(o, kv, true); });
  }
  check("dRmsnorm", 1e-5, [](const Ops& o) { return dRmsnorm(o, false); });
  check("dRmsnorm accumulate", 1e-5, [](const Ops& o) { return dRmsnorm(o, true); });
  check("dSwiglu", 1e-5, [](const Ops& o) { return dGlu(o.dSwiglu); });
  check("dGeglu", 1e-5, [](const Ops& o) { return dGlu(o.dGeglu); });
  check("crossEntropy", 1e-5, crossEntropy);
}

}  // namespace

std::vector<KernelCheck> selfTest(const Ops& ops) {
  std::vector<KernelCheck> checks;
  const auto check = [&](std::string op, double bound, auto compute) {
    const double error = relativeError(compute(ops), compute(kScalarOps));
    checks.push_back({std::move(op), ops.isa, error, error <= bound});
  };
  for (const QuantType& type : quantTypes()) {
    const std::string name = type.name;
    for (const bool invariant : {true, false}) {
      const std::string form = invariant ? " tile" : " vector";
      check("linear float32 " + name + form, 1e-5,
            [&](const Ops& o) { return linear(o, type.dtype, false, invariant); });
      if (type.unpack == nullptr) continue;
      check("linear int8 " + name + form, 1e-5,
            [&](const Ops& o) { return linear(o, type.dtype, true, invariant); });
    }
    check("embed " + name, 1e-6, [&](const Ops& o) { return embed(o, type.dtype); });
  }
  for (const auto& [type, name] : kKv) {
    const KvType kv = type;  // clang 14 captures no structured binding
    check(std::string("attend ") + name, 1e-5, [&](const Ops& o) { return attend(o, kv, false); });
    check(std::string("attend window ") + name, 1e-5,
          [&](const Ops& o) { return attend(o, kv, true); });
    check(std::string("kvStore ") + name, 0, [&](const Ops& o) { return kvStore(o, kv); });
  }
  check("merge", 1e-6, merge);
  check("rmsnorm", 1e-5, [](const Ops& o) { return rmsnorm(o, false); });
  check("rmsnorm accumulate", 1e-5, [](const Ops& o) { return rmsnorm(o, true); });
  check("addBias", 0, addBias);
  check("quantize", 0, quantize);
  check("rope adjacent", 1e-6, [](const Ops& o) { return rope(o, RopePairing::kAdjacent); });
  check("rope halves", 1e-6, [](const Ops& o) { return rope(o, RopePairing::kHalves); });
  check("swiglu", 1e-5, [](const Ops& o) { return glu(o.swiglu); });
  check("geglu", 1e-5, [](const Ops& o) { return glu(o.geglu); });
  backwardChecks(check);
  return checks;
}

}  // namespace baton
