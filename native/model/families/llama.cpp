// SPDX-License-Identifier: Apache-2.0
// Q and K rows are stored in the order in which rotary pairs are adjacent (2i, 2i + 1): the
// conversion to GGUF permutes the halves order of Hugging Face checkpoints. Mistral is this family
// with a sliding window on every layer; Llama 3.1 comes with divisors of its rotary frequencies.
#include "model/families/llama.h"

#include "model/families/decoder.h"

namespace baton {
namespace {

constexpr Checkpoint kCheckpoints[] = {
    {.modelType = "llama"},
    {.modelType = "mistral", .windowed = true},
};

}  // namespace

constexpr Family kLlama = {
    .name = "llama",
    .ropePairing = RopePairing::kAdjacent,
    .windows = true,
    .ropeFactors = "rope_freqs.weight",
    .vectors = kDecoderVectors,
    .matrices = kDecoderMatrices,
    .checkpoints = kCheckpoints,
};

}  // namespace baton
