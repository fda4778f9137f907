// SPDX-License-Identifier: Apache-2.0
// Q and K rows keep the order of the checkpoint: a rotary pair is half a head apart.
#include "model/families/qwen2.h"

#include "model/families/decoder.h"

namespace baton {
namespace {

constexpr LayerVector kVectors[] = {
    kDecoderVectors[0],
    kDecoderVectors[1],
    {"attn_q.bias", &LayerWeights::qBias, Dim::kQuery},
    {"attn_k.bias", &LayerWeights::kBias, Dim::kKv},
    {"attn_v.bias", &LayerWeights::vBias, Dim::kKv},
};

constexpr Checkpoint kCheckpoints[] = {{.modelType = "qwen2"}};

}  // namespace

constexpr Family kQwen2 = {
    .name = "qwen2",
    .ropePairing = RopePairing::kHalves,
    .vectors = kVectors,
    .matrices = kDecoderMatrices,
    .checkpoints = kCheckpoints,
};

}  // namespace baton
