// SPDX-License-Identifier: Apache-2.0
// A model family is data: which tensors play which role, with which shapes, and how the layers use
// them. Everything in a file that has an effect and is not built is refused by name; nothing is
// passed over in silence. A family is one file in this folder and one line in families.cpp.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "model/model.h"

namespace baton {

// Sizes that tensors are made of.
enum class Dim : uint8_t {
  kModel,  // M
  kQuery,  // H * D
  kKv,     // G * D
  kHead,   // D
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

// Tensor "blk.<layer>.<name>" of every layer, [length]: a norm or a bias.
struct LayerVector {
  const char* name;
  const float* LayerWeights::* role;
  Dim length;
};

// Tensors of a layer: behind "model.layers.<n>." in a checkpoint, behind "blk.<n>." here.
struct CheckpointName {
  std::string_view theirs, ours;
};

// A model_type of config.json whose checkpoints, as Hugging Face stores them, are of this family;
// and what the conversion to GGUF would have changed or written down.
struct Checkpoint {
  std::string_view modelType;
  bool windowed = false;                       // sliding_window holds wherever it is a number
  bool normsLessOne = false;                   // norms multiply by 1 + w, and w is stored
  double ropeBase = 10000;                     // where config.json has no rope_theta
  uint64_t headDim = 0;                        // where it has no head_dim; 0: M / H
  std::span<const CheckpointName> names = {};  // what differs from kDecoderCheckpointNames
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

// A field that a family leaves out has the value of plain llama.
struct Family {
  const char* name;  // general.architecture, and the prefix of its metadata keys
  RopePairing ropePairing;
  Activation activation = Activation::kSilu;
  bool scaledEmbedding = false;  // rows of tokens are multiplied by sqrt(M); soft rows are not

  // Layers with a window, where the metadata has one. Of every `globalEvery` layers the last reads
  // everything; 0: none does. They turn by `localRopeBase`, unscaled; 0: as all layers do. The
  // metadata may say otherwise (config.cpp).
  bool windows = false;
  int globalEvery = 0;
  float localRopeBase = 0;

  // Scale of attention scores where the metadata has none; null: 1 / sqrt(D).
  float (*attentionScale)(const ModelConfig& config) = nullptr;

  const char* embedding = "token_embd.weight";    // [V, M]
  const char* output = "output.weight";           // [V, M]; tied to the embedding when absent
  const char* outputNorm = "output_norm.weight";  // [M]
  const char* ropeFactors = nullptr;              // [D / 2] divisors of frequencies, optional
  std::span<const LayerVector> vectors;
  std::span<const LayerMatrix> matrices;
  std::span<const Checkpoint> checkpoints = {};
};

std::span<const Family* const> families();
const Family* findFamily(std::string_view name);  // null when unknown

struct CheckpointOf {
  const Family* family = nullptr;
  const Checkpoint* checkpoint = nullptr;
};
CheckpointOf findCheckpoint(std::string_view modelType);  // nulls when unknown
std::string checkpointTypes();                            // all of them, quoted

// What no family takes.
std::span<const NeutralKey> neutralKeys();
std::span<const RefusedTensor> refusedTensors();

}  // namespace baton
