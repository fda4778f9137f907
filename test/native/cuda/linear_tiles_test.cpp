// SPDX-License-Identifier: Apache-2.0
// Products of many rows by tensor cores, beyond what the conformance tests ask (kernels/linear*):
// which kernel takes what, the same bits in tiles of any size and with `invariant` beside any
// number of rows, and shared memory that is read without conflicts.
#include "base/buffer.h"
#include "cuda/ops.h"
#include "emulation/cuda.h"
#include "kernels/linear/panels.h"
#include "kernels/support.h"
#include "kernels/weights.h"

using namespace baton;
using namespace baton::test;

namespace {

Misaligned<uint16_t> halves(size_t n, uint32_t seed, size_t shift = 0) {
  Misaligned<uint16_t> values(n, shift);
  Random random(seed);
  for (size_t i = 0; i < n; ++i) values[i] = bfloatOfFloat(random.number());
  return values;
}

struct Bf16Problem {
  int N, K, R;
  Misaligned<uint16_t> w = halves(static_cast<size_t>(N) * K, 1);
  Misaligned<uint16_t> x = halves(static_cast<size_t>(R) * K, 2);

  LinearArgs arguments(float* y) const {
    LinearArgs args{};
    args.weight = w.data();
    args.type = DType::kBF16;
    args.N = args.ldy = N;
    args.K = K;
    args.R = R;
    args.xb = x.data();
    args.y = y;
    return args;
  }
};

// y of rows [row, row + rows) and columns [n0, n1).
std::vector<float> product(const Bf16Problem& p, bool invariant, int row, int rows, int n0,
                           int n1) {
  std::vector<float> y(static_cast<size_t>(rows * p.N), kNan);
  LinearArgs args = p.arguments(y.data());
  args.xb += static_cast<size_t>(row) * p.K;
  args.R = rows;
  args.invariant = invariant;
  kCudaOps.linearBf16(args, n0, n1, nullptr);
  return y;
}

bool sameRows(const std::vector<float>& all, const std::vector<float>& some, int row, int N) {
  return sameBits(all.data() + row * N, some.data(), some.size());
}

}  // namespace

TEST("cuda: products in bf16 have the same bits in tiles of any number of rows, if invariant") {
  const Bf16Problem p{70, 96, 67};
  const std::vector<float> all = product(p, true, 0, p.R, 0, p.N);
  CHECK(sameBits(product(p, false, 0, p.R, 0, p.N).data(), all.data(), all.size()));
  for (const int rows : {1, 16, 17, 32, 66}) {
    for (const int row : {0, p.R - rows}) {
      CHECK(sameRows(all, product(p, true, row, rows, 0, p.N), row, p.N));
    }
  }
  // Not for few rows that are asked for without it: another kernel takes them.
  CHECK(sameRows(all, product(p, false, 3, kFewRows + 1, 0, p.N), 3, p.N));
  CHECK(!sameRows(all, product(p, false, 3, kFewRows, 0, p.N), 3, p.N));
  emulation::setOrder(emulation::Order::kBackwards);
  CHECK(sameBits(product(p, true, 0, p.R, 0, p.N).data(), all.data(), all.size()));
  emulation::setOrder(emulation::Order::kForwards);
}

TEST("cuda: products in bf16 have the same bits in large tiles and in small ones") {
  const Bf16Problem p{128 * 128 - 5, 32, 19};
  emulation::takeBankConflicts();
  const std::vector<float> all = product(p, false, 0, p.R, 0, p.N);
  CHECK_EQ(emulation::takeBankConflicts(), 0);
  for (const int n0 : {0, 64, 128 * 128 - 128}) {
    const int n1 = std::min(n0 + 128, p.N);
    const std::vector<float> some = product(p, false, 0, p.R, n0, n1);
    int wrong = 0;
    for (int r = 0; r < p.R; ++r) {
      const size_t at = static_cast<size_t>(r) * static_cast<size_t>(p.N);
      wrong += !sameBits(all.data() + at + n0, some.data() + at + n0, static_cast<size_t>(n1 - n0));
      for (int n = 0; n < p.N; n += 61) {  // what was not asked for
        if (n < n0 || n >= n1) wrong += !std::isnan(some[at + static_cast<size_t>(n)]);
      }
    }
    CHECK_EQ(wrong, 0);
  }
  CHECK_EQ(emulation::takeBankConflicts(), 0);
}

TEST("cuda: products in bf16 of rows that do not suit tiles are made all the same") {
  const Bf16Problem p{20, 64, 18};
  const std::vector<float> want = product(p, false, 0, p.R, 0, p.N);
  const auto shifted = halves(static_cast<size_t>(p.R) * p.K, 2, 1);
  std::vector<float> got(want.size(), kNan);
  LinearArgs args = p.arguments(got.data());
  args.xb = shifted.data();
  kCudaOps.linearBf16(args, 0, p.N, nullptr);
  CHECK(!sameBits(got.data(), want.data(), want.size()));  // by the other kernel
  for (size_t i = 0; i < want.size(); ++i) {
    if (std::fabs(got[i] - want[i]) > 1e-4) CHECK_EQ(got[i], want[i]);
  }
}

TEST("cuda: products in int8 have the same bits in tiles of any number of rows, if invariant") {
  constexpr int kN = 50, kR = 67;
  emulation::takeBankConflicts();
  for (const QuantType& type : quantTypes()) {
    if (type.unpack == nullptr) continue;
    const int K = wholeBlocks(type, 160);
    Random random(3);
    std::vector<std::byte> weight(quantRowBytes(type, int64_t{kN} * K));
    fillWeights(type, static_cast<size_t>(kN) * static_cast<size_t>(K), random, weight.data(), -1);
    Buffer panels(panelsBytes(type.dtype, kN, K));
    packPanels(type.dtype, weight.data(), kN, K, 0, panelCount(kN), panels.data());
    const auto numbers = static_cast<size_t>(kR * K);
    std::vector<float> x(numbers), xd(numbers / kGroup), xs = xd;
    random.fill(x);
    Misaligned<int8_t> xq(numbers, 0);
    kScalarOps.quantize({x.data(), xq.data(), xd.data(), xs.data(), K}, 0, kR);
    const auto rows = [&](int row, int count, bool invariant) {
      std::vector<float> y(static_cast<size_t>(count * kN), kNan);
      LinearArgs args{};
      args.weight = weight.data();
      args.panels = panels.data();
      args.type = type.dtype;
      args.N = args.ldy = kN;
      args.K = K;
      args.R = count;
      args.xq = xq.data() + row * K;
      args.xd = xd.data() + row * K / kGroup;
      args.xs = xs.data() + row * K / kGroup;
      args.y = y.data();
      args.invariant = invariant;
      kCudaOps.linear(args, 0, kN, nullptr);
      return y;
    };
    const std::vector<float> all = rows(0, kR, false);
    for (const int count : {1, 17, 64}) {
      expect(sameRows(all, rows(kR - count, count, true), kR - count, kN), __FILE__, __LINE__,
             std::string(type.name) + ": bits depend on the tile");
    }
    expect(!sameRows(all, rows(0, kFewRows, false), 0, kN), __FILE__, __LINE__,
           std::string(type.name) + ": few rows in tiles");
    emulation::setOrder(emulation::Order::kBackwards);
    CHECK(sameRows(all, rows(0, kR, false), 0, kN));
    emulation::setOrder(emulation::Order::kForwards);
  }
  CHECK_EQ(emulation::takeBankConflicts(), 0);
}
