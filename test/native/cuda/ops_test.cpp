// SPDX-License-Identifier: Apache-2.0
// What the conformance tests of the operations (test/native/kernels) do not ask of CUDA's: the same
// bits for aligned memory, which is read in fours, and for any other; in any order of threads; for
// a row alone and among others. And nothing at all for no rows.
#include "cuda/ops.h"

#include <functional>
#include <set>

#include "emulation/cuda.h"
#include "kernels/support.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr int kRows = 21;             // more than one tile of 16, and an odd number
constexpr int kFirst = 2, kEnd = 19;  // those asked for

// How an operation is called: everything `shift` floats past alignment, rows each by itself or not.
struct Call {
  size_t shift;
  bool alone;

  template <class Op, class Args>
  void operator()(Op op, const Args& args) const {
    if (!alone) return op(args, kFirst, kEnd);
    for (int r = kFirst; r < kEnd; ++r) op(args, r, r + 1);
  }
};

using Bytes = std::vector<std::byte>;

template <class T>
void append(Bytes& bytes, const Misaligned<T>& values) {
  const auto* from = reinterpret_cast<const std::byte*>(values.data());
  bytes.insert(bytes.end(), from, from + values.size() * sizeof(T));
}

// Rows of n numbers; those not asked for hold NaN.
Misaligned<float> rowsOf(int n, size_t shift, uint32_t seed, float size = 1) {
  Misaligned<float> values(static_cast<size_t>(kRows * n), shift, kNan);
  Random random(seed);
  for (size_t i = static_cast<size_t>(kFirst * n); i < static_cast<size_t>(kEnd * n); ++i) {
    values[i] = size * random.number();
  }
  return values;
}

Misaligned<float> vectorOf(int n, size_t shift, uint32_t seed) {
  Misaligned<float> values(static_cast<size_t>(n), shift);
  Random random(seed);
  random.fill(values);
  return values;
}

Bytes rmsnorm(const Call& call, int n) {
  Bytes bytes;
  for (const bool accumulate : {false, true}) {
    const Misaligned<float> x = rowsOf(n, call.shift, 1), w = vectorOf(n, call.shift, 2);
    Misaligned<float> y = rowsOf(n, call.shift, 3);
    call(kCudaOps.rmsnorm, RmsNormArgs{x.data(), w.data(), y.data(), n, 1e-5f, accumulate});
    append(bytes, y);
  }
  return bytes;
}

Bytes dRmsnorm(const Call& call, int n) {
  Bytes bytes;
  for (const bool accumulate : {false, true}) {
    const Misaligned<float> x = rowsOf(n, call.shift, 1), w = vectorOf(n, call.shift, 2);
    const Misaligned<float> dy = rowsOf(n, call.shift, 4);
    Misaligned<float> dx = rowsOf(n, call.shift, 3);
    call(kCudaOps.dRmsnorm,
         DRmsNormArgs{x.data(), w.data(), dy.data(), dx.data(), n, 1e-5f, accumulate});
    append(bytes, dx);
  }
  return bytes;
}

Bytes addBias(const Call& call, int n) {
  const Misaligned<float> bias = vectorOf(n, call.shift, 2);
  Misaligned<float> y = rowsOf(n, call.shift, 3);
  call(kCudaOps.addBias, AddBiasArgs{bias.data(), y.data(), n});
  Bytes bytes;
  append(bytes, y);
  return bytes;
}

Bytes glu(const Call& call, int n, GluFn op) {
  const Misaligned<float> gate = rowsOf(n, call.shift, 5, 10), up = rowsOf(n, call.shift, 6);
  Misaligned<float> out(gate.size(), call.shift, 7);
  call(op, GluArgs{gate.data(), up.data(), out.data(), n});
  Bytes bytes;
  append(bytes, out);
  return bytes;
}

Bytes dGlu(const Call& call, int n, DGluFn op) {
  const Misaligned<float> gate = rowsOf(n, call.shift, 5, 10), up = rowsOf(n, call.shift, 6);
  const Misaligned<float> dout = rowsOf(n, call.shift, 7);
  Misaligned<float> dgate(gate.size(), call.shift, 7), dup(gate.size(), call.shift, 7);
  call(op, DGluArgs{gate.data(), up.data(), dout.data(), dgate.data(), dup.data(), n});
  Bytes bytes;
  append(bytes, dgate);
  append(bytes, dup);
  return bytes;
}

Bytes quantize(const Call& call, int n) {
  const int K = (n + kGroup - 1) / kGroup * kGroup;
  const Misaligned<float> x = rowsOf(K, call.shift, 8);
  Misaligned<int8_t> q(x.size(), call.shift, 99);
  Misaligned<float> d(x.size() / kGroup, call.shift, 7), s(d.size(), call.shift, 7);
  call(kCudaOps.quantize, QuantizeArgs{x.data(), q.data(), d.data(), s.data(), K});
  Bytes bytes;
  append(bytes, q);
  append(bytes, d);
  append(bytes, s);
  return bytes;
}

Bytes crossEntropy(const Call& call, int n) {
  Misaligned<float> logits = rowsOf(n, call.shift, 9, 5), loss(kRows, call.shift, 7);
  Misaligned<int32_t> labels(kRows, call.shift);
  for (size_t r = 0; r < kRows; ++r) labels[r] = static_cast<int>(r * 7) % n;
  const Misaligned<float> scale(kRows, call.shift, 0.125f);
  call(kCudaOps.crossEntropy,
       CrossEntropyArgs{logits.data(), labels.data(), scale.data(), loss.data(), n});
  Bytes bytes;
  append(bytes, logits);
  append(bytes, loss);
  return bytes;
}

Bytes rope(const Call& call, int n, RopePairing pairing) {
  const int D = (n + 15) / 16 * 16, heads = 3, positions = 40;
  const Misaligned<float> x = rowsOf(heads * D, call.shift, 10);
  const Misaligned<float> cos = vectorOf(positions * D / 2, call.shift, 11);
  const Misaligned<float> sin = vectorOf(positions * D / 2, call.shift, 12);
  Misaligned<float> out(x.size(), call.shift, 7);
  Misaligned<int32_t> at(kRows, call.shift);
  for (int r = 0; r < kRows; ++r) at[static_cast<size_t>(r)] = 2 * r - kRows;
  call(kCudaOps.rope, RopeArgs{x.data(), heads * D, out.data(), heads * D, heads, D, cos.data(),
                               sin.data(), at.data(), pairing});
  Bytes bytes;
  append(bytes, out);
  return bytes;
}

Bytes kvStore(const Call& call, int n, KvType kv) {
  const int D = std::min(kMostHeadDim, (n + 15) / 16 * 16), G = 3;
  const Misaligned<float> k = rowsOf(G * D, call.shift, 13), v = rowsOf(G * D, call.shift, 14);
  const size_t head = kvHeadBytes(kv, D), stride = 2 * G * head;
  Misaligned<std::byte> pool(3 * stride, 0, std::byte{0x5a});
  Misaligned<int32_t> block(kRows, call.shift), slot(kRows, call.shift);
  for (int r = 0; r < kRows; ++r) {
    block[static_cast<size_t>(r)] = (r + 5) / 16 == 0 ? 2 : 0;
    slot[static_cast<size_t>(r)] = (r + 5) % 16;
  }
  call(kCudaOps.kvStore,
       KvStoreArgs{k.data(), G * D, v.data(), G * D, G, D, kv, pool.data(), pool.data() + G * head,
                   head, stride, block.data(), slot.data()});
  Bytes bytes;
  append(bytes, pool);
  return bytes;
}

struct Operation {
  std::string name;
  std::function<Bytes(const Call&, int n)> run;
};

std::vector<Operation> operations() {
  std::vector<Operation> all = {
      {"rmsnorm", rmsnorm},
      {"dRmsnorm", dRmsnorm},
      {"addBias", addBias},
      {"quantize", quantize},
      {"crossEntropy", crossEntropy},
      {"swiglu", [](const Call& c, int n) { return glu(c, n, kCudaOps.swiglu); }},
      {"geglu", [](const Call& c, int n) { return glu(c, n, kCudaOps.geglu); }},
      {"dSwiglu", [](const Call& c, int n) { return dGlu(c, n, kCudaOps.dSwiglu); }},
      {"dGeglu", [](const Call& c, int n) { return dGlu(c, n, kCudaOps.dGeglu); }},
      {"rope adjacent", [](const Call& c, int n) { return rope(c, n, RopePairing::kAdjacent); }},
      {"rope halves", [](const Call& c, int n) { return rope(c, n, RopePairing::kHalves); }},
  };
  for (const KvType kv : kKvTypes) {
    all.push_back({std::string("kvStore ") + kvTypeName(kv),
                   [kv](const Call& c, int n) { return kvStore(c, n, kv); }});
  }
  return all;
}

}  // namespace

TEST("cuda: the operations that there are") {
  std::set<std::string> there;
  for (const KernelSlot& slot : kernelSlots()) {
    if (!slot.same(kCudaOps, Ops{})) there.insert(slot.name);
  }
  CHECK(
      (there ==
       std::set<std::string>{
           "linear",  "linearBf16",   "toBf16",     "attend",     "merge",        "embed",
           "rmsnorm", "addBias",      "quantize",   "rope",       "kvStore",      "swiglu",
           "geglu",   "dRmsnorm",     "dSwiglu",    "dGeglu",     "crossEntropy", "rmsnormQuantize",
           "dLinear", "dAttendQuery", "dAttendKey", "squareSums", "adamw"}));
}

TEST("cuda: the same bits whatever the alignment, the order of threads and the rows beside") {
  using emulation::Order;
  for (const Operation& op : operations()) {
    for (const int n : {3, 100, 576}) {
      const Bytes want = op.run({0, false}, n);
      const std::string what = op.name + " n=" + std::to_string(n);
      const auto same = [&](const char* how, const Call& call) {
        expect(op.run(call, n) == want, __FILE__, __LINE__, what + how + ": other bits");
      };
      same(" off alignment", {1, false});
      same(" row by row", {0, true});
      emulation::setOrder(Order::kBackwards);
      same(" backwards", {0, false});
      emulation::setOrder(Order::kForwards);
    }
  }
}

TEST("cuda: no rows, no launch") {
  kCudaOps.embed({}, 3, 3);
  kCudaOps.rmsnorm({}, 3, 3);
  kCudaOps.addBias({}, 3, 3);
  kCudaOps.quantize({}, 3, 3);
  kCudaOps.rope({}, 3, 3);
  kCudaOps.kvStore({}, 3, 3);
  for (const GluFn op : {kCudaOps.swiglu, kCudaOps.geglu}) op({}, 3, 3);
  kCudaOps.dRmsnorm({}, 3, 3);
  for (const DGluFn op : {kCudaOps.dSwiglu, kCudaOps.dGeglu}) op({}, 3, 3);
  kCudaOps.crossEntropy({}, 3, 3);
  kCudaOps.squareSums({}, 3, 3);
  kCudaOps.adamw({}, 3, 3);
  CHECK(true);  // a launch with no blocks is a Fault
}

TEST("cuda: products have the same bits whatever the alignment and the order of threads") {
  constexpr int kN = 19, kK = 264, kR = 5;
  const auto product = [](size_t shift, bool bf16, DType type) {
    const auto halves = [&](size_t n, uint32_t seed) {
      Misaligned<uint16_t> values(n, shift);
      Random random(seed);
      for (size_t i = 0; i < n; ++i) values[i] = bfloatOfFloat(random.number());
      return values;
    };
    const auto weightHalves = halves(kN * kK, 1), xHalves = halves(kR * kK, 2);
    const auto weight = vectorOf(kN * kK, shift, 3), x = vectorOf(kR * kK, shift, 4);
    std::vector<float> y(kR * kN, kNan);
    LinearArgs args{};
    args.weight = type == DType::kF32 ? static_cast<const void*>(weight.data())
                                      : static_cast<const void*>(weightHalves.data());
    args.type = type;
    args.N = args.ldy = kN;
    args.K = kK;
    args.R = kR;
    args.x = bf16 ? nullptr : x.data();
    args.xb = bf16 ? xHalves.data() : nullptr;
    args.y = y.data();
    (bf16 ? kCudaOps.linearBf16 : kCudaOps.linear)(args, 0, kN, nullptr);
    return y;
  };
  for (const bool bf16 : {false, true}) {
    for (const DType type : {DType::kF32, DType::kBF16}) {
      if (bf16 && type != DType::kBF16) continue;
      const std::vector<float> want =
          product(1, bf16, type);  // which the conformance tests look at
      CHECK(sameBits(product(0, bf16, type).data(), want.data(), want.size()));
      emulation::setOrder(emulation::Order::kBackwards);
      CHECK(sameBits(product(0, bf16, type).data(), want.data(), want.size()));
      emulation::setOrder(emulation::Order::kForwards);
    }
  }
}
