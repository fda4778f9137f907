// SPDX-License-Identifier: Apache-2.0
// dlinear.h for every table that this machine runs, in float32 and in bf16: against sums in double
// precision, against differences of the forward reference, and bit for bit whatever the rows and
// columns of a call.
#include "kernels/linear/dlinear.h"

#include "base/buffer.h"
#include "base/half.h"
#include "gradients.h"
#include "weights.h"

using namespace baton;
using namespace baton::test;

namespace {

struct Problem {
  const Ops* ops;
  DType type;
  int N, K, R;
  uint32_t seed = 1;
  bool bf16 = false;
};

struct Data {
  Misaligned<std::byte> weight;
  Misaligned<float> dy;  // [R, N + 3], NaN in the last three columns
};

std::string describe(const Problem& p) {
  return std::string(isaName(p.ops->isa)) + (p.bf16 ? " bf16" : "") + " dLinear " +
         quantType(p.type).name + " N=" + std::to_string(p.N) + " K=" + std::to_string(p.K) +
         " R=" + std::to_string(p.R);
}

Data make(const Problem& p) {
  Random random(p.seed);
  const size_t ldy = static_cast<size_t>(p.N) + 3;
  Data data{Misaligned<std::byte>(quantRowBytes(quantType(p.type), int64_t{p.N} * p.K), 4),
            Misaligned<float>(static_cast<size_t>(p.R) * ldy, 1)};
  fillWeights(quantType(p.type), static_cast<size_t>(p.N) * p.K, random, data.weight.data());
  random.fill(data.dy);
  for (size_t i = 0; i < data.dy.size(); ++i) {
    if (i % ldy >= static_cast<size_t>(p.N)) data.dy[i] = kNan;
  }
  return data;
}

DLinearArgs arguments(const Problem& p, const Data& data, float* dx, int ldx) {
  return {.weight = data.weight.data(),
          .type = p.type,
          .N = p.N,
          .K = p.K,
          .dy = data.dy.data(),
          .ldy = p.N + 3,
          .dx = dx,
          .ldx = ldx,
          .R = p.R,
          .accumulate = false,
          .bf16 = p.bf16};
}

// AVX2 has no products of bfloat16 and takes the factors as they are.
double factor(const Problem& p, float value) {
  const bool rounded = p.bf16 && p.ops->isa != Isa::kAvx2;
  return rounded ? floatOfBfloat(bfloatOfFloat(value)) : value;
}

// dx in double precision, and the sum of the magnitudes that were added, for the bound.
void oracle(const Problem& p, const Data& data, std::vector<double>& dx,
            std::vector<double>& size) {
  std::vector<float> w(static_cast<size_t>(p.N) * p.K);
  quantType(p.type).dequantize(data.weight.data(), w.data(), w.size());
  dx.assign(static_cast<size_t>(p.R) * p.K, 0);
  size = dx;
  for (int r = 0; r < p.R; ++r) {
    for (int n = 0; n < p.N; ++n) {
      const double dy = factor(p, data.dy[static_cast<size_t>(r) * (p.N + 3) + n]);
      for (int k = 0; k < p.K; ++k) {
        const double term = dy * factor(p, w[static_cast<size_t>(n) * p.K + k]);
        dx[static_cast<size_t>(r) * p.K + k] += term;
        size[static_cast<size_t>(r) * p.K + k] += std::fabs(term);
      }
    }
  }
}

void conformIn(const Problem& p) {
  const Data data = make(p);
  Buffer scratch(dLinearScratchBytes());
  std::memset(scratch.data(), 0xff, scratch.size());
  std::vector<double> want, size;
  oracle(p, data, want, size);
  const int ldx = p.K + 5;
  for (const bool accumulate : {false, true}) {
    Misaligned<float> dx(static_cast<size_t>(p.R) * ldx, 1, 0.25f);
    if (!accumulate) {
      for (int r = 0; r < p.R; ++r) dx[static_cast<size_t>(r) * ldx] = kNan;  // never read
    }
    DLinearArgs args = arguments(p, data, dx.data(), ldx);
    args.accumulate = accumulate;
    p.ops->dLinear(args, 0, p.K, scratch.data());
    std::vector<float> got;
    std::vector<double> expected, bound;
    int touched = 0;
    for (int r = 0; r < p.R; ++r) {
      for (int k = 0; k < ldx; ++k) {
        const float value = dx[static_cast<size_t>(r) * ldx + k];
        if (k >= p.K) {
          touched += value != 0.25f;
          continue;
        }
        const size_t i = static_cast<size_t>(r) * p.K + k;
        got.push_back(value);
        expected.push_back(want[i] + (accumulate ? 0.25 : 0));
        // Chains of a chunk, then one of chunks.
        const double chain = 4.0 + std::min(p.N, kDLinearChunk) + p.N / kDLinearChunk;
        bound.push_back(kEpsilon * chain * size[i] + 1e-6);
      }
    }
    CHECK_EQ(touched, 0);
    checkWithin(describe(p), got.data(), expected.data(), bound.data(), got.size());
  }
}

void conform(Problem p) {
  conformIn(p);
  p.bf16 = true;
  conformIn(p);
}

}  // namespace

TEST("dLinear: every type and shape against sums in double precision") {
  uint32_t seed = 1;
  for (const Ops* ops : availableOps()) {
    for (const QuantType& type : quantTypes()) {
      for (const int R : {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 14, 17, 25}) {
        conform(
            {ops, type.dtype, 16 + static_cast<int>(seed % 25), wholeBlocks(type, 96), R, seed});
        ++seed;
      }
      for (const int N : {1, 127, 128, 129, 300}) {
        for (const int R : {1, 5}) conform({ops, type.dtype, N, wholeBlocks(type, 64), R, ++seed});
      }
      for (const int K : {256, 288, 512, 576, 1536}) {
        conform({ops, type.dtype, 33, wholeBlocks(type, K), 7, ++seed});
      }
    }
  }
}

TEST("dLinear: float formats of any depth") {
  for (const Ops* ops : availableOps()) {
    for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
      for (const int K : {1, 5, 8, 15, 17, 31, 33, 45, 63, 257, 300}) {
        for (const int R : {1, 3, 7}) conform({ops, type, 19, K, R});
      }
      conform({ops, type, 19, 33, kDLinearRows + 18});  // rows in two parts
    }
  }
}

TEST("dLinear: a row has the same bits alone and in any tile, whatever the columns of a call") {
  for (const Ops* ops : availableOps()) {
    for (const QuantType& type : quantTypes()) {
      const Problem p{ops, type.dtype, 131, 512, 37, 11};
      const Data data = make(p);
      Buffer scratch(dLinearScratchBytes());
      const std::vector<float> start(static_cast<size_t>(p.R) * p.K, 0.5f);
      for (const int form : {0, 1, 2, 3}) {
        std::vector<float> together = start;
        DLinearArgs args = arguments(p, data, together.data(), p.K);
        args.accumulate = (form & 1) != 0;
        args.bf16 = (form & 2) != 0;
        ops->dLinear(args, 0, p.K, scratch.data());
        int different = 0;
        for (const int rows : {1, 3, 7, 8, 13, 37}) {
          for (const int columns : {kDLinearColumns, 5 * kDLinearColumns}) {
            std::vector<float> apart = start;
            for (int r = 0; r < p.R; r += rows) {
              DLinearArgs part = args;
              part.R = std::min(rows, p.R - r);
              part.dy += static_cast<size_t>(r) * static_cast<size_t>(args.ldy);
              part.dx = apart.data() + static_cast<size_t>(r) * p.K;
              for (int k = 0; k < p.K; k += columns) {
                ops->dLinear(part, k, std::min(k + columns, p.K), scratch.data());
              }
            }
            different += !sameBits(apart.data(), together.data(), apart.size());
          }
        }
        expect(different == 0, __FILE__, __LINE__, describe(p) + ": bits depend on the call");
      }
    }
  }
}

TEST("dLinear: bf16 reads numbers that bfloat16 has as they are, and rounds the others to even") {
  constexpr int kN = 7, kK = 33;
  for (const Ops* ops : availableOps()) {
    if (ops->isa == Isa::kAvx2) continue;  // takes the factors as they are
    // Halfway between two neighbours of bfloat16: to the even one, downwards and upwards.
    const float dy[kN] = {1 + 0x1p-8f, 1 + 0x3p-8f, -1 - 0x1p-8f, 0, -2, 1 + 0x1.01p-8f, 0.5f};
    const float read[kN] = {1, 1 + 0x1p-6f, -1, 0, -2, 1 + 0x1p-7f, 0.5f};
    for (int n = 0; n < kN; ++n) {
      std::vector<float> w(static_cast<size_t>(kN) * kK, 0.0f), dx(kK);
      std::fill_n(w.begin() + n * kK, kK, 3.0f);
      Buffer scratch(dLinearScratchBytes());
      ops->dLinear({.weight = w.data(),
                    .type = DType::kF32,
                    .N = kN,
                    .K = kK,
                    .dy = dy,
                    .ldy = kN,
                    .dx = dx.data(),
                    .ldx = kK,
                    .R = 1,
                    .accumulate = false,
                    .bf16 = true},
                   0, kK, scratch.data());
      CHECK(std::all_of(dx.begin(), dx.end(), [&](float x) { return x == 3 * read[n]; }));
    }
  }
}

TEST("dLinear: differences of the forward reference") {
  constexpr int kN = 30, kK = 64;
  for (const Ops* ops : availableOps()) {
    for (const DType type : {DType::kF32, DType::kQ4_1, DType::kQ8_0}) {
      const Problem p{ops, type, kN, kK, 1, 21};
      const Data data = make(p);
      Random random(22);
      std::vector<float> x(kK), y(kN), dx(kK);
      random.fill(x);
      Buffer scratch(std::max(dLinearScratchBytes(), linearScratchBytes(kK)));
      ops->dLinear(arguments(p, data, dx.data(), kK), 0, kK, scratch.data());
      checkGradient(describe(p), x, dx.data(), [&] {
        kScalarOps.linear({.weight = data.weight.data(),
                           .panels = nullptr,
                           .type = type,
                           .N = kN,
                           .K = kK,
                           .x = x.data(),
                           .xq = nullptr,
                           .xd = nullptr,
                           .xs = nullptr,
                           .y = y.data(),
                           .ldy = kN,
                           .R = 1,
                           .accumulate = false,
                           .invariant = true},
                          0, kN, scratch.data());
        return dot(y.data(), data.dy.data(), kN);
      });
    }
  }
}
