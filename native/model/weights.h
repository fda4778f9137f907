// SPDX-License-Identifier: Apache-2.0
// Tensors of a file to the roles of a family. Each is checked for presence, shape, type and
// alignment; a tensor that no role takes is refused, since leaving it out would change the result
// without a word.
#pragma once

#include "model/families/families.h"
#include "model/model.h"

namespace baton {

class WeightBinder {
 public:
  // `model` has its file and config. Fills weights, layers and sums.
  // Errors: MODEL_FORMAT (missing, wrong shape, misaligned), MODEL_UNSUPPORTED (type, unknown
  // tensor).
  static void bind(Model& model, const Family& family);

 private:
  WeightBinder(Model& model, const Family& family);

  void bindLayer(int layer);
  const GgufTensor& require(const std::string& name);
  void requireShape(const GgufTensor& tensor, int rows, int cols) const;
  void requireAlignment(const GgufTensor& tensor) const;
  Weight matrix(const std::string& name, Dim rows, Dim cols);
  const float* vector(const std::string& name, int length);
  void bindRopeFactors();
  void refuseUnused() const;
  void sum();

  Model& model_;
  const Family& family_;
  const GgufFile& file_;
  std::vector<bool> used_;  // by index of the tensor in the file
};

}  // namespace baton
