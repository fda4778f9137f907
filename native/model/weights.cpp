// SPDX-License-Identifier: Apache-2.0
// Matrices stay where they are in the mapping, in their file format. Only norms and biases of a
// half format are converted, because kernels read them as float32; they are a few kilobytes each.
#include "model/weights.h"

#include <array>
#include <cmath>

#include "model/fault.h"

namespace baton {
namespace {

std::string shapeText(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t dim : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(dim);
  return text + "]";
}

std::string tensorText(const GgufTensor& tensor) {
  return "tensor " + quote(tensor.name);
}

// Of the widest number inside an element: a float32, or the float16 scale of a block.
size_t alignmentOf(const QuantType& type) {
  return type.dtype == DType::kF32 ? 4 : 2;
}

}  // namespace

void WeightBinder::bind(Model& model, const Family& family) {
  WeightBinder binder(model, family);
  model.embedding = binder.matrix(family.embedding, Dim::kVocab, Dim::kModel);
  model.output = binder.file_.findTensor(family.output)
                     ? binder.matrix(family.output, Dim::kVocab, Dim::kModel)
                     : model.embedding;
  model.outputNorm = binder.vector(family.outputNorm, model.config.hidden);
  binder.bindRopeFactors();
  model.layers.clear();
  // Grows with the layers found, not with the number that the file claims.
  for (int layer = 0; layer < model.config.layers; ++layer) binder.bindLayer(layer);
  binder.refuseUnused();
  binder.sum();
}

WeightBinder::WeightBinder(Model& model, const Family& family)
    : model_(model), family_(family), file_(model.file()), used_(file_.tensors().size(), false) {}

void WeightBinder::bindLayer(int layer) {
  const std::string prefix = "blk." + std::to_string(layer) + ".";
  LayerWeights weights{};
  for (const LayerVector& row : family_.vectors) {
    weights.*row.role = vector(prefix + row.name, dimSize(model_.config, row.length));
  }
  for (const LayerMatrix& row : family_.matrices) {
    weights.*row.role = matrix(prefix + row.name, row.rows, row.cols);
  }
  model_.layers.push_back(weights);
}

// Of every layer: only families whose layers all turn alike have them.
void WeightBinder::bindRopeFactors() {
  if (!family_.ropeFactors || !file_.findTensor(family_.ropeFactors)) return;
  const std::string field = "tensor " + quote(family_.ropeFactors);
  const int pairs = model_.config.headDim / 2;
  const float* factors = vector(family_.ropeFactors, pairs);
  for (int i = 0; i < pairs; ++i) {
    if (std::isfinite(factors[i]) && factors[i] > 0) continue;
    refuseFormat({file_.path(), field + ", element " + std::to_string(i),
                  std::to_string(factors[i]), "a positive number"});
  }
  for (RopeSpec& rope : model_.config.ropes) {
    if (!rope.factors.empty()) {
      refuseFormat({file_.path(), field, "beside metadata of llama3 scaling",
                    "one of the two, which say the same"});
    }
    rope.factors.assign(factors, factors + pairs);
  }
}

const GgufTensor& WeightBinder::require(const std::string& name) {
  const GgufTensor* tensor = file_.findTensor(name);
  if (!tensor) {
    refuseFormat({file_.path(), "tensor " + quote(name), "absent",
                  std::string("a tensor of every ") + family_.name + " model with " +
                      std::to_string(model_.config.layers) + " layers"});
  }
  used_[static_cast<size_t>(tensor - file_.tensors().data())] = true;
  return *tensor;
}

void WeightBinder::requireShape(const GgufTensor& tensor, int rows, int cols) const {
  const std::array<int64_t, 4> wanted = {cols, rows, 1, 1};
  if (tensor.shape == wanted) return;
  std::vector<int64_t> expected = {cols};
  if (rows != 1) expected.insert(expected.begin(), rows);
  refuseFormat({file_.path(), "shape of " + tensorText(tensor), shapeText(tensor.rowMajorShape()),
                shapeText(expected) + " as the metadata has it"});
}

void WeightBinder::requireAlignment(const GgufTensor& tensor) const {
  const size_t alignment = alignmentOf(*tensor.type);
  if (reinterpret_cast<uintptr_t>(tensor.data) % alignment == 0) return;
  refuseFormat({file_.path(), "data of " + tensorText(tensor),
                "at byte " + std::to_string(tensor.offset),
                "aligned to " + std::to_string(alignment) + " bytes", tensor.offset});
}

Weight WeightBinder::matrix(const std::string& name, Dim rows, Dim cols) {
  const GgufTensor& tensor = require(name);
  const int r = dimSize(model_.config, rows);
  const int c = dimSize(model_.config, cols);
  requireShape(tensor, r, c);
  requireAlignment(tensor);
  return {tensor.data, tensor.type->dtype, r, c};
}

const float* WeightBinder::vector(const std::string& name, int length) {
  const GgufTensor& tensor = require(name);
  requireShape(tensor, 1, length);
  requireAlignment(tensor);
  if (tensor.type->dtype == DType::kF32) return reinterpret_cast<const float*>(tensor.data);
  if (tensor.type->dtype != DType::kF16 && tensor.type->dtype != DType::kBF16) {
    refuseUnsupported({file_.path(), "type of " + tensorText(tensor), tensor.type->name,
                       "F32, F16 or BF16 for a norm or a bias"});
  }
  const auto elements = static_cast<size_t>(tensor.elements());
  auto& floats = model_.floats_.emplace_back(std::make_unique<float[]>(elements));
  tensor.type->dequantize(tensor.data, floats.get(), elements);
  return floats.get();
}

void WeightBinder::refuseUnused() const {
  for (size_t i = 0; i < used_.size(); ++i) {
    if (used_[i]) continue;
    const GgufTensor& tensor = file_.tensors()[i];
    std::string meaning = "unknown to this family";
    for (const RefusedTensor& row : refusedTensors()) {
      if (tensor.name.find(row.part) == std::string_view::npos) continue;
      meaning = row.meaning;
      break;
    }
    refuseUnsupported({file_.path(), tensorText(tensor), "part of the model (" + meaning + ")",
                       std::string("only tensors of the ") + family_.name + " family with " +
                           std::to_string(model_.config.layers) + " layers"});
  }
}

void WeightBinder::sum() {
  std::array<int64_t, 256> bytes{};  // by DType
  for (const GgufTensor& tensor : file_.tensors()) {
    model_.parameters += tensor.elements();
    model_.weightBytes += static_cast<int64_t>(tensor.bytes);
    bytes[static_cast<uint8_t>(tensor.type->dtype)] += static_cast<int64_t>(tensor.bytes);
  }
  int64_t most = 0;
  for (const QuantType& type : quantTypes()) {
    const int64_t held = bytes[static_cast<uint8_t>(type.dtype)];
    if (held <= most) continue;
    most = held;
    model_.weightType = type.name;
  }
}

}  // namespace baton
