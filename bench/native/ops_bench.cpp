// SPDX-License-Identifier: Apache-2.0
// Speed of single kernels on the shapes of SmolLM2-135M (M = 576, F = 1536, H = 9, G = 3, D = 64, V
// = 49152, L = 30), with weights of all layers side by side in memory, as in a model. Prints one
// line per case: median of the repeats and what it means in GOP/s or GB/s. Random weights: speed
// does not depend on values.
//
//   baton_ops_bench [--threads N] [--type NAME] [--repeat N] [FILTER]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/cpu.h"
#include "base/half.h"
#include "base/threads.h"
#include "device/device.h"
#include "quant/types.h"
#include "support.h"

namespace baton::bench {
namespace {

class Bench {
 public:
  explicit Bench(const Options& options) : options_(options), pool_(options.threads) {
    const QuantType* type = nullptr;
    for (const QuantType& candidate : quantTypes()) {
      if (options.type == candidate.name) type = &candidate;
    }
    type = type ? type : &quantType(DType::kQ4_1);
    std::mt19937 random(1);
    for (int layer = 0; layer < kL; ++layer) {
      for (const auto& [N, K] :
           {std::pair{kM, kM}, {192, kM}, {192, kM}, {kM, kM}, {kF, kM}, {kF, kM}, {kM, kF}}) {
        layers_.push_back(randomMatrix(*type, N, K, random));
      }
    }
    head_ = randomMatrix(quantType(DType::kQ8_0), kV, kM, random);
    scratchBytes_ = (linearScratchBytes(kF) + 63) / 64 * 64;
    scratch_ = Buffer(scratchBytes_ * static_cast<size_t>(options.threads));
  }

  bool wanted(const std::string& name) const { return options_.wants(name); }

  void linears(const Ops& ops, int R, bool int8, bool invariant) {
    const std::string name = std::string("linears ") + (int8 ? "int8" : "float32") +
                             " R=" + std::to_string(R) + (invariant ? " invariant" : "");
    if (!wanted(name) || (int8 && layers_[0].type->unpack == nullptr)) return;
    prepare(R, kF);
    const double seconds = median(options_.repeat, options_.threads, [&] {
      for (const Matrix& w : layers_) multiply(ops, w, R, int8, invariant);
    });
    double macs = 0, bytes = 0;
    for (const Matrix& w : layers_) {
      macs += static_cast<double>(w.N) * w.K * R;
      bytes += static_cast<double>(w.bytes.size());
    }
    std::printf("%-7s %-5s %-32s %9.3f ms %9.1f tok/s %8.1f GOP/s %6.1f GB/s\n", isaName(ops.isa),
                layers_[0].type->name, name.c_str(), seconds * 1e3, R / seconds,
                2e-9 * macs / seconds, 1e-9 * bytes / seconds);
  }

  void head(const Ops& ops) {
    if (!wanted("head")) return;
    prepare(1, kF);
    const double seconds =
        median(options_.repeat, options_.threads, [&] { multiply(ops, head_, 1, true, false); });
    std::printf("%-7s %-5s %-32s %9.3f ms %45.1f GB/s\n", isaName(ops.isa), "Q8_0", "head R=1",
                seconds * 1e3, 1e-9 * static_cast<double>(head_.bytes.size()) / seconds);
  }

  // All kv heads of all layers for `rows` new rows that read `context` cached rows each.
  void attend(const Ops& ops, KvType kv, int rows, int context) {
    const std::string name = std::string("attend ") + kvTypeName(kv) +
                             " rows=" + std::to_string(rows) +
                             " context=" + std::to_string(context);
    if (!wanted(name)) return;
    const int Q = rows * kH / kG;
    const int blocks = context / kBlockRows;
    const size_t half = kvHeadBytes(kv, kD);
    const size_t head = 2 * half * static_cast<size_t>(blocks);
    std::vector<std::byte> cache(head * kG * kL);
    std::mt19937 random(2);
    for (size_t i = 0; i < cache.size(); i += 2) {  // small numbers in either format
      const uint16_t value =
          halfOfFloat(static_cast<float>(static_cast<int>(random() % 200) - 100) * 0.01f);
      std::memcpy(&cache[i], &value, 2);
    }
    std::vector<float> q(static_cast<size_t>(Q * kD), 0.3f), o(q.size()), m(static_cast<size_t>(Q)),
        d = m;
    std::vector<const float*> queries;
    for (int i = 0; i < Q; ++i) queries.push_back(q.data() + i * kD);
    std::vector<int32_t> numbers(static_cast<size_t>(blocks)),
        visible(static_cast<size_t>(Q), kPieceRows);
    for (int b = 0; b < blocks; ++b) numbers[static_cast<size_t>(b)] = b;
    const size_t outFloats =
        (q.size() + 2 * m.size() + 15) / 16 * 16 + static_cast<size_t>(Q) * kPieceRows;
    Buffer memory(outFloats * 4 * static_cast<size_t>(options_.threads));
    const double seconds = median(options_.repeat, options_.threads, [&] {
      pool_.forEach(kG * kL, 1, [&](int begin, int end, int worker) {
        float* out = memory.as<float>() + static_cast<size_t>(worker) * outFloats;
        float* scores = out + outFloats - static_cast<size_t>(Q) * kPieceRows;
        for (int i = begin; i < end; ++i) {
          const std::byte* base = cache.data() + static_cast<size_t>(i) * head;
          for (int piece = 0; piece < context / kPieceRows; ++piece) {
            ops.attend({queries.data(), Q, kD, 0.125f, kv, base, base + half, 2 * half,
                        numbers.data() + piece * 16, visible.data(), out, out + Q * kD,
                        out + Q * kD + Q, scores});
          }
        }
      });
    });
    const double flops = 4.0 * Q * kG * kL * context * kD;
    std::printf("%-7s %-5s %-32s %9.3f ms %9.1f tok/s %8.1f GOP/s %6.1f GB/s\n", isaName(ops.isa),
                kvTypeName(kv), name.c_str(), seconds * 1e3, rows / seconds, 1e-9 * flops / seconds,
                1e-9 * static_cast<double>(cache.size()) / seconds);
  }

  // The row-wise ops of all layers for R rows, without attention and linears.
  void rowOps(const Ops& ops, int R) {
    const std::string name = "row ops R=" + std::to_string(R);
    if (!wanted(name)) return;
    prepare(R, kF);
    std::vector<float> weight(kM, 1.0f), gate(x_), out(x_);
    const double seconds = median(options_.repeat, options_.threads, [&] {
      for (int layer = 0; layer < kL; ++layer) {
        for (int i = 0; i < 2; ++i) {
          pool_.forEach(R, 16, [&](int begin, int end, int) {
            ops.rmsnorm({x_.data(), weight.data(), out.data(), kM, 1e-5f}, begin, end);
            ops.quantize({out.data(), xq_.data(), xd_.data(), xs_.data(), kM}, begin, end);
          });
        }
        pool_.forEach(R, 16, [&](int begin, int end, int) {
          ops.swiglu({x_.data(), gate.data(), out.data(), kF}, begin, end);
          ops.quantize({out.data(), xq_.data(), xd_.data(), xs_.data(), kF}, begin, end);
        });
      }
    });
    std::printf("%-7s %-5s %-32s %9.3f ms %9.1f tok/s\n", isaName(ops.isa), "", name.c_str(),
                seconds * 1e3, R / seconds);
  }

 private:
  void prepare(int R, int K) {
    std::mt19937 random(3);
    x_.resize(static_cast<size_t>(R) * static_cast<size_t>(K));
    for (float& x : x_) x = static_cast<float>(random() >> 8) * 0x1p-23f - 1;
    xq_.resize(x_.size());
    xd_.resize(x_.size() / kGroup);
    xs_.resize(xd_.size());
    y_.resize(static_cast<size_t>(R) * (R == 1 ? kV : kF));
    kScalarOps.quantize({x_.data(), xq_.data(), xd_.data(), xs_.data(), K}, 0, R);
  }

  void multiply(const Ops& ops, const Matrix& w, int R, bool int8, bool invariant) {
    const LinearArgs args{w.bytes.data(),
                          w.type->dtype,
                          w.N,
                          w.K,
                          int8 ? nullptr : x_.data(),
                          int8 ? xq_.data() : nullptr,
                          xd_.data(),
                          xs_.data(),
                          y_.data(),
                          w.N,
                          R,
                          false,
                          invariant};
    const int panels = (w.N + 31) / 32;
    const int grain = std::max(1, panels / (4 * options_.threads));
    pool_.forEach(panels, grain, [&](int begin, int end, int worker) {
      ops.linear(args, begin * 32, std::min(end * 32, w.N),
                 scratch_.data() + static_cast<size_t>(worker) * scratchBytes_);
    });
  }

  Options options_;
  ThreadPool pool_;
  std::vector<Matrix> layers_;
  Matrix head_;
  size_t scratchBytes_;
  Buffer scratch_;
  std::vector<float> x_, y_, xd_, xs_;
  std::vector<int8_t> xq_;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const auto value = [&] { return i + 1 < argc ? argv[++i] : ""; };
    if (std::strcmp(argv[i], "--threads") == 0) {
      options.threads = std::max(1, std::atoi(value()));
    } else if (std::strcmp(argv[i], "--repeat") == 0) {
      options.repeat = std::max(1, std::atoi(value()));
    } else if (std::strcmp(argv[i], "--type") == 0) {
      options.type = value();
    } else {
      options.filter = argv[i];
    }
  }
  return options;
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  using namespace baton;
  using namespace baton::bench;
  const Options options = parse(argc, argv);
  const Ops& ops = cpuOps();
  std::printf("%s, %d threads, %s, median of %d\n", cpuBrand().c_str(), options.threads,
              isaName(ops.isa), options.repeat);
  Bench bench(options);
  for (const int R : {1, 2, 4, 8, 16, 128, 512}) bench.linears(ops, R, true, false);
  for (const int R : {1, 4, 128}) bench.linears(ops, R, false, false);
  bench.linears(ops, 1, true, true);
  bench.head(ops);
  for (const KvType kv : {KvType::kF16, KvType::kInt8}) {
    for (const int context : {256, 2048}) bench.attend(ops, kv, 1, context);
    bench.attend(ops, kv, 16, 2048);
  }
  for (const int R : {1, 128}) bench.rowOps(ops, R);
  benchBackward(options, ops);
  return 0;
}
