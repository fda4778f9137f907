// SPDX-License-Identifier: Apache-2.0
#include "tune/layer_backward.h"

#include "base/trace.h"

namespace baton {
LayerBackward::LayerBackward(std::shared_ptr<const Model> model, Backend& backend)
    : model_(std::move(model)),
      backend_(backend),
      dadded_(backend.memory()),
      dhidden_(backend.memory()),
      dup_(backend.memory()),
      dnormed_(backend.memory()),
      dattended_(backend.memory()),
      dq_(backend.memory()),
      dk_(backend.memory()),
      dv_(backend.memory()) {}

void LayerBackward::plan(const Batch& batch, std::vector<KvGradient>& outside,
                         const std::vector<KvGradient>& incoming) {
  backend_.planBackward(batch, outside);
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
  constexpr const char* kGradients = "the gradients of a layer";
  dadded_.ensure(matrixBytes(rows_, c.hidden), kGradients);
  dhidden_.ensure(matrixBytes(rows_, c.ffn), kGradients);
  dup_.ensure(matrixBytes(rows_, c.ffn), kGradients);
  dnormed_.ensure(matrixBytes(rows_, c.hidden), kGradients);
  dattended_.ensure(matrixBytes(rows_, width), kGradients);
  dq_.ensure(matrixBytes(rows_, width), kGradients);
  dk_.ensure(matrixBytes(rows_, kvWidth), kGradients);
  dv_.ensure(matrixBytes(rows_, kvWidth), kGradients);
}

void LayerBackward::run(int layer, const float* input, const LayerActivations& kept, float* dx,
                        bool toInput) {
  const trace::Scope scope("d layer", "layer", layer);
  const LayerWeights& w = backend_.weights().layers[static_cast<size_t>(layer)];
  feedForward(w, kept, dx);
  attention(layer, w, input, kept, dx, toInput);
}

void LayerBackward::feedForward(const LayerWeights& w, const LayerActivations& kept, float* dx) {
  const ModelConfig& c = model_->config;
  float* dhidden = dhidden_.as<float>();
  float* dup = dup_.as<float>();
  float* dnormed = dnormed_.as<float>();
  backend_.multiplyBackward("d linear down", w.down, postNorm(w.ffnPostNorm, kept.ffnOut, dx),
                            dhidden, rows_, false);
  backend_.gateBackward({kept.gate.as<float>(), kept.up.as<float>(), dhidden, dhidden, dup, c.ffn},
                        c.activation, rows_);
  backend_.multiplyBackward("d linear gate", w.gate, dhidden, dnormed, rows_, false);
  backend_.multiplyBackward("d linear up", w.up, dup, dnormed, rows_, true);
  backend_.rmsnormBackward(
      {kept.middle.as<float>(), w.ffnNorm, dnormed, dx, c.hidden, c.normEpsilon, true}, rows_);
}

void LayerBackward::attention(int layer, const LayerWeights& w, const float* input,
                              const LayerActivations& kept, float* dx, bool toInput) {
  const ModelConfig& c = model_->config;
  float* dattended = dattended_.as<float>();
  float* dnormed = dnormed_.as<float>();
  backend_.multiplyBackward("d linear o", w.o, postNorm(w.attnPostNorm, kept.attnOut, dx),
                            dattended, rows_, false);
  LayerAttentionBackward args{layer,
                              kept.q.as<float>(),
                              w.qNorm,
                              kept.attended.as<float>(),
                              kept.lse.as<float>(),
                              dattended,
                              nullptr,
                              nullptr,
                              nullptr};
  if (!toInput) return backend_.attendBackward(args);
  takeIncoming(layer);
  float* dq = args.dq = dq_.as<float>();
  float* dk = args.dk = dk_.as<float>();
  args.dv = dv_.as<float>();
  backend_.attendBackward(args);
  if (w.qNorm != nullptr) {
    backend_.rmsnormBackward({kept.qIn.as<float>(), w.qNorm, dq, dq, c.headDim, c.normEpsilon},
                             rows_ * c.heads);
  }
  if (w.kNorm != nullptr) {
    backend_.rmsnormBackward({kept.kIn.as<float>(), w.kNorm, dk, dk, c.headDim, c.normEpsilon},
                             rows_ * c.kvHeads);
  }
  backend_.multiplyBackward("d linear q", w.q, dq, dnormed, rows_, false);
  backend_.multiplyBackward("d linear k", w.k, dk, dnormed, rows_, true);
  backend_.multiplyBackward("d linear v", w.v, args.dv, dnormed, rows_, true);
  backend_.rmsnormBackward({input, w.attnNorm, dnormed, dx, c.hidden, c.normEpsilon, true}, rows_);
}

// Through the norm between a half and the stream, in families that have one.
const float* LayerBackward::postNorm(const float* weight, const DeviceBuffer& kept,
                                     const float* dx) {
  if (weight == nullptr) return dx;
  const ModelConfig& c = model_->config;
  backend_.rmsnormBackward(
      {kept.as<float>(), weight, dx, dadded_.as<float>(), c.hidden, c.normEpsilon}, rows_);
  return dadded_.as<float>();
}

void LayerBackward::takeIncoming(int layer) {
  const int width = model_->config.kvHeads * model_->config.headDim;
  Memory& memory = backend_.memory();
  memory.fill(dk_.data(), 0, matrixBytes(rows_, width));
  memory.fill(dv_.data(), 0, matrixBytes(rows_, width));
  for (const Incoming& one : incoming_) {
    const size_t bytes = matrixBytes(one.gradient->rows, width);
    const size_t from = static_cast<size_t>(layer) * bytes, to = matrixBytes(one.batchRow, width);
    memory.copy(dk_.data() + to, one.gradient->dk.data() + from, bytes);
    memory.copy(dv_.data() + to, one.gradient->dv.data() + from, bytes);
  }
}

}  // namespace baton
