// SPDX-License-Identifier: Apache-2.0
// A model family is data: which tensors play which role, with which shapes, and what of the
// metadata it cannot take. Everything that has an effect and is not built is refused by name;
// nothing is passed over in silence. A family is one file in this folder and one line in
// families.cpp.
#pragma once

#include <span>
#include <string_view>

#include "model/model.h"

namespace baton {

// Sizes that tensors are made of.
enum class Dim : uint8_t {
  kModel,  // M
  kQuery,  // H * D
  kKv,     // G * D
  kFfn,    // F
  kVocab,  // V
};

int dimSize(const ModelConfig& config, Dim dim);

// Tensor "blk.<layer>.<name>" of every layer, [rows, cols].
struct LayerMatrix {
  const char* name;
  Weight LayerWeights::* role;
  Dim rows, cols;
};

// Tensor "blk.<layer>.<name>" of every layer, [M].
struct LayerNorm {
  const char* name;
  const float* LayerWeights::* role;
};

// Metadata key "<family>.<key>" that must be absent or have its neutral value (a bool counts as 0
// or 1).
struct NeutralKey {
  const char* key;
  double neutral;
  const char* meaning;
};

// Tensors beyond the family's own whose name contains `part`; the others are refused as unknown.
struct RefusedTensor {
  const char* part;
  const char* meaning;
};

struct Family {
  const char* name;  // general.architecture, and the prefix of its metadata keys
  RopePairing ropePairing;
  const char* embedding;   // [V, M]
  const char* output;      // [V, M]; tied to the embedding when absent
  const char* outputNorm;  // [M]
  std::span<const LayerNorm> norms;
  std::span<const LayerMatrix> matrices;
  std::span<const NeutralKey> neutralKeys;
  std::span<const RefusedTensor> refusedTensors;
};

std::span<const Family* const> families();
const Family* findFamily(std::string_view name);  // null when unknown

}  // namespace baton
