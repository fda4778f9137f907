// SPDX-License-Identifier: Apache-2.0
#include "engine/number_watch.h"

#include <cstring>
#include <string>
#include <utility>

namespace baton {
namespace {

constexpr int kNoLayer = -1;

// NaN and infinities are the numbers whose exponent is all ones. Whole rows at once, without a way
// out, so that the compiler makes vectors of it.
bool finite(const float* values, size_t count) {
  uint32_t wrong = 0;
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, values + i, sizeof bits);
    wrong |= static_cast<uint32_t>((bits & 0x7f800000u) == 0x7f800000u);
  }
  return wrong == 0;
}

float* room(Buffer& buffer, int rows, int width) {
  buffer.ensure(static_cast<size_t>(rows) * static_cast<size_t>(width) * sizeof(float));
  return buffer.as<float>();
}

}  // namespace

NumberWatch::NumberWatch(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {
  int index = 0;
  for (const LayerWeights& w : inner_->weights().layers) {
    const std::pair<const void*, const char*> named[] = {{w.attnNorm, "attn_norm"},
                                                         {w.q.data, "q"},
                                                         {w.k.data, "k"},
                                                         {w.v.data, "v"},
                                                         {w.qBias, "q_bias"},
                                                         {w.kBias, "k_bias"},
                                                         {w.vBias, "v_bias"},
                                                         {w.o.data, "o"},
                                                         {w.attnPostNorm, "attn_post_norm"},
                                                         {w.ffnNorm, "ffn_norm"},
                                                         {w.gate.data, "gate"},
                                                         {w.up.data, "up"},
                                                         {w.down.data, "down"},
                                                         {w.ffnPostNorm, "ffn_post_norm"}};
    for (const auto& one : named) {
      if (one.first != nullptr) places_[one.first] = {index, one.second};
    }
    ++index;
  }
}

NumberWatch::Place NumberWatch::placeOf(const void* weight) const {
  const auto found = places_.find(weight);
  return found == places_.end() ? Place{kNoLayer, ""} : found->second;
}

void NumberWatch::plan(const Batch& batch) {
  inner_->plan(batch);
  told_.assign(static_cast<size_t>(batch.rows), 0);
  logitRows_ = batch.logitRows;
}

void NumberWatch::note(int row, const char* op, Place place) {
  char& told = told_[static_cast<size_t>(row)];
  if (told != 0) return;  // what comes of it is no news
  told = 1;
  const char* const between = *place.name == 0 ? "" : " ";
  found_.push_back({row, std::string(op) + between + place.name, place.layer});
}

void NumberWatch::look(const char* op, Place place, const float* values, int rows, int width,
                       int stride) {
  for (int row = 0; row < rows; ++row) {
    const float* const from = values + static_cast<size_t>(row) * static_cast<size_t>(stride);
    if (!finite(from, static_cast<size_t>(width))) note(row, op, place);
  }
}

void NumberWatch::lookLinear(const LinearArgs& args, const float* values, int stride) {
  look("linear", placeOf(args.weight), values, args.R, args.N, stride);
}

// Soft rows stand there before.
void NumberWatch::embed(const EmbedArgs& args, int rows) {
  inner_->embed(args, rows);
  look("embedding", {kNoLayer, ""}, args.out, rows, args.M, args.M);
}

void NumberWatch::rmsnorm(const RmsNormArgs& args, int rows) {
  inner_->rmsnorm(args, rows);
  if (args.weight != weights().outputNorm) {
    look("norm", placeOf(args.weight), args.y, rows, args.M, args.M);
    return;
  }
  final_ = args.y;
  for (int row = 0; row < rows; ++row) {
    const float* const from = args.y + static_cast<size_t>(row) * static_cast<size_t>(args.M);
    if (finite(from, static_cast<size_t>(args.M))) continue;
    note(logitRows_[static_cast<size_t>(row)], "output norm", {kNoLayer, ""});
  }
}

void NumberWatch::rmsnormQuantize(const RmsNormQuantizeArgs& args, int rows) {
  RmsNormQuantizeArgs shown = args;
  if (shown.y == nullptr) shown.y = room(normed_, rows, args.M);
  inner_->rmsnormQuantize(shown, rows);
  look("norm", placeOf(args.weight), shown.y, rows, args.M, args.M);
}

void NumberWatch::toBf16(const ToBf16Args& args, int rows) {
  inner_->toBf16(args, rows);
  rounded_ = args.x;
}

void NumberWatch::addBias(const AddBiasArgs& args, int rows) {
  inner_->addBias(args, rows);
  look("bias", placeOf(args.bias), args.y, rows, args.N, args.N);
}

void NumberWatch::multiply(const char* name, const LinearArgs* args, int count) {
  inner_->multiply(name, args, count);
  for (int i = 0; i < count; ++i) lookLinear(args[i], args[i].y, args[i].ldy);
}

// A product of finite numbers may be infinite, which the scales of its quants show; only a NaN
// among factors would be lost there.
void NumberWatch::gateUp(const GateUp& args) {
  GateUp shown = args;
  const int rows = args.gate.R, width = args.gate.N;
  if (shown.keptGate == nullptr) {
    shown.keptGate = room(gate_, rows, width);
    shown.keptUp = room(up_, rows, width);
  }
  inner_->gateUp(shown);
  lookLinear(args.gate, shown.keptGate, width);
  lookLinear(args.up, shown.keptUp, width);
  const Place place = {placeOf(args.gate.weight).layer, ""};
  const int groups = width / kGroup;
  if (args.hidden != nullptr) look("gated unit", place, args.hidden, rows, width, width);
  if (args.hidden == nullptr) look("gated unit", place, args.quantised.d, rows, groups, groups);
}

// K and V of a row are read by the row itself, at least.
void NumberWatch::attend(const LayerAttention& args) {
  inner_->attend(args);
  const AttentionPlan& planned = inner_->plan();
  const LayerWeights& w = weights().layers[static_cast<size_t>(args.layer)];
  look("attention", {args.layer, ""}, args.out, planned.rows, w.o.cols, w.o.cols);
}

void NumberWatch::head(const LinearArgs& args) {
  inner_->head(args);
  const float* const read = args.x != nullptr ? args.x : rounded_;
  const auto first = static_cast<size_t>(read - final_) / static_cast<size_t>(args.K);
  for (int row = 0; row < args.R; ++row) {
    if (finite(inner_->logits(row, 1), static_cast<size_t>(args.N))) continue;
    note(logitRows_[first + static_cast<size_t>(row)], "head", {kNoLayer, ""});
  }
}

}  // namespace baton
