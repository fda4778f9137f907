// SPDX-License-Identifier: Apache-2.0
// Models of every family with random weights of several types, for comparisons of forwards.
#pragma once

#include <vector>

#include "kernels/support.h"
#include "model/tiny_family.h"

namespace baton::test {

// What stands beside each other in one model.
struct Types {
  const char* name;
  DType others, v, up, down;
};
inline constexpr Types kTypes[] = {
    {"all bf16", DType::kBF16, DType::kBF16, DType::kBF16, DType::kBF16},
    {"bf16 and int8", DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kBF16},
    {"all int8", DType::kQ8_0, DType::kQ8_0, DType::kQ8_0, DType::kQ8_0},
    {"float32 v, up", DType::kQ4_1, DType::kF16, DType::kBF16, DType::kQ4_0},
    {"float32 down", DType::kQ5_0, DType::kQ8_0, DType::kQ5_1, DType::kF32}};

inline DType typeOf(const LayerMatrix& matrix, const Types& types) {
  if (matrix.role == &LayerWeights::v) return types.v;
  if (matrix.role == &LayerWeights::up) return types.up;
  return matrix.role == &LayerWeights::down ? types.down : types.others;
}

// Norms around 1, everything else around 0.
inline void fill(WrittenTensor& tensor, Random& random) {
  for (const QuantType& type : quantTypes()) {
    if (type.ggufId != tensor.type) continue;
    size_t elements = 1;
    for (const uint64_t dim : tensor.shape) elements *= dim;
    std::vector<float> values(elements);
    for (float& value : values) value = 0.3f * random.number() + (tensor.shape.size() == 1 ? 1 : 0);
    type.quantize(values.data(), reinterpret_cast<std::byte*>(tensor.data.data()), elements);
  }
}

// The same with heads of so many numbers.
inline void widenHeads(GgufWriter& file, const Family& family, uint64_t dim, const Types& types) {
  const uint64_t before = 16;
  file.u32(std::string(family.name) + ".attention.key_length", static_cast<uint32_t>(dim));
  for (const char* layer : {"blk.0.", "blk.1."}) {
    for (const LayerMatrix& matrix : family.matrices) {
      std::vector<uint64_t> shape = file.at(std::string(layer) + matrix.name).shape;
      const bool from = matrix.role == &LayerWeights::o;
      const bool to = matrix.role == &LayerWeights::q || matrix.role == &LayerWeights::k ||
                      matrix.role == &LayerWeights::v;
      if (!from && !to) continue;
      shape[from ? 0 : 1] = shape[from ? 0 : 1] / before * dim;
      replace(file, std::string(layer) + matrix.name, shape, typeOf(matrix, types));
    }
  }
}

// Two layers, M 32, F 96: three groups, so that workers have them unevenly.
// Heads of `dim` numbers: 16, or another in families without vectors as long as a head.
inline GgufWriter writerOf(const Family& family, const Types& types, uint64_t dim = 16) {
  constexpr uint64_t kFfn = 96;
  GgufWriter file = tinyFamily(family, 2);
  file.u32(std::string(family.name) + ".feed_forward_length", kFfn);
  for (const char* layer : {"blk.0.", "blk.1."}) {
    for (const LayerMatrix& matrix : family.matrices) {
      std::vector<uint64_t> shape = file.at(std::string(layer) + matrix.name).shape;
      if (matrix.cols == Dim::kFfn) shape[0] = kFfn;
      if (matrix.rows == Dim::kFfn) shape[1] = kFfn;
      replace(file, std::string(layer) + matrix.name, shape, typeOf(matrix, types));
    }
  }
  if (dim != 16) widenHeads(file, family, dim, types);
  Random random(1);
  for (WrittenTensor& tensor : file.tensors) fill(tensor, random);
  return file;
}

}  // namespace baton::test
