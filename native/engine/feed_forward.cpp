// SPDX-License-Identifier: Apache-2.0
// The gated unit of a layer: what Forward does between attention and the next layer.
#include <algorithm>
#include <cstring>

#include "base/trace.h"
#include "engine/forward.h"
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

size_t Forward::tileFloats(int rows) {
  return static_cast<size_t>(std::max(rows * kGroup, kTileFloats));
}

void Forward::feedForward(const LayerWeights& w, LayerActivations* keep) {
  gateUp(w, keep);
  addToStream("linear down", {hidden_.as<float>(), &gated_}, w.down, w.ffnPostNorm,
              keep ? &keep->ffnOut : nullptr);
}

// To gated_ where down takes int8, else to hidden_. A worker has the same columns of gate and up,
// in whole groups of 32, and makes of them what down reads while they are in its cache. They do not
// lie in rows of all columns: as far apart as those are, their lines push each other out.
void Forward::gateUp(const LayerWeights& w, LayerActivations* keep) {
  const int F = model_->config.ffn;
  const Projection pair[] = {{&w.gate, nullptr, F, false}, {&w.up, nullptr, F, false}};
  const Activations a = normedFor(w.ffnNorm, pair, 2);
  const LinearArgs gate = argsOf(pair[0], a, rows_), up = argsOf(pair[1], a, rows_);
  if (keep != nullptr) {
    keep->gate.resize(static_cast<size_t>(rows_) * static_cast<size_t>(F));
    keep->up.resize(keep->gate.size());
  }
  const trace::Scope scope("linear gate up glu", [&] {
    const bool gelu = model_->config.activation == Activation::kGelu;
    Cost cost = activationCost(rows_, gate.K, std::max(formOf(gate), formOf(up)));
    cost += linearCost(gate);
    cost += linearCost(up);
    return cost += gateUpCost(F, rows_, gelu, keep != nullptr, takesInt8(w.down));
  });
  const int groups = (F + kGroup - 1) / kGroup;
  const int grain = std::max(1, groups / (8 * threads_.workers()));
  threads_.forEach(groups, grain, [&](int begin, int end, int worker) {
    float* const tile = tiles_.as<float>() + static_cast<size_t>(2 * worker) * tileFloats_;
    const int last = std::min(end * kGroup, F);
    for (int from = begin * kGroup, count; from < last; from += count) {
      count = std::min(tileColumns(rows_), last - from);
      multiplyColumns(columns(gate, from, count, tile), 0, count, worker);
      multiplyColumns(columns(up, from, count, tile + tileFloats_), 0, count, worker);
      activate(tile, from, count, takesInt8(w.down), keep);
    }
  });
}

// A tile of gate and one of up, [rows, count], to the columns from `from` on of what down reads.
void Forward::activate(float* tile, int from, int count, bool quantised, LayerActivations* keep) {
  const ModelConfig& c = model_->config;
  const auto width = static_cast<size_t>(count), F = static_cast<size_t>(c.ffn);
  const auto rows = static_cast<size_t>(rows_);
  const float* const up = tile + tileFloats_;
  const auto spread = [&](const float* values, float* to) {
    for (size_t row = 0; row < rows; ++row) {
      std::memcpy(to + row * F + static_cast<size_t>(from), values + row * width,
                  width * sizeof(float));
    }
  };
  if (keep != nullptr) {
    spread(tile, keep->gate.data());
    spread(up, keep->up.data());
  }
  const GluFn glu = c.activation == Activation::kGelu ? ops_.geglu : ops_.swiglu;
  glu({tile, up, tile, count}, 0, rows_);
  if (!quantised) return spread(tile, hidden_.as<float>());
  const QuantizeArgs to = gated_.from(nullptr, c.ffn);
  for (size_t row = 0; row < rows; ++row) {
    const size_t at = row * F + static_cast<size_t>(from), group = at / kGroup;
    ops_.quantize({tile + row * width, to.q + at, to.d + group, to.s + group, count}, 0, 1);
  }
}

}  // namespace baton
