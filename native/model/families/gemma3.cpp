// SPDX-License-Identifier: Apache-2.0
// The checkpoint's norms multiply by 1 + w; GGUF stores 1 + w, and so does what reads checkpoints,
// so they are plain norms here. Linear scaling of positions is for the layers that read everything;
// those with a window turn by their own base, unscaled.
#include "model/families/gemma3.h"

#include <cmath>

#include "model/families/decoder.h"

namespace baton {
namespace {

constexpr LayerVector kVectors[] = {
    kDecoderVectors[0],
    kDecoderVectors[1],
    {"attn_q_norm.weight", &LayerWeights::qNorm, Dim::kHead},
    {"attn_k_norm.weight", &LayerWeights::kNorm, Dim::kHead},
    {"post_attention_norm.weight", &LayerWeights::attnPostNorm, Dim::kModel},
    {"post_ffw_norm.weight", &LayerWeights::ffnPostNorm, Dim::kModel},
};

// The file does not say it: the model of 62 layers (27B) scales by M / H instead of D.
float attentionScale(const ModelConfig& config) {
  constexpr int kLayers27B = 62;
  const int length = config.layers == kLayers27B ? config.hidden / config.heads : config.headDim;
  return 1.0f / std::sqrt(static_cast<float>(length));
}

constexpr CheckpointName kCheckpointNames[] = {
    {"post_attention_layernorm.", "post_attention_norm."},
    {"pre_feedforward_layernorm.", "ffn_norm."},
    {"post_feedforward_layernorm.", "post_ffw_norm."},
};

constexpr Checkpoint kCheckpoints[] = {{
    .modelType = "gemma3_text",
    .windowed = true,
    .normsLessOne = true,
    .ropeBase = 1000000,
    .headDim = 256,
    .names = kCheckpointNames,
}};

}  // namespace

constexpr Family kGemma3 = {
    .name = "gemma3",
    .ropePairing = RopePairing::kHalves,
    .activation = Activation::kGelu,
    .scaledEmbedding = true,
    .windows = true,
    .globalEvery = 6,
    .localRopeBase = 10000,
    .attentionScale = attentionScale,
    .vectors = kVectors,
    .matrices = kDecoderMatrices,
    .checkpoints = kCheckpoints,
};

}  // namespace baton
