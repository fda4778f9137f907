// SPDX-License-Identifier: Apache-2.0
#include "tune/layer_backward.h"

#include <algorithm>
#include <cstring>

#include "base/trace.h"
#include "kernels/cost.h"

namespace baton {
namespace {

constexpr int kSliceRows = 64;  // fewer rows do not pay for dequantising a panel once more

// How a product is cut for the workers: columns of a panel, slices of the rows.
struct Cut {
  int columns, slices;
};

// The one that ends first, by what a kernel does for each item: rows times tiles of columns, a tile
// of weights made for so many rows as it costs, and dY made into its operand once for all tiles.
// Equal items that the workers do not share evenly cost the most.
Cut cutFor(int rows, int columns, int workers, bool bf16) {
  constexpr double kWeights = 14, kGradients = 0.15;
  const int held = bf16 ? kDLinearRowsBf16 : kDLinearRows;
  Cut best{kDLinearColumns, 1};
  double least = 0;
  for (int wide = kDLinearColumns; wide <= 4 * kDLinearColumns; wide += kDLinearColumns) {
    const int panels = (columns + wide - 1) / wide, tiles = wide / kDLinearTile;
    for (int slices = 1; slices <= std::max(1, rows / kSliceRows); ++slices) {
      const int each = (rows + slices - 1) / slices;
      const int unpacked = (each + held - 1) / held;
      const int turns = (panels * slices + workers - 1) / workers;
      const double time = turns * (tiles * (each + kWeights * unpacked) + kGradients * each);
      if (least != 0 && time >= least) continue;
      least = time;
      best = {wide, slices};
    }
  }
  return best;
}

size_t floats(int rows, int cols) {
  return static_cast<size_t>(rows) * static_cast<size_t>(cols) * sizeof(float);
}

}  // namespace

// Columns in panels, rows in slices.
void linearBackward(const char* name, const Ops& ops, ThreadPool& threads, Buffer& scratch,
                    const Weight& weight, const float* dy, float* dx, int rows, bool accumulate,
                    bool fast) {
  const DLinearArgs whole{.weight = weight.data,
                          .type = weight.type,
                          .N = weight.rows,
                          .K = weight.cols,
                          .dy = dy,
                          .ldy = weight.rows,
                          .dx = dx,
                          .ldx = weight.cols,
                          .R = rows,
                          .accumulate = accumulate,
                          .bf16 = fast && weight.type != DType::kF32 && weight.type != DType::kF16};
  const trace::Scope scope(name, [&] { return dLinearCost(whole); });
  const size_t bytes = (dLinearScratchBytes() + 63) / 64 * 64;
  scratch.ensure(bytes * static_cast<size_t>(threads.workers()));
  const Cut cut = cutFor(rows, weight.cols, threads.workers(), whole.bf16);
  const int columns = cut.columns, slices = cut.slices;
  const int panels = (weight.cols + columns - 1) / columns;
  threads.forEach(panels * slices, 1, [&](int begin, int end, int worker) {
    for (int item = begin; item < end; ++item) {
      const int from = rows * (item % slices) / slices;
      const int to = rows * (item % slices + 1) / slices;
      DLinearArgs args = whole;
      args.dy += static_cast<size_t>(from) * static_cast<size_t>(weight.rows);
      args.dx += static_cast<size_t>(from) * static_cast<size_t>(weight.cols);
      args.R = to - from;
      const int k0 = item / slices * columns;
      ops.dLinear(args, k0, std::min(k0 + columns, weight.cols),
                  scratch.as<std::byte>() + static_cast<size_t>(worker) * bytes);
    }
  });
}

LayerBackward::LayerBackward(std::shared_ptr<const Model> model, const Ops& ops,
                             ThreadPool& threads, const Pool& pool,
                             const std::vector<RopeTable>& ropes, bool fast)
    : model_(std::move(model)),
      ops_(ops),
      threads_(threads),
      fast_(fast),
      attention_(model_->config, ops, threads, pool, ropes, fast) {}

void LayerBackward::plan(const AttentionPlan& plan, const Batch& batch,
                         std::vector<KvGradient>& outside,
                         const std::vector<KvGradient>& incoming) {
  attention_.plan(plan, batch, outside);
  rows_ = batch.rows;
  incoming_.clear();
  for (const Run& run : batch.runs) {
    for (const KvGradient& gradient : incoming) {
      if (gradient.segment == run.segment) incoming_.push_back({run.batchRow, &gradient});
    }
  }
  const ModelConfig& c = model_->config;
  const int width = c.heads * c.headDim;
  const int kvWidth = c.kvHeads * c.headDim;
  dadded_.ensure(floats(rows_, c.hidden));
  dhidden_.ensure(floats(rows_, c.ffn));
  dup_.ensure(floats(rows_, c.ffn));
  dnormed_.ensure(floats(rows_, c.hidden));
  dattended_.ensure(floats(rows_, width));
  dq_.ensure(floats(rows_, width));
  dk_.ensure(floats(rows_, kvWidth));
  dv_.ensure(floats(rows_, kvWidth));
}

void LayerBackward::run(int layer, const std::vector<float>& input, const LayerActivations& kept,
                        float* dx, bool toInput) {
  const trace::Scope scope("d layer", "layer", layer);
  const LayerWeights& w = model_->layers[static_cast<size_t>(layer)];
  feedForward(w, kept, dx);
  attention(layer, w, input, kept, dx, toInput);
}

void LayerBackward::feedForward(const LayerWeights& w, const LayerActivations& kept, float* dx) {
  const ModelConfig& c = model_->config;
  float* dhidden = dhidden_.as<float>();
  float* dup = dup_.as<float>();
  float* dnormed = dnormed_.as<float>();
  linear("d linear down", w.down, postNorm(w.ffnPostNorm, kept.ffnOut, dx), dhidden, false);
  gate({kept.gate.data(), kept.up.data(), dhidden, dhidden, dup, c.ffn});
  linear("d linear gate", w.gate, dhidden, dnormed, false);
  linear("d linear up", w.up, dup, dnormed, true);
  rmsnorm({kept.middle.data(), w.ffnNorm, dnormed, dx, c.hidden, c.normEpsilon, true}, rows_);
}

void LayerBackward::attention(int layer, const LayerWeights& w, const std::vector<float>& input,
                              const LayerActivations& kept, float* dx, bool toInput) {
  const ModelConfig& c = model_->config;
  float* dattended = dattended_.as<float>();
  float* dnormed = dnormed_.as<float>();
  float* dq = dq_.as<float>();
  float* dk = dk_.as<float>();
  float* dv = dv_.as<float>();
  linear("d linear o", w.o, postNorm(w.attnPostNorm, kept.attnOut, dx), dattended, false);
  if (!toInput) return attention_.run(layer, kept, dattended, nullptr, nullptr, nullptr);
  takeIncoming(layer);
  attention_.run(layer, kept, dattended, dq, dk, dv);
  if (w.qNorm != nullptr)
    rmsnorm({kept.qIn.data(), w.qNorm, dq, dq, c.headDim, c.normEpsilon}, rows_ * c.heads);
  if (w.kNorm != nullptr)
    rmsnorm({kept.kIn.data(), w.kNorm, dk, dk, c.headDim, c.normEpsilon}, rows_ * c.kvHeads);
  linear("d linear q", w.q, dq, dnormed, false);
  linear("d linear k", w.k, dk, dnormed, true);
  linear("d linear v", w.v, dv, dnormed, true);
  rmsnorm({input.data(), w.attnNorm, dnormed, dx, c.hidden, c.normEpsilon, true}, rows_);
}

// Through the norm between a half and the stream, in families that have one.
const float* LayerBackward::postNorm(const float* weight, const std::vector<float>& kept,
                                     const float* dx) {
  if (weight == nullptr) return dx;
  const ModelConfig& c = model_->config;
  rmsnorm({kept.data(), weight, dx, dadded_.as<float>(), c.hidden, c.normEpsilon}, rows_);
  return dadded_.as<float>();
}

void LayerBackward::takeIncoming(int layer) {
  const auto width = static_cast<size_t>(model_->config.kvHeads * model_->config.headDim);
  std::memset(dk_.data(), 0, static_cast<size_t>(rows_) * width * sizeof(float));
  std::memset(dv_.data(), 0, static_cast<size_t>(rows_) * width * sizeof(float));
  for (const Incoming& one : incoming_) {
    const size_t count = static_cast<size_t>(one.gradient->rows) * width;
    const size_t from = static_cast<size_t>(layer) * count;
    const size_t to = static_cast<size_t>(one.batchRow) * width;
    std::copy_n(one.gradient->dk.data() + from, count, dk_.as<float>() + to);
    std::copy_n(one.gradient->dv.data() + from, count, dv_.as<float>() + to);
  }
}

void LayerBackward::gate(const DGluArgs& args) {
  const bool gelu = model_->config.activation == Activation::kGelu;
  const trace::Scope scope("d glu", [&] { return dGluCost(args, rows_, gelu); });
  const DGluFn gated = gelu ? ops_.dGeglu : ops_.dSwiglu;
  threads_.forEach(rows_, 8, [&](int begin, int end, int) { gated(args, begin, end); });
}

void LayerBackward::linear(const char* name, const Weight& weight, const float* dy, float* dx,
                           bool accumulate) {
  linearBackward(name, ops_, threads_, scratch_, weight, dy, dx, rows_, accumulate, fast_);
}

void LayerBackward::rmsnorm(const DRmsNormArgs& args, int rows) {
  const trace::Scope scope("d norm", [&] { return dRmsnormCost(args, rows); });
  threads_.forEach(rows, 16, [&](int begin, int end, int) { ops_.dRmsnorm(args, begin, end); });
}

}  // namespace baton
