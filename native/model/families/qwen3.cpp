// SPDX-License-Identifier: Apache-2.0
// Q and K rows keep the order of the checkpoint: a rotary pair is half a head apart.
#include "model/families/qwen3.h"

#include "model/families/decoder.h"

namespace baton {
namespace {

constexpr LayerVector kVectors[] = {
    kDecoderVectors[0],
    kDecoderVectors[1],
    {"attn_q_norm.weight", &LayerWeights::qNorm, Dim::kHead},
    {"attn_k_norm.weight", &LayerWeights::kNorm, Dim::kHead},
};

constexpr Checkpoint kCheckpoints[] = {{.modelType = "qwen3", .headDim = 128}};

}  // namespace

constexpr Family kQwen3 = {
    .name = "qwen3",
    .ropePairing = RopePairing::kHalves,
    .vectors = kVectors,
    .matrices = kDecoderMatrices,
    .checkpoints = kCheckpoints,
};

}  // namespace baton
