// SPDX-License-Identifier: Apache-2.0
#include "engine/forward.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/error.h"
#include "base/trace.h"
#include "kernels/cost.h"
#include "kernels/linear/panels.h"

namespace baton {
namespace {

size_t floats(int rows, int cols) {
  return static_cast<size_t>(rows) * static_cast<size_t>(cols) * sizeof(float);
}

std::vector<RopeTable> ropeTables(const ModelConfig& config) {
  std::vector<RopeTable> tables;
  for (const RopeSpec& spec : config.ropes) tables.emplace_back(config.headDim, spec);
  return tables;
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

Forward::Forward(std::shared_ptr<const Model> model, const Ops& ops, ThreadPool& threads,
                 const Pool& pool, const ForwardOptions& options)
    : model_(std::move(model)),
      ops_(ops),
      threads_(threads),
      options_(options),
      ropes_(ropeTables(model_->config)),
      attention_(model_->config, ops, threads, pool, ropes_) {
  const ModelConfig& c = model_->config;
  if (c.heads / c.kvHeads > kMaxQueries) {
    throw Error(code::kModelUnsupported, std::to_string(c.heads / c.kvHeads) +
                                             " query heads share a kv head; at most " +
                                             std::to_string(kMaxQueries) + " are supported");
  }
  const int R = options.maxRows;
  const int wide = std::max({c.hidden, c.ffn, c.heads * c.headDim});
  x_.ensure(floats(R, c.hidden));
  normed_.ensure(floats(R, c.hidden));
  q_.ensure(floats(R, c.heads * c.headDim));
  k_.ensure(floats(R, c.kvHeads * c.headDim));
  v_.ensure(floats(R, c.kvHeads * c.headDim));
  attended_.ensure(floats(R, c.heads * c.headDim));
  gate_.ensure(floats(R, c.ffn));
  up_.ensure(floats(R, c.ffn));
  // The head takes two rows for one, of which there are no more than rows.
  const size_t quantised =
      std::max(floats(R, wide), floats(2 * std::min(R, options.logitRows), c.hidden));
  xq_.ensure(quantised / sizeof(float));
  xd_.ensure(quantised / kGroup);
  xs_.ensure(quantised / kGroup);
  final_.ensure(floats(R, c.hidden));
  logits_.ensure(floats(2 * options.logitRows, c.vocab));
  scratchBytes_ = (linearScratchBytes(wide) + 63) / 64 * 64;
  scratch_.ensure(scratchBytes_ * static_cast<size_t>(threads.workers()));
  tokens_.resize(static_cast<size_t>(R));
}

void Forward::prepare(const Batch& batch) {
  rows_ = batch.rows;
  attention_.plan(batch);
}

bool Forward::run(const Batch& batch, Tape* tape, const std::function<bool()>& goOn) {
  const trace::Scope scope("forward", "batch rows", batch.rows);
  const ModelConfig& c = model_->config;
  prepare(batch);
  embed(batch);
  if (tape != nullptr) {
    tape->layerInput.resize(static_cast<size_t>(c.layers));
    tape->kept.resize(static_cast<size_t>(tape->keptLayers));
  }
  for (int index = 0; index < c.layers; ++index) {
    if (!goOn()) return false;
    LayerActivations* keep = nullptr;
    if (tape != nullptr) {
      keepRows(tape->layerInput[static_cast<size_t>(index)], x_.as<float>(), c.hidden);
      const int kept = index - (c.layers - tape->keptLayers);
      if (kept >= 0) keep = &tape->kept[static_cast<size_t>(kept)];
    }
    layer(index, keep);
  }
  const auto M = static_cast<size_t>(c.hidden);
  float* wanted = final_.as<float>();
  for (const int row : batch.logitRows) {
    std::memcpy(wanted, x_.as<float>() + static_cast<size_t>(row) * M, M * sizeof(float));
    wanted += M;
  }
  if (tape != nullptr) tape->output.assign(final_.as<float>(), wanted);
  rmsnorm({final_.as<float>(), model_->outputNorm, final_.as<float>(), c.hidden, c.normEpsilon},
          static_cast<int>(batch.logitRows.size()));
  return true;
}

void Forward::embed(const Batch& batch) {
  const auto M = static_cast<size_t>(model_->config.hidden);
  for (const Run& run : batch.runs) {
    for (int row = 0; row < run.count; ++row) {
      tokens_[static_cast<size_t>(run.batchRow + row)] =
          run.tokens != nullptr ? run.tokens[row] : -1;
    }
    if (run.embeddings != nullptr) {
      std::memcpy(x_.as<float>() + static_cast<size_t>(run.batchRow) * M, run.embeddings,
                  static_cast<size_t>(run.count) * M * sizeof(float));
    }
  }
  const EmbedArgs args{model_->embedding.data, model_->embedding.type,
                       model_->config.hidden,  tokens_.data(),
                       x_.as<float>(),         model_->config.embeddingScale};
  const trace::Scope scope("embed", [&] {
    const auto soft = std::count(tokens_.begin(), tokens_.begin() + rows_, -1);
    return embedCost(args, rows_ - static_cast<int>(soft));
  });
  threads_.forEach(rows_, 64, [&](int begin, int end, int) { ops_.embed(args, begin, end); });
}

void Forward::recompute(int index, const std::vector<float>& input, LayerActivations& into) {
  std::copy(input.begin(), input.end(), x_.as<float>());
  layer(index, &into);
}

void Forward::keepRows(std::vector<float>& into, const float* from, int width) const {
  into.assign(from, from + static_cast<size_t>(rows_) * static_cast<size_t>(width));
}

void Forward::layer(int index, LayerActivations* keep) {
  const trace::Scope scope("layer", "layer", index);
  const ModelConfig& c = model_->config;
  const LayerWeights& w = model_->layers[static_cast<size_t>(index)];
  float* x = x_.as<float>();
  float* normed = normed_.as<float>();
  float* q = q_.as<float>();
  float* k = k_.as<float>();
  float* v = v_.as<float>();
  const int width = c.heads * c.headDim;
  const int kvWidth = c.kvHeads * c.headDim;

  rmsnorm({x, w.attnNorm, normed, c.hidden, c.normEpsilon}, rows_);
  const Projection qkv[] = {
      {&w.q, q, width, false}, {&w.k, k, kvWidth, false}, {&w.v, v, kvWidth, false}};
  linear("linear qkv", normed, rows_, qkv, 3);
  addBias(w.qBias, q, width);
  addBias(w.kBias, k, kvWidth);
  addBias(w.vBias, v, kvWidth);
  if (keep != nullptr && w.qNorm != nullptr) keepRows(keep->qIn, q, width);
  if (keep != nullptr && w.kNorm != nullptr) keepRows(keep->kIn, k, kvWidth);
  if (w.qNorm != nullptr) rmsnorm({q, w.qNorm, q, c.headDim, c.normEpsilon}, rows_ * c.heads);
  if (w.kNorm != nullptr) rmsnorm({k, w.kNorm, k, c.headDim, c.normEpsilon}, rows_ * c.kvHeads);
  float* lse = nullptr;
  if (keep != nullptr) {
    keepRows(keep->q, q, width);
    keep->lse.resize(static_cast<size_t>(rows_) * static_cast<size_t>(c.heads));
    lse = keep->lse.data();
  }
  attention_.run(index, q, k, v, attended_.as<float>(), lse);
  if (keep != nullptr) keepRows(keep->attended, attended_.as<float>(), width);
  addToStream("linear o", attended_.as<float>(), w.o, w.attnPostNorm,
              keep ? &keep->attnOut : nullptr);
  if (keep != nullptr) keepRows(keep->middle, x, c.hidden);

  rmsnorm({x, w.ffnNorm, normed, c.hidden, c.normEpsilon}, rows_);
  const Projection gateUp[] = {{&w.gate, gate_.as<float>(), c.ffn, false},
                               {&w.up, up_.as<float>(), c.ffn, false}};
  linear("linear gate up", normed, rows_, gateUp, 2);
  if (keep != nullptr) {
    keepRows(keep->gate, gate_.as<float>(), c.ffn);
    keepRows(keep->up, up_.as<float>(), c.ffn);
  }
  const GluArgs glu{gate_.as<float>(), up_.as<float>(), gate_.as<float>(), c.ffn};
  gate(glu);
  addToStream("linear down", gate_.as<float>(), w.down, w.ffnPostNorm,
              keep ? &keep->ffnOut : nullptr);
}

// x += W a, or x += norm(W a) and W a is kept.
void Forward::addToStream(const char* name, const float* a, const Weight& weight,
                          const float* postNorm, std::vector<float>* keep) {
  const ModelConfig& c = model_->config;
  float* x = x_.as<float>();
  float* to = postNorm == nullptr ? x : normed_.as<float>();  // what was normed has been read
  const Projection out{&weight, to, c.hidden, postNorm == nullptr};
  linear(name, a, rows_, &out, 1);
  if (postNorm == nullptr) return;
  if (keep != nullptr) keepRows(*keep, to, c.hidden);
  rmsnorm({to, postNorm, x, c.hidden, c.normEpsilon, true}, rows_);
}

void Forward::addBias(const float* bias, float* y, int width) {
  if (bias == nullptr) return;
  const AddBiasArgs args{bias, y, width};
  const trace::Scope scope("add bias", [&] { return addBiasCost(args, rows_); });
  threads_.forEach(rows_, 16, [&](int begin, int end, int) { ops_.addBias(args, begin, end); });
}

void Forward::gate(const GluArgs& args) {
  const bool gelu = model_->config.activation == Activation::kGelu;
  const trace::Scope scope("glu", [&] { return gluCost(args, rows_, gelu); });
  const GluFn gated = gelu ? ops_.geglu : ops_.swiglu;
  threads_.forEach(rows_, 8, [&](int begin, int end, int) { gated(args, begin, end); });
}

void Forward::rmsnorm(const RmsNormArgs& args, int rows) {
  if (rows == 0) return;
  const trace::Scope scope("norm", [&] { return rmsnormCost(args, rows); });
  threads_.forEach(rows, 16, [&](int begin, int end, int) { ops_.rmsnorm(args, begin, end); });
}

// All projections read the same x [rows, K].
void Forward::linear(const char* name, const float* x, int rows, const Projection* projections,
                     int count) {
  bool int8 = false;
  for (int i = 0; i < count; ++i) int8 = int8 || takesInt8(*projections[i].weight);
  if (int8) quantize(x, rows, projections[0].weight->cols, 0);
  multiply(name, x, rows, projections, count);
}

bool Forward::takesInt8(const Weight& weight) const {
  return options_.int8Activations && isInteger(weight.type);
}

QuantizeArgs Forward::quantize(const float* x, int rows, int K, int at) {
  const auto values = static_cast<size_t>(at) * static_cast<size_t>(K);
  const size_t groups = values / kGroup;
  const QuantizeArgs args{x, xq_.as<int8_t>() + values, xd_.as<float>() + groups,
                          xs_.as<float>() + groups, K};
  const trace::Scope scope("quantize", [&] { return quantizeCost(args, rows); });
  threads_.forEach(rows, 16, [&](int begin, int end, int) { ops_.quantize(args, begin, end); });
  return args;
}

// Their column panels are dealt out together.
void Forward::multiply(const char* name, const float* x, int rows, const Projection* projections,
                       int count) {
  constexpr int kMost = 3;
  LinearArgs args[kMost];
  int panelEnd[kMost];
  int panels = 0;
  bool int8 = false;
  const int K = projections[0].weight->cols;
  for (int i = 0; i < count; ++i) {
    const Weight& weight = *projections[i].weight;
    const bool quantised = takesInt8(weight);
    int8 = int8 || quantised;
    args[i] = {.weight = weight.data,
               .panels = options_.panels == nullptr ? nullptr : options_.panels->of(weight),
               .type = weight.type,
               .N = weight.rows,
               .K = K,
               .x = quantised ? nullptr : x,
               .xq = quantised ? xq_.as<int8_t>() : nullptr,
               .xd = quantised ? xd_.as<float>() : nullptr,
               .xs = quantised ? xs_.as<float>() : nullptr,
               .y = projections[i].y,
               .ldy = projections[i].ldy,
               .R = rows,
               .accumulate = projections[i].accumulate,
               .invariant = options_.batchInvariant};
    panels += panelCount(weight.rows);
    panelEnd[i] = panels;
  }
  const trace::Scope scope(name, [&] {
    Cost cost = activationCost(rows, K, int8);
    for (int i = 0; i < count; ++i) cost += linearCost(args[i]);
    return cost;
  });
  const int grain = std::max(1, panels / (8 * threads_.workers()));
  threads_.forEach(panels, grain, [&](int begin, int end, int worker) {
    std::byte* scratch = scratch_.as<std::byte>() + static_cast<size_t>(worker) * scratchBytes_;
    for (int i = 0, first = 0; i < count; first = panelEnd[i++]) {
      const int from = (std::max(begin, first) - first) * kPanelColumns;
      const int to = (std::min(end, panelEnd[i]) - first) * kPanelColumns;
      if (from < to) ops_.linear(args[i], from, std::min(to, args[i].N), scratch);
    }
  });
}

// In int8 the head reads two rows for each: the quantised one, and what that leaves out, quantised.
// One alone makes a third of the whole divergence (KL on SmolLM2 3.2e-3 nats with it, 2.2e-3 with
// float32); of two the weights are still read once.
float* Forward::logits(int first, int count) {
  const ModelConfig& c = model_->config;
  const float* x = final_.as<float>() + static_cast<size_t>(first) * static_cast<size_t>(c.hidden);
  const Projection head{&model_->output, logits_.as<float>(), c.vocab, false};
  if (!takesInt8(model_->output)) {
    multiply("logits", x, count, &head, 1);
    return logits_.as<float>();
  }
  residual(quantize(x, count, c.hidden, 0), count, normed_.as<float>());
  quantize(normed_.as<float>(), count, c.hidden, count);
  multiply("logits", nullptr, 2 * count, &head, 1);
  const auto V = static_cast<size_t>(c.vocab);
  threads_.forEach(count, 1, [&](int begin, int end, int) {
    float* sum = logits_.as<float>();
    const float* rest = sum + static_cast<size_t>(count) * V;
    for (size_t i = static_cast<size_t>(begin) * V; i < static_cast<size_t>(end) * V; ++i) {
      sum[i] += rest[i];
    }
  });
  return logits_.as<float>();
}

}  // namespace baton
