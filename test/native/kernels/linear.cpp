// SPDX-License-Identifier: Apache-2.0
// linear.h for every table that there is: against sums in double precision, bit for bit
// between R = 1 and any tile, and at the ends of the integer ranges.
#include "kernels/linear/linear.h"

#include "base/buffer.h"
#include "kernels/linear/panels.h"
#include "support.h"
#include "weights.h"

using namespace baton;
using namespace baton::test;

namespace {

struct Problem {
  const Ops* ops;
  DType type;
  bool int8;
  int N, K, R;
  uint32_t seed = 1;
  bool extreme = false;  // activations at the ends of their ranges, and weights of one byte:
  uint32_t fill = 0;
  bool aligned = false;  // xq, to 64 bytes, for kernels that read so
};

struct Data {
  Misaligned<std::byte> weight;
  Buffer panels;
  Misaligned<float> x;
  Misaligned<int8_t> xq;
  Misaligned<float> xd, xs;
};

std::string describe(const Problem& p) {
  return std::string(isaName(p.ops->isa)) + " " + quantType(p.type).name +
         (p.int8 ? " int8" : " float32") + " N=" + std::to_string(p.N) +
         " K=" + std::to_string(p.K) + " R=" + std::to_string(p.R);
}

Data make(const Problem& p) {
  Random random(p.seed);
  const size_t rk = static_cast<size_t>(p.R) * p.K;
  const size_t groups = p.int8 ? rk / kGroup : 0;
  Data data{Misaligned<std::byte>(quantRowBytes(quantType(p.type), int64_t{p.N} * p.K), 4),
            Buffer(p.int8 ? panelsBytes(p.type, p.N, p.K) : 0),
            Misaligned<float>(rk, 1),
            Misaligned<int8_t>(rk, p.aligned ? 0 : 3),
            Misaligned<float>(groups, 1),
            Misaligned<float>(groups, 3)};
  fillWeights(quantType(p.type), static_cast<size_t>(p.N) * p.K, random, data.weight.data(),
              p.extreme ? static_cast<int>(p.fill) : -1);
  if (p.int8) {
    packPanels(p.type, data.weight.data(), p.N, p.K, 0, panelCount(p.N), data.panels.data());
  }
  random.fill(data.x);
  if (p.extreme) {
    for (size_t i = 0; i < rk; ++i)
      data.x[i] = i / static_cast<size_t>(p.K) % 2 == 0 ? 1.0f : -1.0f;
  }
  if (p.int8) {
    kScalarOps.quantize({data.x.data(), data.xq.data(), data.xd.data(), data.xs.data(), p.K}, 0,
                        p.R);
  }
  return data;
}

LinearArgs arguments(const Problem& p, const Data& data, float* y, int ldy) {
  return {.weight = data.weight.data(),
          .panels = data.panels.data(),
          .type = p.type,
          .N = p.N,
          .K = p.K,
          .x = p.int8 ? nullptr : data.x.data(),
          .xq = p.int8 ? data.xq.data() : nullptr,
          .xd = data.xd.data(),
          .xs = data.xs.data(),
          .y = y,
          .ldy = ldy,
          .R = p.R,
          .accumulate = false,
          .invariant = false};
}

// y in double precision, and the sum of the magnitudes that were added, for the bound.
void oracle(const Problem& p, const Data& data, std::vector<double>& y, std::vector<double>& size) {
  const QuantType& type = quantType(p.type);
  std::vector<float> w(static_cast<size_t>(p.N) * p.K), d(w.size() / kSection), c = d;
  std::vector<int8_t> q(w.size());
  type.dequantize(data.weight.data(), w.data(), w.size());
  if (p.int8) type.unpack(data.weight.data(), q.data(), d.data(), c.data(), w.size());
  y.assign(static_cast<size_t>(p.R) * p.N, 0);
  size = y;
  for (int r = 0; r < p.R; ++r) {
    for (int n = 0; n < p.N; ++n) {
      double sum = 0, sizes = 0;
      for (int k = 0; k < p.K; ++k) {
        const size_t xi = static_cast<size_t>(r) * p.K + k, wi = static_cast<size_t>(n) * p.K + k;
        double term = static_cast<double>(w[wi]) * data.x[xi];
        double parts = std::fabs(term);
        if (p.int8) {
          term = static_cast<double>(w[wi]) * data.xq[xi] * data.xd[xi / kGroup];
          // The formula adds d q x and c x apart: up to twice |c x| more than their sum. Q8_0 may
          // be read with c = -128 d.
          const size_t section = wi / kSection;
          const double offset = std::fabs(p.type == DType::kQ8_0 ? 128 * d[section] : c[section]);
          parts = (std::fabs(static_cast<double>(w[wi])) + 2 * offset) *
                  std::fabs(data.xq[xi] * static_cast<double>(data.xd[xi / kGroup]));
        }
        sum += term;
        sizes += parts;
      }
      y[static_cast<size_t>(r) * p.N + n] = sum;
      size[static_cast<size_t>(r) * p.N + n] = sizes;
    }
  }
}

void conform(const Problem& p, bool invariant) {
  const Data data = make(p);
  Buffer scratch(linearScratchBytes(p.K));
  std::vector<double> want, size;
  oracle(p, data, want, size);
  const int ldy = p.N + 5;
  for (const bool accumulate : {false, true}) {
    Misaligned<float> y(static_cast<size_t>(p.R) * ldy, 1, 0.25f);
    LinearArgs args = arguments(p, data, y.data(), ldy);
    args.accumulate = accumulate;
    args.invariant = invariant;
    // In two calls, as two workers would.
    const int split = p.N > 16 ? 16 : 0;
    if (split > 0) p.ops->linear(args, 0, split, scratch.data());
    p.ops->linear(args, split, p.N, scratch.data());
    std::vector<float> got;
    std::vector<double> expected, bound;
    int touched = 0;
    for (int r = 0; r < p.R; ++r) {
      for (int n = 0; n < ldy; ++n) {
        const float value = y[static_cast<size_t>(r) * ldy + n];
        if (n >= p.N) {
          touched += value != 0.25f;
          continue;
        }
        const size_t i = static_cast<size_t>(r) * p.N + n;
        got.push_back(value);
        expected.push_back(want[i] + (accumulate ? 0.25 : 0));
        // Each of the additions of a chain of K (or 3 per group) rounds once: far above what is
        // seen.
        bound.push_back(kEpsilon * (8 + (p.int8 ? p.K / 8.0 : p.K)) * size[i] + 1e-6);
      }
    }
    CHECK_EQ(touched, 0);
    checkWithin(describe(p) + (invariant ? " invariant" : ""), got.data(), expected.data(),
                bound.data(), got.size());
  }
}

}  // namespace

TEST("linear: every type, arithmetic and shape against sums in double precision") {
  uint32_t seed = 1;
  for (const Ops* ops : tablesWith(&Ops::linear)) {
    for (const QuantType& type : quantTypes()) {
      for (const bool int8 : {false, true}) {
        if (int8 && type.unpack == nullptr) continue;
        const auto depth = [&](int K) { return wholeBlocks(type, K); };
        if (ops->isa == Isa::kCuda) {  // emulated, a thousand times slower
          for (const int R : {1, 5})
            conform({ops, type.dtype, int8, 17, depth(96), R, ++seed}, false);
          conform({ops, type.dtype, int8, 33, depth(576), 2, ++seed}, false);
          if (!int8) continue;
          // By tensor cores: more rows and columns than a tile, part of a panel, an odd number of
          // groups.
          for (const auto& [N, R] : {std::pair{17, 65}, {79, 18}, {64, 64}}) {
            conform({ops, type.dtype, true, N, depth(96), R, ++seed, false, 0, true}, false);
          }
          conform({ops, type.dtype, true, 20, depth(576), 17, ++seed, false, 0, true}, false);
          conform({ops, type.dtype, true, 33, depth(32), 1, ++seed, false, 0, true}, true);
          continue;
        }
        for (const bool invariant : {false, true}) {
          for (const int R : {1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 17, 27, 37}) {
            conform({ops, type.dtype, int8, 16 + static_cast<int>(seed % 25), depth(96), R, seed},
                    invariant);
            ++seed;
          }
          for (const int N : {1, 15, 16, 17, 31, 32, 33, 48, 65}) {
            for (const int R : {1, 5})
              conform({ops, type.dtype, int8, N, depth(64), R, ++seed}, invariant);
          }
          conform({ops, type.dtype, int8, 20, depth(576), 3, ++seed}, invariant);
          conform({ops, type.dtype, int8, 33, 1536, 9, ++seed}, invariant);
        }
      }
    }
  }
}

TEST("linear: float formats of any depth") {
  for (const Ops* ops : tablesWith(&Ops::linear)) {
    for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
      for (const int K : {1, 5, 8, 17, 31, 33, 45, 63}) {
        if (ops->isa == Isa::kCuda && K % 8 != 1) continue;
        for (const int R : {1, 7}) {
          for (const bool invariant : {false, true})
            conform({ops, type, false, 19, K, R}, invariant);
        }
      }
    }
  }
}

TEST("linear: quants at the ends of their ranges do not saturate") {
  for (const Ops* ops : tablesWith(&Ops::linear)) {
    for (const QuantType& type : quantTypes()) {
      if (type.unpack == nullptr) continue;
      // Bytes that are or hold the lowest and the highest integers, of quants and of scales.
      for (const uint32_t fill : {0x00u, 0x7fu, 0x80u, 0xffu}) {
        for (const int R : {1, 2, 3, 4, 9, 24, 33}) {
          for (const bool invariant : {false, true}) {
            if (ops->isa == Isa::kCuda && ((R != 4 && R != 24) || invariant)) continue;
            const int K = wholeBlocks(type, 64);
            conform({ops, type.dtype, true, 18, K, R, 5, true, fill, R == 24}, invariant);
          }
        }
      }
    }
  }
}

TEST("linear: a row has the same bits alone and in any tile, in float32 with `invariant`") {
  for (const Ops* ops : tablesWith(&Ops::linear)) {
    for (const QuantType& type : quantTypes()) {
      for (const bool int8 : {false, true}) {
        if (int8 && type.unpack == nullptr) continue;
        const bool emulated = ops->isa == Isa::kCuda;
        const int R = emulated ? 7 : 53;
        const Problem p{ops, type.dtype, int8, emulated ? 18 : 53, wholeBlocks(type, 160), R, 11};
        const Data data = make(p);
        Buffer scratch(linearScratchBytes(p.K));
        std::vector<float> together(static_cast<size_t>(p.R) * p.N), alone = together;
        LinearArgs args = arguments(p, data, together.data(), p.N);
        args.invariant = !int8;
        p.ops->linear(args, 0, p.N, scratch.data());
        int different = 0;
        for (int rows : {1, 2, 3, 4, 5, 7, 8, 13, 26, 35}) {
          if (emulated && rows != 1 && rows != 4) continue;
          for (int r = 0; r < p.R; r += rows) {
            LinearArgs part = args;
            part.R = std::min(rows, p.R - r);
            const size_t xi = static_cast<size_t>(r) * p.K;
            if (int8) {
              part.xq += xi;
              part.xd += xi / kGroup;
              part.xs += xi / kGroup;
            } else {
              part.x += xi;
            }
            part.y = alone.data() + static_cast<size_t>(r) * p.N;
            for (int n = 0; n < p.N; n += 16) {
              p.ops->linear(part, n, std::min(n + 16, p.N), scratch.data());
            }
          }
          different += !sameBits(alone.data(), together.data(), alone.size());
        }
        expect(different == 0, __FILE__, __LINE__, describe(p) + ": bits depend on the tile");
      }
    }
  }
}

TEST("linear: int8 by AMX has the bits of int8 by AVX-512") {
  const Ops *amx = nullptr, *avx512 = nullptr;
  for (const Ops* ops : availableOps()) {
    if (ops->isa == Isa::kAmx) amx = ops;
    if (ops->isa == Isa::kAvx512) avx512 = ops;
  }
  if (amx == nullptr || avx512 == nullptr) SKIP("no AMX");
  for (const QuantType& type : quantTypes()) {
    if (type.unpack == nullptr) continue;
    const Problem p{amx, type.dtype, true, 53, wholeBlocks(type, 160), 37, 13};
    const Data data = make(p);
    Buffer scratch(linearScratchBytes(p.K));
    std::vector<float> got(static_cast<size_t>(p.R) * p.N), want = got;
    amx->linear(arguments(p, data, got.data(), p.N), 0, p.N, scratch.data());
    avx512->linear(arguments(p, data, want.data(), p.N), 0, p.N, scratch.data());
    expect(sameBits(got.data(), want.data(), got.size()), __FILE__, __LINE__, describe(p));
  }
}
