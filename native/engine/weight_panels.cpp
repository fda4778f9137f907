// SPDX-License-Identifier: Apache-2.0
#include "engine/weight_panels.h"

#include <sys/mman.h>

#include <algorithm>

#include "kernels/linear/panels.h"
#include "quant/types.h"

namespace baton {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

std::vector<const Weight*> quantisedWeights(const Model& model) {
  std::vector<const Weight*> weights;
  for (const LayerWeights& layer : model.layers) {
    for (const Weight* weight : layer.matrices()) {
      if (isInteger(weight->type)) weights.push_back(weight);
    }
  }
  if (isInteger(model.output.type)) weights.push_back(&model.output);
  return weights;
}

}  // namespace

WeightPanels::WeightPanels(const Model& model, ThreadPool& threads, LoadWatch* watch,
                           size_t pieceBytes) {
  const std::vector<const Weight*> weights = quantisedWeights(model);
  size_t bytes = 0;
  uint64_t work = 0;
  for (const Weight* weight : weights) {
    offsets_[weight->data] = bytes;
    bytes += (panelsBytes(weight->type, weight->rows, weight->cols) + 63) / 64 * 64;
    work += rowsBytes(*weight);
  }
  LoadWatch nobody;
  LoadWatch& told = watch == nullptr ? nobody : *watch;
  told.begin(model, work);
  if (bytes == 0) return;
  memory_ = Buffer(bytes, kHugePage);
#ifdef MADV_HUGEPAGE
  ::madvise(memory_.data(), bytes, MADV_HUGEPAGE);  // a hint: failing changes nothing
#endif
  for (const Weight* weight : weights) {
    std::byte* const panels = memory_.data() + offsets_[weight->data];
    for (const PanelPiece& piece : panelPieces(*weight, pieceBytes)) {
      packPiece(*weight, piece, threads, panels + piece.at);
      told.add(piece.rowsBytes);
    }
    model.file().release(weight->data, rowsBytes(*weight));
  }
}

const std::byte* WeightPanels::of(const Weight& weight) const {
  const auto found = offsets_.find(weight.data);
  return found == offsets_.end() ? nullptr : memory_.data() + found->second;
}

std::shared_ptr<const WeightPanels> packWeights(const Model& model, const Ops& ops,
                                                ThreadPool& threads, LoadWatch* watch) {
  // Only the reference takes integers from the rows of the file.
  if (ops.linear == kScalarOps.linear) return nullptr;
  return std::make_shared<const WeightPanels>(model, threads, watch);
}

size_t rowsBytes(const Weight& weight) {
  return quantRowBytes(quantType(weight.type), weight.cols) * static_cast<size_t>(weight.rows);
}

std::vector<PanelPiece> panelPieces(const Weight& weight, size_t bytes) {
  const size_t panel = panelBytes(weight.type, weight.cols);
  const size_t row = quantRowBytes(quantType(weight.type), weight.cols);
  const int panels = panelCount(weight.rows);
  const auto all = static_cast<size_t>(panels);
  const int most = static_cast<int>(std::clamp<size_t>(bytes / panel, 1, all));
  std::vector<PanelPiece> pieces;
  for (int first = 0; first < panels; first += most) {
    const int count = std::min(most, panels - first);
    const int rows = std::min(count * kPanelColumns, weight.rows - first * kPanelColumns);
    pieces.push_back({first, count, static_cast<size_t>(first) * panel,
                      static_cast<size_t>(count) * panel, static_cast<size_t>(rows) * row});
  }
  return pieces;
}

// As if the weight began at the piece's first row.
void packPiece(const Weight& weight, const PanelPiece& piece, ThreadPool& threads, std::byte* to) {
  const int before = piece.first * kPanelColumns;
  const std::byte* const rows =
      static_cast<const std::byte*>(weight.data) +
      quantRowBytes(quantType(weight.type), weight.cols) * static_cast<size_t>(before);
  threads.forEach(piece.count, 4, [&](int first, int last, int) {
    packPanels(weight.type, rows, weight.rows - before, weight.cols, first, last, to);
  });
}

}  // namespace baton
