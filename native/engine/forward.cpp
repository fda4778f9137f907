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
      attention_(model_->config, ops, threads, pool, ropes_, options.int8Activations) {
  const ModelConfig& c = model_->config;
  if (c.heads / c.kvHeads > kMaxQueries) {
    throw Error(code::kModelUnsupported, std::to_string(c.heads / c.kvHeads) +
                                             " query heads share a kv head; at most " +
                                             std::to_string(kMaxQueries) + " are supported");
  }
  const int R = options.maxRows;
  const int read = std::max(c.hidden, c.heads * c.headDim);
  x_.ensure(floats(R, c.hidden));
  normed_.ensure(floats(R, c.hidden));
  q_.ensure(floats(R, c.heads * c.headDim));
  k_.ensure(floats(R, c.kvHeads * c.headDim));
  v_.ensure(floats(R, c.kvHeads * c.headDim));
  attended_.ensure(floats(R, c.heads * c.headDim));
  tileFloats_ = tileFloats(R);
  tiles_.ensure(2 * tileFloats_ * sizeof(float) * static_cast<size_t>(threads.workers()));
  hidden_.ensure(floats(R, c.ffn));
  // The head takes two rows for one, of which there are no more than rows.
  xq_.ensure(std::max(floats(R, read), floats(2 * std::min(R, options.logitRows), c.hidden)) /
             sizeof(float));
  gated_.ensure(floats(R, c.ffn) / sizeof(float));
  if (options.int8Activations && ops.linearBf16 != nullptr) {
    xb_.ensure(floats(R, std::max(read, c.ffn)) / sizeof(float) * sizeof(uint16_t));
  }
  final_.ensure(floats(R, c.hidden));
  logits_.ensure(floats(2 * options.logitRows, c.vocab));
  scratchBytes_ = (linearScratchBytes(std::max(read, c.ffn)) + 63) / 64 * 64;
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
  float* q = q_.as<float>();
  float* k = k_.as<float>();
  float* v = v_.as<float>();
  const int width = c.heads * c.headDim;
  const int kvWidth = c.kvHeads * c.headDim;

  const Projection qkv[] = {
      {&w.q, q, width, false}, {&w.k, k, kvWidth, false}, {&w.v, v, kvWidth, false}};
  multiply("linear qkv", normedFor(w.attnNorm, qkv, 3), rows_, qkv, 3);
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
  const Activations attended{attended_.as<float>(), &xq_};
  if (takesInt8(w.o)) quantize(xq_.from(attended.x, width), rows_);
  addToStream("linear o", attended, w.o, w.attnPostNorm, keep ? &keep->attnOut : nullptr);
  if (keep != nullptr) keepRows(keep->middle, x_.as<float>(), c.hidden);
  feedForward(w, keep);
}

// x += W a, or x += norm(W a) and W a is kept.
void Forward::addToStream(const char* name, const Activations& a, const Weight& weight,
                          const float* postNorm, std::vector<float>* keep) {
  const ModelConfig& c = model_->config;
  float* x = x_.as<float>();
  float* to = postNorm == nullptr ? x : normed_.as<float>();  // what was normed has been read
  if (takesBf16(weight)) toBf16(a.x, rows_, weight.cols);
  const Projection out{&weight, to, c.hidden, postNorm == nullptr};
  multiply(name, a, rows_, &out, 1);
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

void Forward::rmsnorm(const RmsNormArgs& args, int rows) {
  if (rows == 0) return;
  const trace::Scope scope("norm", [&] { return rmsnormCost(args, rows); });
  threads_.forEach(rows, 16, [&](int begin, int end, int) { ops_.rmsnorm(args, begin, end); });
}

// The stream, normed, as its readers take it: in float32 or bf16, as int8, or several of them.
Forward::Activations Forward::normedFor(const float* norm, const Projection* readers, int count) {
  bool float32 = false, int8 = false, bf16 = false;
  for (int i = 0; i < count; ++i) {
    (takesInt8(*readers[i].weight) ? int8 : float32) = true;
    bf16 = bf16 || takesBf16(*readers[i].weight);
  }
  const ModelConfig& c = model_->config;
  float* normed = normed_.as<float>();
  if (!int8) {
    rmsnorm({x_.as<float>(), norm, normed, c.hidden, c.normEpsilon}, rows_);
    if (bf16) toBf16(normed, rows_, c.hidden);
    return {normed, nullptr};
  }
  const QuantizeArgs to = xq_.from(normed, c.hidden);
  const RmsNormQuantizeArgs args{.x = x_.as<float>(),
                                 .weight = norm,
                                 .y = float32 ? normed : nullptr,
                                 .q = to.q,
                                 .d = to.d,
                                 .s = to.s,
                                 .M = c.hidden,
                                 .epsilon = c.normEpsilon};
  {
    const trace::Scope scope("norm and quantize", [&] { return rmsnormQuantizeCost(args, rows_); });
    threads_.forEach(rows_, 16,
                     [&](int begin, int end, int) { ops_.rmsnormQuantize(args, begin, end); });
  }
  if (bf16) toBf16(normed, rows_, c.hidden);
  return {normed, &xq_};
}

bool Forward::takesInt8(const Weight& weight) const {
  return options_.int8Activations && isInteger(weight.type);
}

bool Forward::takesBf16(const Weight& weight) const {
  return options_.int8Activations && weight.type == DType::kBF16 && weight.cols % kGroup == 0 &&
         ops_.linearBf16 != nullptr;
}

void Forward::Int8Rows::ensure(size_t values) {
  q.ensure(values);
  d.ensure(values / kGroup * sizeof(float));
  s.ensure(values / kGroup * sizeof(float));
}

QuantizeArgs Forward::Int8Rows::from(const float* x, int K, int at) {
  const auto values = static_cast<size_t>(at) * static_cast<size_t>(K);
  const size_t groups = values / kGroup;
  return {x, q.as<int8_t>() + values, d.as<float>() + groups, s.as<float>() + groups, K};
}

void Forward::quantize(const QuantizeArgs& args, int rows) {
  const trace::Scope scope("quantize", [&] { return quantizeCost(args, rows); });
  threads_.forEach(rows, 16, [&](int begin, int end, int) { ops_.quantize(args, begin, end); });
}

void Forward::toBf16(const float* x, int rows, int K) {
  const ToBf16Args args{x, xb_.as<uint16_t>(), K};
  const trace::Scope scope("to bf16", [&] { return toBf16Cost(args, rows); });
  threads_.forEach(rows, 16, [&](int begin, int end, int) { ops_.toBf16(args, begin, end); });
}

LinearArgs Forward::argsOf(const Projection& projection, const Activations& a, int rows) const {
  const Weight& weight = *projection.weight;
  const bool int8 = takesInt8(weight), bf16 = takesBf16(weight);
  return {.weight = weight.data,
          .panels = options_.panels == nullptr ? nullptr : options_.panels->of(weight),
          .type = weight.type,
          .N = weight.rows,
          .K = weight.cols,
          .x = int8 || bf16 ? nullptr : a.x,
          .xq = int8 ? a.quantised->q.as<int8_t>() : nullptr,
          .xd = int8 ? a.quantised->d.as<float>() : nullptr,
          .xs = int8 ? a.quantised->s.as<float>() : nullptr,
          .y = projection.y,
          .ldy = projection.ldy,
          .R = rows,
          .accumulate = projection.accumulate,
          .invariant = options_.batchInvariant,
          .xb = bf16 ? xb_.as<uint16_t>() : nullptr};
}

void* Forward::scratch(int worker) {
  return scratch_.as<std::byte>() + static_cast<size_t>(worker) * scratchBytes_;
}

void Forward::multiplyColumns(const LinearArgs& args, int from, int to, int worker) {
  const LinearFn linear = args.xb != nullptr ? ops_.linearBf16 : ops_.linear;
  linear(args, from, to, scratch(worker));
}

// All projections read the same rows; their column panels are dealt out together.
void Forward::multiply(const char* name, const Activations& a, int rows,
                       const Projection* projections, int count) {
  constexpr int kMost = 3;
  LinearArgs args[kMost];
  int panelEnd[kMost];
  int panels = 0;
  ActivationForm form{};
  for (int i = 0; i < count; ++i) {
    args[i] = argsOf(projections[i], a, rows);
    form = std::max(form, formOf(args[i]));
    panels += panelCount(args[i].N);
    panelEnd[i] = panels;
  }
  const trace::Scope scope(name, [&] {
    Cost cost = activationCost(rows, args[0].K, form);
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
float* Forward::logits(int first, int count) {
  const ModelConfig& c = model_->config;
  const float* x = final_.as<float>() + static_cast<size_t>(first) * static_cast<size_t>(c.hidden);
  const Projection head{&model_->output, logits_.as<float>(), c.vocab, false};
  if (!takesInt8(model_->output)) {
    if (takesBf16(model_->output)) toBf16(x, count, c.hidden);
    multiply("logits", {x, nullptr}, count, &head, 1);
    return logits_.as<float>();
  }
  const QuantizeArgs rounded = xq_.from(x, c.hidden);
  quantize(rounded, count);
  residual(rounded, count, normed_.as<float>());
  quantize(xq_.from(normed_.as<float>(), c.hidden, count), count);
  multiply("logits", {nullptr, &xq_}, 2 * count, &head, 1);
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
