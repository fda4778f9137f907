// SPDX-License-Identifier: Apache-2.0
// Speed of the backward ops. Their limit is the multiply-add units of AVX2 (two sums of eight per
// cycle on most CPUs), measured here and on the spot, because clocks differ with load.
#include <cstdio>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/buffer.h"
#include "base/half.h"
#include "device/device.h"
#include "support.h"

namespace baton::bench {
namespace {

#if defined(__x86_64__)
// Twelve chains of multiply-adds that never leave registers.
__attribute__((target("avx2,fma"))) float multiplyAdds(int64_t rounds) {
  __m256 sum[12];
  for (int i = 0; i < 12; ++i) sum[i] = _mm256_set1_ps(static_cast<float>(i));
  const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) sum[i] = _mm256_fmadd_ps(sum[i], x, y);
  }
  __m256 all = sum[0];
  for (int i = 1; i < 12; ++i) all = _mm256_add_ps(all, sum[i]);
  return _mm256_cvtss_f32(all);
}
#endif

class Backward {
 public:
  Backward(const Options& options, const Ops& ops)
      : options_(options), ops_(ops), pool_(options.threads) {
    scratchFloats_ = std::max(dLinearScratchBytes() / sizeof(float), dAttendScratchFloats(kD));
    scratchFloats_ = (scratchFloats_ + 15) / 16 * 16;
    scratch_ = Buffer(scratchFloats_ * sizeof(float) * static_cast<size_t>(options.threads));
    for (const QuantType& type : quantTypes()) {
      if (options.type == type.name) type_ = &type;
    }
  }

  // dX of all seven weights of each layer, or of the output head.
  void linears(int R, bool head) {
    const std::string name = std::string(head ? "d head" : "d linears") + " R=" + std::to_string(R);
    if (!options_.wants(name)) return;
    std::mt19937 random(4);
    std::vector<Matrix> weights;
    if (head) {
      weights.push_back(randomMatrix(quantType(DType::kQ8_0), kV, kM, random));
    } else {
      for (int layer = 0; layer < kL; ++layer) {
        for (const auto& [N, K] :
             {std::pair{kM, kM}, {192, kM}, {192, kM}, {kM, kM}, {kF, kM}, {kF, kM}, {kM, kF}}) {
          weights.push_back(randomMatrix(*type_, N, K, random));
        }
      }
    }
    const std::vector<float> dy = numbers(static_cast<size_t>(R) * (head ? kV : kF));
    std::vector<float> dx(static_cast<size_t>(R) * kF);
    double flops = 0;
    for (const Matrix& w : weights) flops += 2.0 * w.N * w.K * R;
    report(name, flops, [&] {
      for (const Matrix& w : weights) {
        const DLinearArgs args{w.bytes.data(), w.type->dtype, w.N,  w.K, dy.data(), w.N,
                               dx.data(),      w.K,           R,    false};
        const int panels = (w.K + kDLinearColumns - 1) / kDLinearColumns;
        pool_.forEach(panels, 1, [&](int begin, int end, int worker) {
          ops_.dLinear(args, begin * kDLinearColumns, std::min(end * kDLinearColumns, w.K),
                       scratchOf(worker));
        });
      }
    });
  }

  // All kv heads of all layers: `rows` rows that read `context` cached rows each; with `keys` those
  // need gradients.
  void attend(int rows, int context, bool keys) {
    const std::string name = std::string(keys ? "d attend key" : "d attend query") +
                             " rows=" + std::to_string(rows) + " context=" + std::to_string(context);
    if (!options_.wants(name)) return;
    const int Q = rows * kH / kG;
    const size_t half = kBlockRows * kD * 2;
    const size_t head = 2 * half * static_cast<size_t>(context / kBlockRows);
    const std::vector<std::byte> kv = halves(head * kG * kL);
    const std::vector<float> q = numbers(static_cast<size_t>(Q * kD)), dout = q;
    const std::vector<float> lse(static_cast<size_t>(Q), 8.0f), delta(lse.size(), 0.1f);
    const std::vector<int32_t> visible(lse.size(), std::min(context, kPieceRows));
    std::vector<int32_t> blocks;
    for (int b = 0; b < context / kBlockRows; ++b) blocks.push_back(b);
    const size_t outFloats = static_cast<size_t>(Q + 2 * context) * kD;
    std::vector<float> out(outFloats * static_cast<size_t>(options_.threads));
    const double pairs = static_cast<double>(Q) * kG * kL * context;
    report(name, pairs * (keys ? dAttendKeyFlops(kD) : dAttendQueryFlops(kD)), [&] {
      pool_.forEach(kG * kL, 1, [&](int begin, int end, int worker) {
        float* const dq = out.data() + static_cast<size_t>(worker) * outFloats;
        float* const dk = dq + Q * kD;
        for (int i = begin; i < end; ++i) {
          const std::byte* base = kv.data() + static_cast<size_t>(i) * head;
          for (int row = 0; row < context; row += kPieceRows) {
            for (int first = 0; first < Q; first += kMaxQueries) {
              const int count = std::min(kMaxQueries, Q - first);
              const float *queries[kMaxQueries], *gradients[kMaxQueries];
              float* results[kMaxQueries];
              for (int j = 0; j < count; ++j) {
                queries[j] = q.data() + (first + j) * kD;
                gradients[j] = dout.data() + (first + j) * kD;
                results[j] = dq + (first + j) * kD;
              }
              const DAttendArgs args{.q = queries,
                                     .dout = gradients,
                                     .lse = lse.data(),
                                     .delta = delta.data(),
                                     .Q = count,
                                     .D = kD,
                                     .scale = 0.125f,
                                     .kv = KvType::kF16,
                                     .k = base,
                                     .v = base + half,
                                     .blockStride = 2 * half,
                                     .blocks = blocks.data() + row / kBlockRows,
                                     .visible = visible.data(),
                                     .first = nullptr,
                                     .scratch = scratchOf(worker),
                                     .dq = results,
                                     .dk = dk + row * kD,
                                     .dv = dk + (context + row) * kD,
                                     .ldk = kD};
              (keys ? ops_.dAttendKey : ops_.dAttendQuery)(args);
            }
          }
        }
      });
    });
  }

  // The row-wise ops of all layers for R rows. Bound by memory: no percentage.
  void rowOps(int R) {
    const std::string name = "d row ops R=" + std::to_string(R);
    if (!options_.wants(name)) return;
    const std::vector<float> x = numbers(static_cast<size_t>(R) * kF), weight(kM, 1.0f);
    std::vector<float> dy = x, up = x, out = x, dup = x;
    report(name, 0, [&] {
      for (int layer = 0; layer < kL; ++layer) {
        pool_.forEach(R, 16, [&](int begin, int end, int) {
          for (int i = 0; i < 2; ++i) {
            ops_.dRmsnorm({x.data(), weight.data(), dy.data(), out.data(), kM, 1e-5f}, begin, end);
          }
          ops_.dSwiglu({x.data(), up.data(), dy.data(), out.data(), dup.data(), kF}, begin, end);
        });
      }
    });
  }

  void crossEntropy(int R) {
    const std::string name = "cross entropy R=" + std::to_string(R);
    if (!options_.wants(name)) return;
    std::vector<float> logits = numbers(static_cast<size_t>(R) * kV), loss(static_cast<size_t>(R));
    const std::vector<int32_t> labels(loss.size(), 7);
    const std::vector<float> scale(loss.size(), 1.0f);
    report(name, 0, [&] {
      pool_.forEach(R, 1, [&](int begin, int end, int) {
        ops_.crossEntropy({logits.data(), labels.data(), scale.data(), loss.data(), kV}, begin, end);
      });
    });
  }

 private:
  static std::vector<float> numbers(size_t n) {
    std::mt19937 random(3);
    std::vector<float> out(n);
    for (float& x : out) x = static_cast<float>(random() >> 8) * 0x1p-23f - 1;
    return out;
  }

  // So many bytes of float16 numbers.
  static std::vector<std::byte> halves(size_t bytes) {
    std::vector<std::byte> out(bytes);
    std::mt19937 random(2);
    for (size_t i = 0; i < bytes; i += 2) {
      const uint16_t value = halfOfFloat(static_cast<float>(random() % 200) * 0.01f - 1);
      std::memcpy(&out[i], &value, 2);
    }
    return out;
  }

  float* scratchOf(int worker) {
    return scratch_.as<float>() + static_cast<size_t>(worker) * scratchFloats_;
  }

  // FLOP/s of all threads together; 0 where unknown.
  double limit() {
#if defined(__x86_64__)
    if (ops_.isa == Isa::kScalar) return 0;
    constexpr int64_t kRounds = 4'000'000;
    std::vector<float> results(static_cast<size_t>(options_.threads));
    const double seconds = median(3, options_.threads, [&] {
      pool_.forEach(options_.threads, 1, [&](int begin, int end, int) {
        for (int i = begin; i < end; ++i) results[static_cast<size_t>(i)] = multiplyAdds(kRounds);
      });
    });
    return 2.0 * 12 * 8 * kRounds * options_.threads / seconds;
#else
    return 0;
#endif
  }

  template <class Fn>
  void report(const std::string& name, double flops, const Fn& fn) {
    const double limit = flops > 0 ? this->limit() : 0;
    const double seconds = median(options_.repeat, options_.threads, fn);
    std::printf("%-7s %-5s %-36s %9.3f ms", isaName(ops_.isa), type_->name, name.c_str(),
                seconds * 1e3);
    if (flops > 0) std::printf(" %8.1f GFLOP/s", 1e-9 * flops / seconds);
    if (limit > 0) std::printf(" %5.1f %% of %.0f", 100 * flops / seconds / limit, 1e-9 * limit);
    std::printf("\n");
  }

  const Options& options_;
  const Ops& ops_;
  ThreadPool pool_;
  const QuantType* type_ = &quantType(DType::kQ4_1);
  size_t scratchFloats_;
  Buffer scratch_;
};

}  // namespace

void benchBackward(const Options& options, const Ops& ops) {
  Backward bench(options, ops);
  for (const int R : {1, 8, 10, 58, 130, 512}) bench.linears(R, false);
  for (const int R : {8, 64}) bench.linears(R, true);
  for (const bool keys : {false, true}) {
    bench.attend(10, 1024, keys);
    bench.attend(50, 256, keys);
    bench.attend(1, 1024, keys);
  }
  for (const int R : {10, 130}) bench.rowOps(R);
  bench.crossEntropy(64);
}

}  // namespace baton::bench
