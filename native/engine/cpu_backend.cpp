// SPDX-License-Identifier: Apache-2.0
#include "engine/cpu_backend.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/trace.h"
#include "engine/attention_backward.h"
#include "kernels/cost.h"
#include "kernels/linear/panels.h"

namespace baton {
namespace {

ModelWeights withPanels(const Model& model, const WeightPanels* panels) {
  ModelWeights weights = model;
  if (panels == nullptr) return weights;
  for (LayerWeights& layer : weights.layers) {
    for (Weight* weight : layer.matrices()) weight->panels = panels->of(*weight);
  }
  weights.output.panels = panels->of(weights.output);
  return weights;
}

// What int8 leaves out of rows x [rows, K].
void residual(const QuantizeArgs& quantised, int rows, float* out) {
  const size_t groups = static_cast<size_t>(rows) * static_cast<size_t>(quantised.K / kGroup);
  for (size_t g = 0; g < groups; ++g) {
    for (size_t i = g * kGroup; i < (g + 1) * kGroup; ++i) {
      out[i] = quantised.x[i] - quantised.d[g] * static_cast<float>(quantised.q[i]);
    }
  }
}

}  // namespace

CpuBackend::CpuBackend(std::shared_ptr<const Model> model, const Ops& ops, ThreadPool& threads,
                       const Pool& pool, const ForwardOptions& options)
    : model_(std::move(model)),
      ops_(ops),
      threads_(threads),
      pool_(pool),
      options_(options),
      weights_(withPanels(*model_, options.panels.get())),
      ropes_(ropeTables(model_->config)),
      attention_(model_->config, ops, threads, pool, ropes_, options.int8Activations),
      head_(*hostMemory()) {
  const ModelConfig& c = model_->config;
  if (c.heads / c.kvHeads > kMaxQueries) {
    throw Error(code::kModelUnsupported, std::to_string(c.heads / c.kvHeads) +
                                             " query heads share a kv head; at most " +
                                             std::to_string(kMaxQueries) + " are supported");
  }
  tileFloats_ = tileFloats(options.maxRows);
  tiles_.ensure(2 * tileFloats_ * sizeof(float) * static_cast<size_t>(threads.workers()));
  // The head takes two rows for one.
  head_.ensure(matrixBytes(2 * options.logitRows, c.hidden) / sizeof(float));
  rest_.ensure(matrixBytes(options.logitRows, c.hidden));
  logits_.ensure(matrixBytes(2 * options.logitRows, c.vocab));
  const int widest = std::max({c.hidden, c.heads * c.headDim, c.ffn});
  scratchBytes_ = (linearScratchBytes(widest) + 63) / 64 * 64;
  scratch_.ensure(scratchBytes_ * static_cast<size_t>(threads.workers()));
}

CpuBackend::~CpuBackend() = default;

void CpuBackend::embed(const EmbedArgs& args, int rows) {
  const trace::Scope scope("embed", [&] {
    const auto soft = std::count(args.tokens, args.tokens + rows, -1);
    return embedCost(args, rows - static_cast<int>(soft));
  });
  threads_.forEach(rows, 64, [&](int begin, int end, int) { ops_.embed(args, begin, end); });
}

void CpuBackend::rmsnorm(const RmsNormArgs& args, int rows) {
  if (rows == 0) return;
  const trace::Scope scope("norm", [&] { return rmsnormCost(args, rows); });
  threads_.forEach(rows, 16, [&](int begin, int end, int) { ops_.rmsnorm(args, begin, end); });
}

void CpuBackend::rmsnormQuantize(const RmsNormQuantizeArgs& args, int rows) {
  const trace::Scope scope("norm and quantize", [&] { return rmsnormQuantizeCost(args, rows); });
  threads_.forEach(rows, 16,
                   [&](int begin, int end, int) { ops_.rmsnormQuantize(args, begin, end); });
}

void CpuBackend::quantize(const QuantizeArgs& args, int rows) {
  const trace::Scope scope("quantize", [&] { return quantizeCost(args, rows); });
  threads_.forEach(rows, 16, [&](int begin, int end, int) { ops_.quantize(args, begin, end); });
}

void CpuBackend::toBf16(const ToBf16Args& args, int rows) {
  const trace::Scope scope("to bf16", [&] { return toBf16Cost(args, rows); });
  threads_.forEach(rows, 16, [&](int begin, int end, int) { ops_.toBf16(args, begin, end); });
}

void CpuBackend::addBias(const AddBiasArgs& args, int rows) {
  const trace::Scope scope("add bias", [&] { return addBiasCost(args, rows); });
  threads_.forEach(rows, 16, [&](int begin, int end, int) { ops_.addBias(args, begin, end); });
}

void CpuBackend::attend(const LayerAttention& a) {
  const ModelConfig& c = model_->config;
  const int rows = attention_.plan().rows;
  if (a.qNorm != nullptr) rmsnorm({a.q, a.qNorm, a.q, c.headDim, c.normEpsilon}, rows * c.heads);
  if (a.kNorm != nullptr) rmsnorm({a.k, a.kNorm, a.k, c.headDim, c.normEpsilon}, rows * c.kvHeads);
  attention_.run(a.layer, a.q, a.k, a.v, a.out, a.lse);
}

void* CpuBackend::scratch(int worker) {
  return scratch_.as<std::byte>() + static_cast<size_t>(worker) * scratchBytes_;
}

void CpuBackend::multiplyColumns(const LinearArgs& args, int from, int to, int worker) {
  const LinearFn linear = args.xb != nullptr ? ops_.linearBf16 : ops_.linear;
  linear(args, from, to, scratch(worker));
}

// Column panels of all layers are dealt out together.
void CpuBackend::multiply(const char* name, const LinearArgs* args, int count) {
  int panelEnd[kMostProjections];
  int panels = 0;
  for (int i = 0; i < count; ++i) {
    panels += panelCount(args[i].N);
    panelEnd[i] = panels;
  }
  const trace::Scope scope(name, [&] {
    ActivationForm form{};
    for (int i = 0; i < count; ++i) form = std::max(form, formOf(args[i]));
    Cost cost = activationCost(args[0].R, args[0].K, form);
    for (int i = 0; i < count; ++i) cost += linearCost(args[i]);
    return cost;
  });
  const int grain = std::max(1, panels / (8 * threads_.workers()));
  threads_.forEach(panels, grain, [&](int begin, int end, int worker) {
    for (int i = 0, first = 0; i < count; first = panelEnd[i++]) {
      const int from = (std::max(begin, first) - first) * kPanelColumns;
      const int to = (std::min(end, panelEnd[i]) - first) * kPanelColumns;
      if (from < to) multiplyColumns(args[i], from, std::min(to, args[i].N), worker);
    }
  });
}

// In int8 the head reads two rows for each: the quantised one, and what that leaves out, quantised.
// One alone makes a third of the whole divergence (KL on SmolLM2 3.2e-3 nats with it, 2.2e-3 with
// float32); of two the weights are still read once.
void CpuBackend::head(const LinearArgs& args) {
  LinearArgs head = args;
  head.y = logits_.as<float>();
  head.ldy = args.N;
  const int count = args.R;
  if (!options_.int8Activations || !isInteger(args.type)) {
    multiply("logits", &head, 1);
    return;
  }
  const QuantizeArgs rounded = head_.from(args.x, args.K);
  quantize(rounded, count);
  residual(rounded, count, rest_.as<float>());
  quantize(head_.from(rest_.as<float>(), args.K, count), count);
  head.x = nullptr;
  head.xq = rounded.q;
  head.xd = rounded.d;
  head.xs = rounded.s;
  head.R = 2 * count;
  multiply("logits", &head, 1);
  const auto V = static_cast<size_t>(args.N);
  threads_.forEach(count, 1, [&](int begin, int end, int) {
    float* sum = logits_.as<float>();
    const float* rest = sum + static_cast<size_t>(count) * V;
    for (size_t i = static_cast<size_t>(begin) * V; i < static_cast<size_t>(end) * V; ++i) {
      sum[i] += rest[i];
    }
  });
}

float* CpuBackend::logits(int row, int) {
  return logits_.as<float>() + static_cast<size_t>(row) * static_cast<size_t>(model_->config.vocab);
}

void CpuBackend::sample(const SampleWanted* wanted, int count, Sampled* out) {
  const int vocab = model_->config.vocab;
  const trace::Scope scope("sample", [&] { return Cost{count, 4.0 * vocab * count, 0, 0}; });
  sampleRows(logits_.as<float>(), vocab, wanted, count, out);
}

}  // namespace baton
