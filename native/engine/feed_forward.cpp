// SPDX-License-Identifier: Apache-2.0
// Gate, up and their activation on a CPU.
#include <algorithm>
#include <cstring>

#include "base/trace.h"
#include "engine/cpu_backend.h"
#include "kernels/cost.h"
#include "kernels/linear/panels.h"

namespace baton {
namespace {

// Of a tile, where it is not 32 columns of all rows: 64 KB, so that two stay in a cache of a core.
constexpr int kTileFloats = 1 << 14;

int tileColumns(int rows) {
  return std::max(kGroup, kTileFloats / rows / kGroup * kGroup);
}

// Columns [from, from + count) of a linear layer, to y [R, count].
LinearArgs columns(LinearArgs a, int from, int count, float* y) {
  const auto panels = static_cast<size_t>(from / kPanelColumns);
  a.weight =
      static_cast<const std::byte*>(a.weight) + static_cast<size_t>(from) * rowBytes(a.type, a.K);
  if (a.panels != nullptr) a.panels += panels * panelBytes(a.type, a.K);
  a.N = a.ldy = count;
  a.y = y;
  return a;
}

}  // namespace

size_t CpuBackend::tileFloats(int rows) {
  return static_cast<size_t>(std::max(rows * kGroup, kTileFloats));
}

// A worker has the same columns of gate and up, in whole groups of 32, and makes of them what down
// reads while they are in its cache. They do not lie in rows of all columns: as far apart as those
// are, their lines push each other out.
void CpuBackend::gateUp(const GateUp& args) {
  const LinearArgs &gate = args.gate, &up = args.up;
  const int F = gate.N, rows = gate.R;
  const trace::Scope scope("linear gate up glu", [&] {
    const bool gelu = args.activation == Activation::kGelu;
    Cost cost = activationCost(rows, gate.K, std::max(formOf(gate), formOf(up)));
    cost += linearCost(gate);
    cost += linearCost(up);
    return cost += gateUpCost(F, rows, gelu, args.keptGate != nullptr, args.hidden == nullptr);
  });
  const int groups = (F + kGroup - 1) / kGroup;
  const int grain = std::max(1, groups / (8 * threads_.workers()));
  threads_.forEach(groups, grain, [&](int begin, int end, int worker) {
    float* const tile = tiles_.as<float>() + static_cast<size_t>(2 * worker) * tileFloats_;
    const int last = std::min(end * kGroup, F);
    for (int from = begin * kGroup, count; from < last; from += count) {
      count = std::min(tileColumns(rows), last - from);
      multiplyColumns(columns(gate, from, count, tile), 0, count, worker);
      multiplyColumns(columns(up, from, count, tile + tileFloats_), 0, count, worker);
      activate(args, tile, from, count);
    }
  });
}

// A tile of gate and one of up, [rows, count], to the columns from `from` on of what down reads.
void CpuBackend::activate(const GateUp& args, float* tile, int from, int count) {
  const auto width = static_cast<size_t>(count), F = static_cast<size_t>(args.gate.N);
  const auto rows = static_cast<size_t>(args.gate.R);
  const float* const up = tile + tileFloats_;
  const auto spread = [&](const float* values, float* to) {
    for (size_t row = 0; row < rows; ++row) {
      std::memcpy(to + row * F + static_cast<size_t>(from), values + row * width,
                  width * sizeof(float));
    }
  };
  if (args.keptGate != nullptr) {
    spread(tile, args.keptGate);
    spread(up, args.keptUp);
  }
  const GluFn glu = args.activation == Activation::kGelu ? ops_.geglu : ops_.swiglu;
  glu({tile, up, tile, count}, 0, args.gate.R);
  if (args.hidden != nullptr) return spread(tile, args.hidden);
  const QuantizeArgs& to = args.quantised;
  for (size_t row = 0; row < rows; ++row) {
    const size_t at = row * F + static_cast<size_t>(from), group = at / kGroup;
    ops_.quantize({tile + row * width, to.q + at, to.d + group, to.s + group, count}, 0, 1);
  }
}

}  // namespace baton
