// SPDX-License-Identifier: Apache-2.0
// What all other cases are shares of, measured first: the gap between two launches, a copy in
// memory (bytes read and bytes written), a large product of bfloat16.
#include "base/half.h"
#include "gpu/kernels/bench.h"
#include "gpu/kernels/ceilings.h"

namespace baton::bench {
namespace {

void launchGap(GpuBench& bench) {
  bench.measure({}, 1, {}, [](int) { emptyCuda(); });
}

void copy(GpuBench& bench, size_t wanted) {
  const size_t bytes = wanted / 16 * 16;
  DeviceBuffer from = bench.floats(bytes / sizeof(float)), to = bench.room(bytes);
  bench.measure({2.0 * static_cast<double>(bytes), 0}, 1, {to.as<float>(), bytes / sizeof(float)},
                [&](int) { copyCuda(to.data(), from.data(), bytes); });
}

// Of many rows by cuBLASLt where it is; `own`: by our tiles.
void gemm(GpuBench& bench, int size, bool own) {
  const auto n = static_cast<size_t>(size);
  std::vector<uint16_t> pattern;
  for (const float value : randomPattern()) pattern.push_back(bfloatOfFloat(value));
  DeviceBuffer x = bench.filled(2 * n * n, pattern), weight = bench.filled(2 * n * n, pattern);
  DeviceBuffer y = bench.room(4 * n * n);
  LinearArgs args{};
  args.weight = weight.data();
  args.type = DType::kBF16;
  args.N = args.K = args.R = args.ldy = size;
  args.xb = x.as<uint16_t>();
  args.y = y.as<float>();
  args.invariant = own;
  const double each = static_cast<double>(n) * static_cast<double>(n);
  bench.measure({(2 + 2 + 4) * each, linearFlops(args)}, 1, {args.y, n * n},
                [&](int) { bench.kernels().ops->linearBf16(args, 0, size, nullptr); });
}

}  // namespace

std::vector<GpuCase> ceilingCases(const GpuShapes& shapes) {
  return {{"launch gap", launchGap},
          {kCopyCase, [bytes = shapes.copyBytes](GpuBench& bench) { copy(bench, bytes); }},
          {kGemmCase, [size = shapes.gemm](GpuBench& bench) { gemm(bench, size, false); }},
          {"tiles bf16", [size = shapes.gemm](GpuBench& bench) { gemm(bench, size, true); }}};
}

}  // namespace baton::bench
