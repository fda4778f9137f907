// SPDX-License-Identifier: Apache-2.0
// Each kernel of a table against its scalar reference, on data that is the same everywhere. Small
// on purpose, as every process begins with it: about four million multiply-adds, most of them in
// the references of linear, which are therefore computed once for all forms of a kernel. The sweep
// over sizes and alignments is test/native/kernels.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/buffer.h"
#include "device/device.h"
#include "device/self_test_data.h"

namespace baton {
namespace {

using namespace self_test;

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

std::vector<float> linear(const Ops& ops, const Weights& w, bool int8, int rows, bool invariant) {
  std::vector<float> y(static_cast<size_t>(rows) * kCols);
  Buffer scratch(linearScratchBytes(w.depth));
  const LinearArgs args{w.rows.data(),
                        w.panels.data(),
                        w.type,
                        kCols,
                        w.depth,
                        int8 ? nullptr : w.x.data(),
                        int8 ? w.xq.q.data() : nullptr,
                        w.xq.d.data(),
                        w.xq.s.data(),
                        y.data(),
                        kCols,
                        rows,
                        false,
                        invariant};
  ops.linear(args, 0, kCols, scratch.data());
  return y;
}

std::vector<float> linearBf16(const Ops& ops, const Weights& w, int rows) {
  std::vector<uint16_t> x(w.x.size());
  kScalarOps.toBf16({w.x.data(), x.data(), w.depth}, 0, kManyRows);
  std::vector<float> y(static_cast<size_t>(rows) * kCols);
  Buffer scratch(linearScratchBytes(w.depth));
  LinearArgs args{};
  args.weight = w.rows.data();
  args.type = w.type;
  args.N = kCols;
  args.K = w.depth;
  args.y = y.data();
  args.ldy = kCols;
  args.R = rows;
  args.xb = x.data();
  ops.linearBf16(args, 0, kCols, scratch.data());
  return y;
}

std::vector<float> attend(AttendFn op, KvType kv, bool windowed) {
  const Pool pool = stored(kScalarOps, kv);
  const std::vector<float> q = numbers(size_t{kRows} * kHeadDim, 5);
  const int32_t blocks[] = {2, 1, 0}, visible[] = {1, 16, 31, 40, 48}, first[] = {0, 3, 17, 17, 33};
  const float* queries[kRows];
  for (int i = 0; i < kRows; ++i) queries[i] = q.data() + i * kHeadDim;
  std::vector<float> out(kRows * (kHeadDim + 2));
  float* const m = out.data() + kRows * kHeadDim;
  Buffer scores(size_t{kRows} * kPieceRows * 4), pairs(attendPairsBytes(kHeadDim));
  op({queries, kRows, kHeadDim, 0.5f, kv, pool.bytes.data(), pool.bytes.data() + pool.half,
      2 * pool.half, blocks, visible, out.data(), m, m + kRows, scores.as<float>(),
      windowed ? first : nullptr, pairs.data()});
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

std::vector<float> embed(const Ops& ops, const Weights& w) {
  const int32_t tokens[] = {7, 0, -1, 39, 7};
  std::vector<float> out(w.x.size(), 0.5f);
  ops.embed({w.rows.data(), w.type, w.depth, tokens, out.data(), 2.5f}, 0, kRows);
  return out;
}

std::vector<float> quantize(const Ops& ops) {
  const Quantised out = quantised(ops, numbers(size_t{kRows} * kDepth, 15), kRows);
  std::vector<float> all(out.q.begin(), out.q.end());
  all.insert(all.end(), out.d.begin(), out.d.end());
  all.insert(all.end(), out.s.begin(), out.s.end());
  return all;
}

// The normed rows and what their groups are multiples of; or the rows as int8 has them, and sums.
std::vector<float> rmsnormQuantize(const Ops& ops, bool rows) {
  const std::vector<float> x = numbers(size_t{kRows} * kDepth, 10), w = numbers(kDepth, 11);
  std::vector<float> y(x.size());
  Quantised out = quantised(kScalarOps, y, kRows);
  ops.rmsnormQuantize({x.data(), w.data(), rows ? y.data() : nullptr, out.q.data(), out.d.data(),
                       out.s.data(), kDepth, 1e-5f},
                      0, kRows);
  for (size_t i = 0; i < y.size() && !rows; ++i)
    y[i] = static_cast<float>(out.q[i]) * out.d[i / kGroup];
  const std::vector<float>& rest = rows ? out.d : out.s;
  y.insert(y.end(), rest.begin(), rest.end());
  return y;
}

std::vector<float> toBf16(const Ops& ops) {
  const std::vector<float> x = numbers(size_t{kRows} * kDepth, 15);
  std::vector<uint16_t> out(x.size());
  ops.toBf16({x.data(), out.data(), kDepth}, 0, kRows);
  return {out.begin(), out.end()};
}

std::vector<float> kvStore(const Ops& ops, KvType kv) {
  const Pool pool = stored(ops, kv);
  std::vector<float> out(pool.bytes.size());
  std::transform(pool.bytes.begin(), pool.bytes.end(), out.begin(),
                 [](std::byte b) { return static_cast<float>(b); });
  return out;
}

// ---- backward

std::vector<float> dLinear(const Ops& ops, const Weights& w, bool accumulate, bool bf16 = false) {
  const int rows = accumulate ? kTileRows : kRows;
  const std::vector<float> dy = numbers(size_t{kTileRows} * kCols, 19);
  std::vector<float> dx = numbers(w.x.size(), 20);
  Buffer scratch(dLinearScratchBytes());
  ops.dLinear({w.rows.data(), w.type, kCols, w.depth, dy.data(), kCols, dx.data(), w.depth, rows,
               accumulate, bf16},
              0, w.depth, scratch.data());
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

// dq of all queries, or dk and dv of all rows.
std::vector<float> dAttend(DAttendFn op, KvType kv, bool windowed, bool bf16) {
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
                         kHeadDim,
                         bf16};
  op(args);
  return out;
}

// Whose kernel stands in `ops`: tables share what they have nothing better for.
Isa isaOf(const KernelSlot& kernel, const Ops& ops) {
  for (const Ops* table : availableOps()) {
    if (kernel.same(*table, ops)) return table->isa;
  }
  return ops.isa;
}

class Checks {
 public:
  explicit Checks(const Ops& ops) : ops_(ops) {}

  // `kernel` is the name of its slot; `what` was asked of it.
  void compare(const char* kernel, const std::string& what, double bound,
               const std::vector<float>& got, const std::vector<float>& reference) {
    for (const KernelSlot& slot : kernelSlots()) {
      if (std::strcmp(slot.name, kernel) != 0) continue;
      const double error = relativeError(got, reference);
      done_.push_back({&slot, kernel + what, isaOf(slot, ops_), error, error <= bound});
    }
  }

  // With a reference of its own.
  void check(const char* kernel, const std::string& what, double bound, const auto& compute) {
    compare(kernel, what, bound, compute(ops_), compute(kScalarOps));
  }

  std::vector<KernelCheck> take() { return std::move(done_); }

  void ofType(const QuantType& type);
  void ofBf16(const Weights& weights);
  void ofKv(KvType kv);
  void ofRows();
  void ofRowsBackward();

 private:
  const Ops& ops_;
  std::vector<KernelCheck> done_;
};

void Checks::ofType(const QuantType& type) {
  const Weights weights(type.dtype);
  for (const bool int8 : {false, true}) {
    if (int8 && !isInteger(type.dtype)) continue;
    const std::vector<float> many = linear(kScalarOps, weights, int8, kManyRows, true);
    const std::vector<float> all(many.begin(), many.begin() + kRows * kCols);
    const std::vector<float> one(many.begin(), many.begin() + kCols);
    const std::string name = std::string(int8 ? " int8 " : " float32 ") + type.name;
    compare("linear", name + " tile", 1e-5, linear(ops_, weights, int8, kRows, true), all);
    compare("linear", name + " many rows", 1e-5, linear(ops_, weights, int8, kManyRows, true),
            many);
    compare("linear", name + " rows", 1e-5, linear(ops_, weights, int8, kRows, false), all);
    compare("linear", name + " vector", 1e-5, linear(ops_, weights, int8, 1, false), one);
  }
  if (type.dtype == DType::kBF16) ofBf16(weights);
  const std::string name = std::string(" ") + type.name;
  check("embed", name, 1e-6, [&](const Ops& o) { return embed(o, weights); });
  check("dLinear", name, 1e-5, [&](const Ops& o) { return dLinear(o, weights, false); });
  check("dLinear", name + " accumulate", 1e-5,
        [&](const Ops& o) { return dLinear(o, weights, true); });
  // A kernel may round or not, so this is how far bfloat16 can be from float32.
  check("dLinear", name + " bf16", 1e-2,
        [&](const Ops& o) { return dLinear(o, weights, false, true); });
}

void Checks::ofBf16(const Weights& weights) {
  if (ops_.linearBf16 == nullptr) return;
  const std::vector<float> many = linearBf16(kScalarOps, weights, kManyRows);
  const auto first = [&](int rows) {
    return std::vector<float>(many.begin(), many.begin() + rows * kCols);
  };
  compare("linearBf16", " many rows", 1e-5, linearBf16(ops_, weights, kManyRows), many);
  compare("linearBf16", " rows", 1e-5, linearBf16(ops_, weights, kRows), first(kRows));
  compare("linearBf16", " vector", 1e-5, linearBf16(ops_, weights, 1), first(1));
}

void Checks::ofKv(KvType kv) {
  const std::string name = kvTypeName(kv);
  for (const bool windowed : {false, true}) {
    const std::string what = (windowed ? " window " : " ") + name;
    check("attend", what, 1e-5, [&](const Ops& o) { return attend(o.attend, kv, windowed); });
    // A weight that lies between two numbers of bfloat16 may be rounded to either.
    if (ops_.attendBf16 != nullptr) {
      check("attendBf16", what, 2e-3,
            [&](const Ops& o) { return attend(o.attendBf16, kv, windowed); });
    }
    for (const bool bf16 : {false, true}) {
      const std::string which = what + (bf16 ? " bf16" : "");
      const double most = bf16 ? 1e-2 : 1e-5;  // a kernel may leave its factors as they are
      check("dAttendQuery", which, most,
            [&](const Ops& o) { return dAttend(o.dAttendQuery, kv, windowed, bf16); });
      check("dAttendKey", which, most,
            [&](const Ops& o) { return dAttend(o.dAttendKey, kv, windowed, bf16); });
    }
  }
  check("kvStore", " " + name, 0, [&](const Ops& o) { return kvStore(o, kv); });
}

void Checks::ofRows() {
  check("merge", "", 1e-6, merge);
  check("rmsnorm", "", 1e-5, [](const Ops& o) { return rmsnorm(o, false); });
  check("rmsnorm", " accumulate", 1e-5, [](const Ops& o) { return rmsnorm(o, true); });
  check("addBias", "", 0, addBias);
  check("quantize", "", 0, quantize);
  check("toBf16", "", 0, toBf16);
  check("rmsnormQuantize", " rows", 1e-5, [](const Ops& o) { return rmsnormQuantize(o, true); });
  // The norms differ in their last bits, so that a quant may be one more or one less.
  check("rmsnormQuantize", "", 8e-3, [](const Ops& o) { return rmsnormQuantize(o, false); });
  check("rope", " adjacent", 1e-6, [](const Ops& o) { return rope(o, RopePairing::kAdjacent); });
  check("rope", " halves", 1e-6, [](const Ops& o) { return rope(o, RopePairing::kHalves); });
  check("swiglu", "", 1e-5, [](const Ops& o) { return glu(o.swiglu); });
  check("geglu", "", 1e-5, [](const Ops& o) { return glu(o.geglu); });
}

void Checks::ofRowsBackward() {
  check("dRmsnorm", "", 1e-5, [](const Ops& o) { return dRmsnorm(o, false); });
  check("dRmsnorm", " accumulate", 1e-5, [](const Ops& o) { return dRmsnorm(o, true); });
  check("dSwiglu", "", 1e-5, [](const Ops& o) { return dGlu(o.dSwiglu); });
  check("dGeglu", "", 1e-5, [](const Ops& o) { return dGlu(o.dGeglu); });
  check("crossEntropy", "", 1e-5, crossEntropy);
  check("squareSums", "", 0, squareSums);
  check("adamw", "", 0, adamw);
}

}  // namespace

std::vector<KernelCheck> selfTest(const Ops& ops) {
  Checks checks(ops);
  for (const QuantType& type : quantTypes()) checks.ofType(type);
  for (const KvType kv : kKvTypes) checks.ofKv(kv);
  checks.ofRows();
  checks.ofRowsBackward();
  return checks.take();
}

}  // namespace baton
