// SPDX-License-Identifier: Apache-2.0
#include "quant/types.h"

#include "quant/formats.h"

namespace baton {

std::span<const QuantType> quantTypes() {
  // In the order of DType, which is the index.
  static const QuantType types[] = {kQuantF32,  kQuantF16,  kQuantBF16, kQuantQ8_0,
                                    kQuantQ4_0, kQuantQ4_1, kQuantQ5_0, kQuantQ5_1,
                                    kQuantQ4_K, kQuantQ5_K, kQuantQ6_K};
  return types;
}

const QuantType& quantType(DType dtype) {
  return quantTypes()[static_cast<size_t>(dtype)];
}

const QuantType* findQuantType(uint32_t ggufId) {
  for (const QuantType& type : quantTypes()) {
    if (type.ggufId == ggufId) return &type;
  }
  return nullptr;
}

}  // namespace baton
