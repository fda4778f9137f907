// SPDX-License-Identifier: Apache-2.0
#include "engine/weight_panels.h"

#include <sys/mman.h>

#include <vector>

#include "base/error.h"
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

WeightPanels::WeightPanels(const Model& model, ThreadPool& threads,
                           const std::atomic<int32_t>* cancel) {
  const std::vector<const Weight*> weights = quantisedWeights(model);
  size_t bytes = 0;
  for (const Weight* weight : weights) {
    offsets_[weight->data] = bytes;
    bytes += (panelsBytes(weight->type, weight->rows, weight->cols) + 63) / 64 * 64;
  }
  if (bytes == 0) return;
  memory_ = Buffer(bytes, kHugePage);
  ::madvise(memory_.data(), bytes, MADV_HUGEPAGE);  // a hint: failing changes nothing
  for (const Weight* weight : weights) {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed) != 0) {
      throw Error(code::kAborted, "Loading model file " + model.file().path() + " was cancelled.");
    }
    std::byte* const panels = memory_.data() + offsets_[weight->data];
    threads.forEach(panelCount(weight->rows), 4, [&](int first, int last, int) {
      packPanels(weight->type, weight->data, weight->rows, weight->cols, first, last, panels);
    });
    const size_t row = quantRowBytes(quantType(weight->type), weight->cols);
    model.file().release(weight->data, row * static_cast<size_t>(weight->rows));
  }
}

const std::byte* WeightPanels::of(const Weight& weight) const {
  const auto found = offsets_.find(weight.data);
  return found == offsets_.end() ? nullptr : memory_.data() + found->second;
}

std::shared_ptr<const WeightPanels> packWeights(const Model& model, const Ops& ops,
                                                ThreadPool& threads,
                                                const std::atomic<int32_t>* cancel) {
  // Only the reference takes integers from the rows of the file.
  if (ops.linear == kScalarOps.linear) return nullptr;
  return std::make_shared<const WeightPanels>(model, threads, cancel);
}

}  // namespace baton
