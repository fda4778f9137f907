// SPDX-License-Identifier: Apache-2.0
// bf16 arithmetic of linear.h for every table that has it: against sums in double precision, bit
// for bit between one row and any number of them, and what rounding activations costs.
#include "base/buffer.h"
#include "base/half.h"
#include "kernels/linear/linear.h"
#include "support.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr size_t kOutside = 64;  // NaN before and after what a kernel may read
constexpr uint16_t kBfloatNan = 0x7fc0;

struct Problem {
  const Ops* ops;
  int N, K, R;
  uint32_t seed = 1;
  bool aligned = false;  // to 64 bytes, for kernels that read so
};

std::string describe(const Problem& p) {
  return std::string(isaName(p.ops->isa)) + " N=" + std::to_string(p.N) +
         " K=" + std::to_string(p.K) + " R=" + std::to_string(p.R);
}

struct Data {
  explicit Data(const Problem& p)
      : exact(static_cast<size_t>(p.R) * static_cast<size_t>(p.K), 1),
        w(static_cast<size_t>(p.N) * static_cast<size_t>(p.K) + 2 * kOutside, p.aligned ? 0 : 2,
          kBfloatNan),
        x(exact.size() + 2 * kOutside, p.aligned ? 0 : 3, kBfloatNan) {
    Random random(p.seed);
    random.fill(exact);
    for (size_t i = kOutside; i < w.size() - kOutside; ++i) w[i] = bfloatOfFloat(random.number());
    p.ops->toBf16({exact.data(), x.data() + kOutside, p.K}, 0, p.R);
  }
  const uint16_t* weight() const { return w.data() + kOutside; }
  const uint16_t* rows() const { return x.data() + kOutside; }

  Misaligned<float> exact;  // [R, K]
  Misaligned<uint16_t> w, x;
};

LinearArgs arguments(const Problem& p, const Data& data, float* y, int ldy) {
  return {.weight = data.weight(),
          .panels = nullptr,
          .type = DType::kBF16,
          .N = p.N,
          .K = p.K,
          .x = nullptr,
          .xq = nullptr,
          .xd = nullptr,
          .xs = nullptr,
          .y = y,
          .ldy = ldy,
          .R = p.R,
          .accumulate = false,
          .invariant = false,
          .xb = data.rows()};
}

double product(const Problem& p, const Data& data, int r, int n, int k) {
  const auto K = static_cast<size_t>(p.K);
  return static_cast<double>(floatOfBfloat(data.rows()[static_cast<size_t>(r) * K + k])) *
         floatOfBfloat(data.weight()[static_cast<size_t>(n) * K + k]);
}

void conform(const Problem& p) {
  const Data data(p);
  Buffer scratch(linearScratchBytes(p.K));
  const int ldy = p.N + 5;
  for (const bool accumulate : {false, true}) {
    Misaligned<float> y(static_cast<size_t>(p.R) * ldy, 1, 0.25f);
    LinearArgs args = arguments(p, data, y.data(), ldy);
    args.accumulate = accumulate;
    // In two calls, as two workers would.
    const int split = p.N > 16 ? 16 : 0;
    if (split > 0) p.ops->linearBf16(args, 0, split, scratch.data());
    p.ops->linearBf16(args, split, p.N, scratch.data());
    std::vector<float> got;
    std::vector<double> want, bound;
    int touched = 0;
    for (int r = 0; r < p.R; ++r) {
      const float* row = y.data() + static_cast<size_t>(r) * ldy;
      for (int n = p.N; n < ldy; ++n) touched += row[n] != 0.25f;
      for (int n = 0; n < p.N; ++n) {
        double sum = accumulate ? 0.25 : 0, size = 0;
        for (int k = 0; k < p.K; ++k) {
          const double term = product(p, data, r, n, k);
          sum += term;
          size += std::fabs(term);
        }
        got.push_back(row[n]);
        want.push_back(sum);
        bound.push_back(kEpsilon * (8 + p.K) * size + 1e-6);  // each addition rounds once
      }
    }
    CHECK_EQ(touched, 0);
    checkWithin(describe(p), got.data(), want.data(), bound.data(), got.size());
  }
}

// The bits of `together` against those of `rows` rows and 16 columns at a time.
int differences(const Problem& p, const LinearArgs& all, int rows) {
  Buffer scratch(linearScratchBytes(p.K));
  std::vector<float> alone(static_cast<size_t>(p.R) * p.N);
  for (int r = 0; r < p.R; r += rows) {
    LinearArgs part = all;
    part.R = std::min(rows, p.R - r);
    part.xb += static_cast<size_t>(r) * p.K;
    part.y = alone.data() + static_cast<size_t>(r) * p.N;
    for (int n = 0; n < p.N; n += 16) {
      p.ops->linearBf16(part, n, std::min(n + 16, p.N), scratch.data());
    }
  }
  return sameBits(alone.data(), all.y, alone.size()) ? 0 : 1;
}

void checkBits(const Problem& p, const std::vector<int>& rowCounts) {
  const Data data(p);
  Buffer scratch(linearScratchBytes(p.K));
  std::vector<float> together(static_cast<size_t>(p.R) * p.N);
  const LinearArgs args = arguments(p, data, together.data(), p.N);
  p.ops->linearBf16(args, 0, p.N, scratch.data());
  int different = 0;
  for (const int rows : rowCounts) different += differences(p, args, rows);
  expect(different == 0, __FILE__, __LINE__, describe(p) + ": bits depend on the tile");
}

}  // namespace

TEST("toBf16: the codec's rounding in every table: ties, subnormals, overflow, NaN") {
  constexpr int kK = 64, kR = 9;
  Random random(23);
  Misaligned<float> x(size_t{kK} * kR, 1);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = floatOfBits(random.below(0xffffffff));
    if (i % 4 == 0) x[i] = floatOfBits(bitsOfFloat(random.number()) & ~0x7fffu);  // ties
  }
  const float special[] = {0.0f,  -0.0f,   kInfinity, -kInfinity, kNan,
                           -kNan, 3.4e38f, 1e-40f,    -1e-44f};
  std::copy(std::begin(special), std::end(special), x.data() + kK);
  x[kK + 9] = floatOfBits(0x7f800001);  // its mantissa is lost
  for (const Ops* ops : tablesWith(&Ops::toBf16)) {
    Misaligned<uint16_t> out(x.size(), 1, 0x1234);
    ops->toBf16({x.data(), out.data(), kK}, 1, kR);
    int wrong = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      wrong += out[i] != (i < kK ? 0x1234 : bfloatOfFloat(x[i]));
    }
    CHECK_EQ(wrong, 0);
  }
}

TEST("linear bf16: every shape against sums in double precision, with NaN around what is read") {
  uint32_t seed = 1;
  for (const Ops* ops : tablesWith(&Ops::linearBf16)) {
    if (ops->isa == Isa::kCuda) {  // emulated, a thousand times slower
      for (const int R : {1, 4, 5}) conform({ops, 17, 96, R, ++seed});
      for (const int K : {32, 576}) conform({ops, 3, K, 2, ++seed});
      // By tensor cores: rows and columns at, before and behind the ends of tiles and of parts.
      for (const int R : {17, 32, 64, 65}) conform({ops, 21, 96, R, ++seed, true});
      for (const int N : {1, 64, 79}) conform({ops, N, 160, 18, ++seed, true});
      for (const int K : {32, 64, 576}) conform({ops, 9, K, 17, ++seed, true});
      continue;
    }
    for (const int R : {1, 2, 3, 5, 6, 7, 12, 13, 15, 16, 17, 31, 32, 33, 48, 53}) {
      conform({ops, 16 + static_cast<int>(seed % 25), 96, R, seed});
      ++seed;
    }
    for (const int N : {1, 2, 3, 5, 15, 16, 17, 31, 32, 33, 48, 65}) {
      for (const int R : {1, 4, 18}) conform({ops, N, 64, R, ++seed});
    }
    for (const int K : {32, 576, 2048}) {
      for (const int R : {1, 15, 16, 17}) conform({ops, 21, K, R, ++seed});
    }
  }
}

TEST("linear bf16: a row has the same bits alone and in any tile") {
  for (const Ops* ops : tablesWith(&Ops::linearBf16)) {
    if (ops->isa == Isa::kCuda) {
      checkBits({ops, 18, 160, 9, 11}, {1, 3, 4});
      continue;
    }
    checkBits({ops, 53, 160, 53, 11}, {1, 2, 3, 5, 6, 7, 8, 13, 15, 16, 17, 26, 35});
    // More rows than one block of the caches.
    checkBits({ops, 18, 2048, 270, 12}, {1});
  }
}

// Weights are the file's, so that rounding x to eight bits is all that bf16 arithmetic adds. Half a
// unit is 2^-8 of the lowest number of a binade: 2^-8 / sqrt(3) = 2.3e-3 of that in the
// mean, 1.6e-3 over the numbers of a binade, and as much of a sum of many.
TEST("linear bf16: rounding activations moves sums by less than 2e-3, against double precision") {
  for (const Ops* ops : tablesWith(&Ops::linearBf16)) {
    const Problem p{ops, 48, 576, 33, 21, true};
    const Data data(p);
    Buffer scratch(linearScratchBytes(p.K));
    std::vector<float> y(static_cast<size_t>(p.R) * p.N);
    ops->linearBf16(arguments(p, data, y.data(), p.N), 0, p.N, scratch.data());
    double error = 0, size = 0;
    for (int r = 0; r < p.R; ++r) {
      for (int n = 0; n < p.N; ++n) {
        double want = 0;
        for (int k = 0; k < p.K; ++k) {
          want += static_cast<double>(data.exact[static_cast<size_t>(r) * p.K + k]) *
                  floatOfBfloat(data.weight()[static_cast<size_t>(n) * p.K + k]);
        }
        error += std::pow(y[static_cast<size_t>(r) * p.N + n] - want, 2);
        size += want * want;
      }
    }
    const double relative = std::sqrt(error / size);
    expect(relative < 2e-3, __FILE__, __LINE__, describe(p) + ": " + std::to_string(relative));
  }
}

TEST("linear bf16: infinities and NaN reach their rows and no other") {
  for (const Ops* ops : tablesWith(&Ops::linearBf16)) {
    for (const int R : {3, 17}) {
      const Problem p{ops, 20, 64, R, 31, true};
      Data data(p);
      data.x[kOutside + 64 + 5] = kBfloatNan;   // row 1
      data.x[kOutside + 2 * 64 + 63] = 0x7f80;  // row 2: infinity
      data.w[kOutside + 7 * 64 + 63] = 0x3f80;  // times one
      Buffer scratch(linearScratchBytes(p.K));
      std::vector<float> y(static_cast<size_t>(R) * p.N);
      ops->linearBf16(arguments(p, data, y.data(), p.N), 0, p.N, scratch.data());
      int wrong = 0;
      for (int r = 0; r < R; ++r) {
        for (int n = 0; n < p.N; ++n) {
          const float value = y[static_cast<size_t>(r) * p.N + n];
          wrong += r == 1   ? !std::isnan(value)
                   : r == 2 ? std::isfinite(value)
                            : !std::isfinite(value);
        }
      }
      CHECK_EQ(wrong, 0);
      CHECK_EQ(y[static_cast<size_t>(2 * p.N) + 7], kInfinity);
    }
  }
}
