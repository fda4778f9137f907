// SPDX-License-Identifier: Apache-2.0
// Immutable config and weights by role, as views into the mapped file. A family is data: it names
// its tensors and says how they are used; the layer in engine/ asks the config, never which family
// it is.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "kernels/rows.h"
#include "model/formats/gguf.h"

namespace baton {

// Activation of the gated feed-forward.
enum class Activation : uint8_t { kSilu, kGelu };

// Rotary frequencies of some layers: theta_i = base^(-2i / D) / (scale * factors[i]).
struct RopeSpec {
  double base = 10000;
  double scale = 1;                 // linear scaling: positions are divided by it
  std::vector<float> factors = {};  // [D / 2], empty: all 1 (llama3 scaling)
};

// What may differ from layer to layer.
struct LayerSpec {
  int window = 0;  // a row reads keys less than this many frame positions behind it; 0: all
  int rope = 0;    // index in ModelConfig::ropes
};

struct ModelConfig {
  std::string family;
  int layers;         // L
  int hidden;         // M
  int heads;          // H
  int kvHeads;        // G
  int headDim;        // D
  int ffn;            // F
  int vocab;          // V
  int contextLength;  // most positions of a frame
  float normEpsilon;
  RopePairing ropePairing;
  Activation activation;
  float embeddingScale;  // of rows that are tokens
  float attentionScale;  // of q . k
  std::vector<RopeSpec> ropes;
  std::vector<LayerSpec> layerSpecs;  // [L]
};

// A weight matrix [rows, cols] (out, in) in its file format; a view.
struct Weight {
  const void* data = nullptr;
  DType type = DType::kF32;
  int rows = 0;
  int cols = 0;
  const std::byte* panels = nullptr;  // the same packed (linear/panels.h), where a device has that
};

// A vector that is null does not exist in the family.
struct LayerWeights {
  const float* attnNorm;      // [M]
  Weight q;                   // [H * D, M]
  Weight k;                   // [G * D, M]
  Weight v;                   // [G * D, M]
  const float* qBias;         // [H * D] or null
  const float* kBias;         // [G * D] or null
  const float* vBias;         // [G * D] or null
  const float* qNorm;         // [D] of every head before the rotation, or null
  const float* kNorm;         // [D] of every head before the rotation, or null
  Weight o;                   // [M, H * D]
  const float* attnPostNorm;  // [M] of what attention adds to the stream, or null
  const float* ffnNorm;       // [M]
  Weight gate;                // [F, M]
  Weight up;                  // [F, M]
  Weight down;                // [M, F]
  const float* ffnPostNorm;   // [M] of what the feed-forward adds to the stream, or null

  std::array<Weight*, 7> matrices() { return {&q, &k, &v, &o, &gate, &up, &down}; }
  std::array<const Weight*, 7> matrices() const { return {&q, &k, &v, &o, &gate, &up, &down}; }
};

// By role; the vectors and matrices are those of the file, or a device's copy of them.
struct ModelWeights {
  Weight embedding;                   // [V, M]
  Weight output;                      // [V, M]; equals embedding when tied
  const float* outputNorm = nullptr;  // [M]
  std::vector<LayerWeights> layers;
};

class Model : public ModelWeights {
 public:
  // Maps and checks a file. `cancel` is polled between tensors: nonzero gives Error(ABORTED).
  // Errors: IO, MODEL_FORMAT, MODEL_UNSUPPORTED, OUT_OF_MEMORY (file larger than the memory this
  // process may take).
  static std::shared_ptr<const Model> load(const std::string& path,
                                           const std::atomic<int32_t>& cancel);
  // The same on a parsed file, without the check of memory.
  static std::shared_ptr<const Model> fromFile(std::unique_ptr<GgufFile> file,
                                               const std::atomic<int32_t>& cancel);

  ModelConfig config{};
  int64_t parameters = 0;
  int64_t weightBytes = 0;
  std::string weightType;   // most frequent type by bytes
  std::string contentHash;  // SHA-256, hex: header and sampled pages of every tensor

  const GgufFile& file() const { return *file_; }

 private:
  friend class WeightBinder;

  std::unique_ptr<GgufFile> file_;                // owns the mapping that all views point into
  std::vector<std::unique_ptr<float[]>> floats_;  // vectors that the file holds in another format
};

}  // namespace baton
