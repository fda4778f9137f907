// SPDX-License-Identifier: Apache-2.0
#include "engine/forward.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/trace.h"
#include "engine/cpu_backend.h"
#include "kernels/linear/panels.h"

namespace baton {
namespace {

constexpr const char* kActivations = "activations";
constexpr const char* kTape = "the tape of a training step";

}  // namespace

Forward::Forward(std::shared_ptr<const Model> model, std::unique_ptr<Backend> backend,
                 const ForwardOptions& options)
    : model_(std::move(model)),
      backend_(std::move(backend)),
      options_(options),
      x_(backend_->memory()),
      normed_(backend_->memory()),
      q_(backend_->memory()),
      k_(backend_->memory()),
      v_(backend_->memory()),
      attended_(backend_->memory()),
      hidden_(backend_->memory()),
      gated_(backend_->memory()),
      xq_(backend_->memory()),
      xb_(backend_->memory()),
      final_(backend_->memory()) {
  const ModelConfig& c = model_->config;
  const int R = options.maxRows;
  const int read = std::max(c.hidden, c.heads * c.headDim);
  x_.ensure(matrixBytes(R, c.hidden), kActivations);
  normed_.ensure(matrixBytes(R, c.hidden), kActivations);
  q_.ensure(matrixBytes(R, c.heads * c.headDim), kActivations);
  k_.ensure(matrixBytes(R, c.kvHeads * c.headDim), kActivations);
  v_.ensure(matrixBytes(R, c.kvHeads * c.headDim), kActivations);
  attended_.ensure(matrixBytes(R, c.heads * c.headDim), kActivations);
  hidden_.ensure(matrixBytes(R, c.ffn), kActivations);
  xq_.ensure(matrixBytes(R, read) / sizeof(float));
  gated_.ensure(matrixBytes(R, c.ffn) / sizeof(float));
  if (options.int8Activations && backend_->multipliesBf16()) {
    xb_.ensure(matrixBytes(R, std::max(read, c.ffn)) / sizeof(float) * sizeof(uint16_t),
               kActivations);
  }
  final_.ensure(matrixBytes(R, c.hidden), kActivations);
}

Forward::Forward(std::shared_ptr<const Model> model, const Ops& ops, ThreadPool& threads,
                 const Pool& pool, const ForwardOptions& options)
    : Forward(model, std::make_unique<CpuBackend>(model, ops, threads, pool, options), options) {}

void Forward::prepare(const Batch& batch) {
  rows_ = batch.rows;
  backend_->plan(batch);
}

bool Forward::run(const Batch& batch, Tape* tape, const std::function<bool()>& goOn) {
  const trace::Scope scope("forward", "batch rows", batch.rows);
  prepare(batch);
  uploadSoftRows(batch);
  if (tape != nullptr) {
    tape->begin(model_->config.layers);
    return issue(batch, tape, goOn);
  }
  return backend_->step([&] { return issue(batch, nullptr, goOn); });
}

// From the embedding to the last norm.
bool Forward::issue(const Batch& batch, Tape* tape, const std::function<bool()>& goOn) {
  const ModelConfig& c = model_->config;
  const Weight& table = backend_->weights().embedding;
  backend_->embed(
      {table.data, table.type, c.hidden, batch.tokens.data(), x_.as<float>(), c.embeddingScale},
      rows_);
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
  gatherLogitRows(batch.logitRows);
  const size_t wanted = batch.logitRows.size();
  if (tape != nullptr) {
    const size_t bytes = wanted * static_cast<size_t>(c.hidden) * sizeof(float);
    tape->output.ensure(bytes, kTape);
    backend_->memory().copy(tape->output.data(), final_.data(), bytes);
  }
  backend_->rmsnorm({final_.as<float>(), backend_->weights().outputNorm, final_.as<float>(),
                     c.hidden, c.normEpsilon},
                    static_cast<int>(wanted));
  return true;
}

// A copy for rows that follow each other.
void Forward::gatherLogitRows(const std::vector<int>& rows) {
  const auto M = static_cast<size_t>(model_->config.hidden);
  for (size_t first = 0; first < rows.size();) {
    size_t end = first + 1;
    while (end < rows.size() && rows[end] == rows[end - 1] + 1) ++end;
    backend_->memory().copy(final_.as<float>() + first * M,
                            x_.as<float>() + static_cast<size_t>(rows[first]) * M,
                            (end - first) * M * sizeof(float));
    first = end;
  }
}

void Forward::uploadSoftRows(const Batch& batch) {
  const auto M = static_cast<size_t>(model_->config.hidden);
  for (const Run& run : batch.runs) {
    const size_t bytes = static_cast<size_t>(run.count) * M * sizeof(float);
    float* const to = x_.as<float>() + static_cast<size_t>(run.batchRow) * M;
    if (run.embeddings != nullptr) backend_->memory().upload(to, run.embeddings, bytes);
    if (run.stored != nullptr) backend_->memory().copy(to, run.stored, bytes);
  }
}

void Forward::recompute(int index, const float* input, LayerActivations& into) {
  backend_->memory().copy(x_.data(), input, matrixBytes(rows_, model_->config.hidden));
  layer(index, &into);
}

void Forward::keepRows(DeviceBuffer& into, const float* from, int width) const {
  into.ensure(matrixBytes(rows_, width), kTape);
  backend_->memory().copy(into.data(), from, matrixBytes(rows_, width));
}

// All projections read the same rows.
template <size_t kCount>
void Forward::multiply(const char* name, const Activations& a,
                       const Projection (&projections)[kCount]) {
  static_assert(kCount <= Backend::kMostProjections);
  LinearArgs args[kCount];
  for (size_t i = 0; i < kCount; ++i) args[i] = argsOf(projections[i], a, rows_);
  backend_->multiply(name, args, kCount);
}

void Forward::layer(int index, LayerActivations* keep) {
  const trace::Scope scope("layer", "layer", index);
  const ModelConfig& c = model_->config;
  const LayerWeights& w = backend_->weights().layers[static_cast<size_t>(index)];
  float* q = q_.as<float>();
  float* k = k_.as<float>();
  float* v = v_.as<float>();
  const int width = c.heads * c.headDim;
  const int kvWidth = c.kvHeads * c.headDim;

  const Projection qkv[] = {
      {&w.q, q, width, false}, {&w.k, k, kvWidth, false}, {&w.v, v, kvWidth, false}};
  multiply("linear qkv", normedFor(w.attnNorm, qkv, 3), qkv);
  addBias(w.qBias, q, width);
  addBias(w.kBias, k, kvWidth);
  addBias(w.vBias, v, kvWidth);
  if (keep != nullptr && w.qNorm != nullptr) keepRows(keep->qIn, q, width);
  if (keep != nullptr && w.kNorm != nullptr) keepRows(keep->kIn, k, kvWidth);
  float* lse = nullptr;
  if (keep != nullptr) {
    keep->lse.ensure(matrixBytes(rows_, c.heads), kTape);
    lse = keep->lse.as<float>();
  }
  backend_->attend({index, q, k, v, w.qNorm, w.kNorm, attended_.as<float>(), lse});
  if (keep != nullptr) {
    keepRows(keep->q, q, width);
    keepRows(keep->attended, attended_.as<float>(), width);
  }
  const Activations attended{attended_.as<float>(), &xq_};
  if (takesInt8(w.o)) backend_->quantize(xq_.from(attended.x, width), rows_);
  addToStream("linear o", attended, w.o, w.attnPostNorm, keep ? &keep->attnOut : nullptr);
  if (keep != nullptr) keepRows(keep->middle, x_.as<float>(), c.hidden);
  feedForward(w, keep);
}

// To gated_ where down takes int8, else to hidden_.
void Forward::feedForward(const LayerWeights& w, LayerActivations* keep) {
  const int F = model_->config.ffn;
  const Projection pair[] = {{&w.gate, nullptr, F, false}, {&w.up, nullptr, F, false}};
  const Activations a = normedFor(w.ffnNorm, pair, 2);
  GateUp args{.gate = argsOf(pair[0], a, rows_),
              .up = argsOf(pair[1], a, rows_),
              .activation = model_->config.activation,
              .hidden = takesInt8(w.down) ? nullptr : hidden_.as<float>(),
              .quantised = gated_.from(nullptr, F),
              .keptGate = nullptr,
              .keptUp = nullptr};
  if (keep != nullptr) {
    keep->gate.ensure(matrixBytes(rows_, F), kTape);
    keep->up.ensure(matrixBytes(rows_, F), kTape);
    args.keptGate = keep->gate.as<float>();
    args.keptUp = keep->up.as<float>();
  }
  backend_->gateUp(args);
  addToStream("linear down", {hidden_.as<float>(), &gated_}, w.down, w.ffnPostNorm,
              keep ? &keep->ffnOut : nullptr);
}

// x += W a, or x += norm(W a) and W a is kept.
void Forward::addToStream(const char* name, const Activations& a, const Weight& weight,
                          const float* postNorm, DeviceBuffer* keep) {
  const ModelConfig& c = model_->config;
  float* x = x_.as<float>();
  float* to = postNorm == nullptr ? x : normed_.as<float>();  // what was normed has been read
  if (takesBf16(weight)) toBf16(a.x, rows_, weight.cols);
  const Projection out[] = {{&weight, to, c.hidden, postNorm == nullptr}};
  multiply(name, a, out);
  if (postNorm == nullptr) return;
  if (keep != nullptr) keepRows(*keep, to, c.hidden);
  backend_->rmsnorm({to, postNorm, x, c.hidden, c.normEpsilon, true}, rows_);
}

void Forward::addBias(const float* bias, float* y, int width) {
  if (bias != nullptr) backend_->addBias({bias, y, width}, rows_);
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
  if (int8) {
    const QuantizeArgs to = xq_.from(normed, c.hidden);
    backend_->rmsnormQuantize({.x = x_.as<float>(),
                               .weight = norm,
                               .y = float32 ? normed : nullptr,
                               .q = to.q,
                               .d = to.d,
                               .s = to.s,
                               .M = c.hidden,
                               .epsilon = c.normEpsilon},
                              rows_);
  } else {
    backend_->rmsnorm({x_.as<float>(), norm, normed, c.hidden, c.normEpsilon}, rows_);
  }
  if (bf16) toBf16(normed, rows_, c.hidden);
  return {normed, int8 ? &xq_ : nullptr};
}

bool Forward::takesInt8(const Weight& weight) const {
  return options_.int8Activations && isInteger(weight.type);
}

bool Forward::takesBf16(const Weight& weight) const {
  return options_.int8Activations && weight.type == DType::kBF16 && weight.cols % kGroup == 0 &&
         backend_->multipliesBf16();
}

void Forward::toBf16(const float* x, int rows, int K) {
  backend_->toBf16({x, xb_.as<uint16_t>(), K}, rows);
}

LinearArgs Forward::argsOf(const Projection& projection, const Activations& a, int rows) const {
  const Weight& weight = *projection.weight;
  const bool int8 = takesInt8(weight) && a.quantised != nullptr, bf16 = takesBf16(weight);
  return {.weight = weight.data,
          .panels = weight.panels,
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

LinearArgs Forward::headArgs(int first, int count) {
  const ModelConfig& c = model_->config;
  const Weight& output = backend_->weights().output;
  const float* x = final_.as<float>() + static_cast<size_t>(first) * static_cast<size_t>(c.hidden);
  if (takesBf16(output)) toBf16(x, count, c.hidden);
  return argsOf({&output, nullptr, c.vocab, false}, {x, nullptr}, count);
}

void Forward::head(int first, int count) {
  backend_->head(headArgs(first, count));
}

void Forward::score(int first, int count, const ScoreArgs& args) {
  backend_->score(headArgs(first, count), args);
}

}  // namespace baton
