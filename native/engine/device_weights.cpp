// SPDX-License-Identifier: Apache-2.0
#include "engine/device_weights.h"

#include "base/error.h"
#include "kernels/linear/panels.h"
#include "quant/types.h"

namespace baton {
namespace {

constexpr size_t kAlignment = 256;

size_t rowsBytes(const Weight& weight) {
  return quantRowBytes(quantType(weight.type), weight.cols) * static_cast<size_t>(weight.rows);
}

}  // namespace

DeviceWeights::DeviceWeights(const Model& model, bool int8, Memory& memory, ThreadPool& threads,
                             const std::atomic<int32_t>* cancel)
    : memory_(memory), weights_(model), storage_(memory), rows_(memory) {
  collect(model.config, int8);
  const bool tied = model.output.data == model.embedding.data;
  std::vector<size_t> offsets;
  for (const Vector& vector : vectors_) {
    offsets.push_back(place(static_cast<size_t>(vector.count) * sizeof(float)));
  }
  for (const Matrix& matrix : matrices_) offsets.push_back(place(sizeOf(matrix)));
  storage_.ensure(bytes_, "the weights");
  size_t next = 0;
  for (const Vector& vector : vectors_) {
    std::byte* to = storage_.data() + offsets[next++];
    memory_.upload(to, *vector.place, static_cast<size_t>(vector.count) * sizeof(float));
    *vector.place = reinterpret_cast<const float*>(to);
  }
  for (const Matrix& matrix : matrices_) {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed) != 0) {
      throw Error(code::kAborted, "Loading model file " + model.file().path() + " was cancelled.");
    }
    copy(model, matrix, storage_.data() + offsets[next++], threads);
  }
  if (tied) weights_.output = weights_.embedding;
  staging_ = {};
}

void DeviceWeights::addRows(const Model& model) {
  if (!rowsAt_.empty()) return;
  std::vector<const Weight*> packed;  // of the file
  std::unordered_map<const std::byte*, size_t> at;
  size_t bytes = 0;
  for (size_t layer = 0; layer < weights_.layers.size(); ++layer) {
    const auto here = weights_.layers[layer].matrices();
    const auto ofFile = model.layers[layer].matrices();
    for (size_t i = 0; i < here.size(); ++i) {
      if (here[i]->data != nullptr) continue;
      packed.push_back(ofFile[i]);
      at[here[i]->panels] = bytes;
      bytes += (rowsBytes(*ofFile[i]) + kAlignment - 1) / kAlignment * kAlignment;
    }
  }
  rows_.ensure(bytes, "the weights as training multiplies them");
  size_t to = 0;
  for (const Weight* weight : packed) {
    memory_.upload(rows_.data() + to, weight->data, rowsBytes(*weight));
    model.file().release(weight->data, rowsBytes(*weight));
    to += (rowsBytes(*weight) + kAlignment - 1) / kAlignment * kAlignment;
  }
  rowsAt_ = std::move(at);
}

const void* DeviceWeights::rowsOf(const Weight& weight) const {
  if (weight.data != nullptr) return weight.data;
  return rows_.data() + rowsAt_.at(weight.panels);
}

// Where everything is, in the order in which it will lie.
void DeviceWeights::collect(const ModelConfig& c, bool int8) {
  const auto vector = [&](const float*& place, int count) {
    if (place != nullptr) vectors_.push_back({&place, count});
  };
  vector(weights_.outputNorm, c.hidden);
  matrices_.push_back({&weights_.embedding, false});
  if (weights_.output.data != weights_.embedding.data) {
    matrices_.push_back({&weights_.output, false});
  }
  for (LayerWeights& layer : weights_.layers) {
    vector(layer.attnNorm, c.hidden);
    vector(layer.qBias, c.heads * c.headDim);
    vector(layer.kBias, c.kvHeads * c.headDim);
    vector(layer.vBias, c.kvHeads * c.headDim);
    vector(layer.qNorm, c.headDim);
    vector(layer.kNorm, c.headDim);
    vector(layer.attnPostNorm, c.hidden);
    vector(layer.ffnNorm, c.hidden);
    vector(layer.ffnPostNorm, c.hidden);
    for (Weight* weight : layer.matrices()) {
      matrices_.push_back({weight, int8 && isInteger(weight->type)});
    }
  }
}

size_t DeviceWeights::place(size_t bytes) {
  const size_t at = bytes_;
  bytes_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  return at;
}

size_t DeviceWeights::sizeOf(const Matrix& matrix) const {
  const Weight& weight = *matrix.weight;
  return matrix.packed ? panelsBytes(weight.type, weight.rows, weight.cols) : rowsBytes(weight);
}

void DeviceWeights::copy(const Model& model, const Matrix& matrix, std::byte* to,
                         ThreadPool& threads) {
  Weight& weight = *matrix.weight;
  const void* const rows = weight.data;
  if (matrix.packed) {
    const size_t bytes = sizeOf(matrix);
    if (staging_.size() < bytes) staging_.resize(bytes);
    threads.forEach(panelCount(weight.rows), 4, [&](int first, int last, int) {
      packPanels(weight.type, rows, weight.rows, weight.cols, first, last, staging_.data());
    });
    memory_.upload(to, staging_.data(), bytes);
    weight.panels = to;
    weight.data = nullptr;
  } else {
    memory_.upload(to, rows, rowsBytes(weight));
    weight.data = to;
  }
  model.file().release(rows, rowsBytes(weight));
}

}  // namespace baton
