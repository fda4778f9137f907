// SPDX-License-Identifier: Apache-2.0
#include "engine/device_weights.h"

#include <algorithm>
#include <cstring>

#include "engine/weight_panels.h"
#include "kernels/linear/panels.h"

namespace baton {
namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kCopyBytes = size_t{256} << 10;  // that a thread copies at a time

size_t aligned(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

void copyBytes(std::byte* to, const std::byte* from, size_t bytes, ThreadPool& threads) {
  const auto parts = static_cast<int>((bytes + kCopyBytes - 1) / kCopyBytes);
  threads.forEach(parts, 1, [&](int first, int last, int) {
    const size_t begin = static_cast<size_t>(first) * kCopyBytes;
    const size_t end = std::min(static_cast<size_t>(last) * kCopyBytes, bytes);
    std::memcpy(to + begin, from + begin, end - begin);
  });
}

}  // namespace

DeviceWeights::DeviceWeights(const Model& model, bool int8, Memory& memory, ThreadPool& threads,
                             LoadWatch* watch, size_t pieceBytes)
    : memory_(memory),
      threads_(threads),
      pieceBytes_(pieceBytes),
      weights_(model),
      storage_(memory),
      rows_(memory) {
  collect(model.config, int8);
  const bool tied = model.output.data == model.embedding.data;
  std::vector<size_t> offsets;
  for (const Vector& vector : vectors_) {
    offsets.push_back(place(static_cast<size_t>(vector.count) * sizeof(float)));
  }
  uint64_t work = 0;
  for (const Matrix& matrix : matrices_) {
    offsets.push_back(place(sizeOf(matrix)));
    work += rowsBytes(*matrix.weight);
  }
  storage_.ensure(bytes_, "the weights");
  LoadWatch nobody;
  LoadWatch& told = watch == nullptr ? nobody : *watch;
  told.begin(model, work);
  size_t next = 0;
  for (const Vector& vector : vectors_) {
    std::byte* to = storage_.data() + offsets[next++];
    memory_.upload(to, *vector.place, static_cast<size_t>(vector.count) * sizeof(float));
    *vector.place = reinterpret_cast<const float*>(to);
  }
  const std::unique_ptr<Uploader> uploader = this->uploader();
  for (const Matrix& matrix : matrices_) {
    Weight& weight = *matrix.weight;
    const void* const rows = weight.data;
    std::byte* const to = storage_.data() + offsets[next++];
    sendMatrix(*uploader, matrix, to, told);
    weight.data = matrix.packed ? nullptr : to;
    weight.panels = matrix.packed ? to : nullptr;
    model.file().release(rows, rowsBytes(weight));
  }
  uploader->finish();
  if (tied) weights_.output = weights_.embedding;
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
      bytes += aligned(rowsBytes(*ofFile[i]));
    }
  }
  if (packed.empty()) return;
  rows_.ensure(bytes, "the weights as training multiplies them");
  const std::unique_ptr<Uploader> uploader = this->uploader();
  LoadWatch nobody;
  size_t to = 0;
  for (const Weight* weight : packed) {
    sendRows(*uploader, *weight, rows_.data() + to, nobody);
    model.file().release(weight->data, rowsBytes(*weight));
    to += aligned(rowsBytes(*weight));
  }
  uploader->finish();
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
  bytes_ += aligned(bytes);
  return at;
}

size_t DeviceWeights::sizeOf(const Matrix& matrix) const {
  const Weight& weight = *matrix.weight;
  return matrix.packed ? panelsBytes(weight.type, weight.rows, weight.cols) : rowsBytes(weight);
}

// A piece is no larger than the largest matrix, and no smaller than a panel.
std::unique_ptr<Uploader> DeviceWeights::uploader() const {
  size_t largest = 0, panel = 0;
  for (const Matrix& matrix : matrices_) {
    const Weight& weight = *matrix.weight;
    largest = std::max({largest, sizeOf(matrix), rowsBytes(weight)});
    if (matrix.packed) panel = std::max(panel, panelBytes(weight.type, weight.cols));
  }
  return memory_.uploader(std::max(std::min(largest, pieceBytes_), panel));
}

void DeviceWeights::sendMatrix(Uploader& uploader, const Matrix& matrix, std::byte* to,
                               LoadWatch& watch) {
  const Weight& weight = *matrix.weight;
  if (!matrix.packed) return sendRows(uploader, weight, to, watch);
  for (const PanelPiece& piece : panelPieces(weight, uploader.size())) {
    packPiece(weight, piece, threads_, uploader.room());
    uploader.send(to + piece.at, piece.bytes);
    watch.add(piece.rowsBytes);
  }
}

void DeviceWeights::sendRows(Uploader& uploader, const Weight& weight, std::byte* to,
                             LoadWatch& watch) {
  const auto* const rows = static_cast<const std::byte*>(weight.data);
  const size_t bytes = rowsBytes(weight);
  for (size_t at = 0; at < bytes; at += uploader.size()) {
    const size_t count = std::min(uploader.size(), bytes - at);
    copyBytes(uploader.room(), rows + at, count, threads_);
    uploader.send(to + at, count);
    watch.add(count);
  }
}

}  // namespace baton
