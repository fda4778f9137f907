// SPDX-License-Identifier: Apache-2.0
// Products with a weight of each type: activations in int8 with panels where the type has them,
// in bfloat16 with weights that are so, else in float32, as an engine has them. Few rows read
// weights, many rows multiply.
#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "gpu/kernels/bench.h"
#include "kernels/cost.h"
#include "kernels/linear/panels.h"
#include "kernels/linear/types.h"
#include "quant/types.h"

namespace baton::bench {
namespace {

// Bytes of a weight as the kernels of its type read it.
std::vector<std::byte> weightOf(const QuantType& type, int N, int K) {
  std::vector<float> values = randomPattern();
  values.resize(256 * 16);
  std::vector<std::byte> pattern(quantRowBytes(type, static_cast<int64_t>(values.size())));
  type.quantize(values.data(), pattern.data(), values.size());
  std::vector<std::byte> rows(quantRowBytes(type, int64_t{N} * K));
  for (size_t at = 0; at < rows.size(); at += pattern.size()) {
    std::memcpy(&rows[at], pattern.data(), std::min(pattern.size(), rows.size() - at));
  }
  if (!isInteger(type.dtype)) return rows;
  std::vector<std::byte> panels(panelsBytes(type.dtype, N, K));
  packPanels(type.dtype, rows.data(), N, K, 0, panelCount(N), panels.data());
  return panels;
}

// Activations of R rows in the form that the type wants.
struct Activations {
  Activations(GpuBench& bench, DType type, size_t R, size_t K)
      : form(isInteger(type)         ? ActivationForm::kInt8
             : type == DType::kBF16 ? ActivationForm::kBf16
                                     : ActivationForm::kFloat32),
        numbers(make(bench, R * K)),
        scales(bench.floats(R * K / kGroup)),
        sums(bench.floats(R * K / kGroup)) {}

  DeviceBuffer make(GpuBench& bench, size_t count) const {
    if (form == ActivationForm::kFloat32) return bench.floats(count);
    std::vector<int8_t> quants;
    std::vector<uint16_t> halves;
    for (const float value : randomPattern()) {
      quants.push_back(static_cast<int8_t>(127 * value));
      halves.push_back(bfloatOfFloat(value));
    }
    return form == ActivationForm::kInt8 ? bench.filled(count, quants)
                                         : bench.filled(2 * count, halves);
  }

  ActivationForm form;
  DeviceBuffer numbers, scales, sums;
};

void linear(GpuBench& bench, const QuantType& type, int N, int K, int R) {
  const std::vector<std::byte> weight = weightOf(type, N, K);
  const int copies = bench.copiesOf(static_cast<double>(weight.size()));
  std::vector<DeviceBuffer> weights;
  for (int i = 0; i < copies; ++i) weights.push_back(bench.list(weight));
  const auto rows = static_cast<size_t>(R), columns = static_cast<size_t>(N);
  Activations x(bench, type.dtype, rows, static_cast<size_t>(K));
  DeviceBuffer y = bench.room(4 * rows * columns);
  LinearArgs args{};
  args.type = type.dtype;
  args.N = args.ldy = N;
  args.K = K;
  args.R = R;
  args.y = y.as<float>();
  if (x.form == ActivationForm::kFloat32) args.x = x.numbers.as<float>();
  if (x.form == ActivationForm::kBf16) args.xb = x.numbers.as<uint16_t>();
  if (x.form == ActivationForm::kInt8) {
    args.xq = x.numbers.as<int8_t>();
    args.xd = x.scales.as<float>();
    args.xs = x.sums.as<float>();
  }
  const Ops& ops = *bench.kernels().ops;
  const LinearFn product = args.xb != nullptr ? ops.linearBf16 : ops.linear;
  const double bytes = static_cast<double>(weight.size()) + activationCost(R, K, x.form).bytes +
                       floatBytes(R, N);
  bench.measure({bytes, linearFlops(args)}, copies, {args.y, rows * columns}, [&](int i) {
    const std::byte* at = weights[static_cast<size_t>(i)].data();
    if (isInteger(type.dtype)) {
      args.panels = at;
    } else {
      args.weight = at;
    }
    product(args, 0, N, nullptr);
  });
}

}  // namespace

std::vector<GpuCase> linearCases(const GpuShapes& shapes) {
  std::vector<GpuCase> all;
  for (const QuantType& type : quantTypes()) {
    for (const int R : shapes.linearRows) {
      all.push_back({std::string("linear ") + type.name + " x" + std::to_string(R),
                     [&type, R, N = shapes.columns, K = shapes.depth](GpuBench& bench) {
                       linear(bench, type, N, K, R);
                     }});
    }
  }
  return all;
}

}  // namespace baton::bench
