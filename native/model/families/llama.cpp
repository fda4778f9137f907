// SPDX-License-Identifier: Apache-2.0
// Q and K rows are stored in the order in which rotary pairs are adjacent (2i, 2i + 1): the
// conversion to GGUF permutes the halves order of Hugging Face checkpoints.
#include "model/families/llama.h"

namespace baton {
namespace {

constexpr LayerNorm kNorms[] = {
    {"attn_norm.weight", &LayerWeights::attnNorm},
    {"ffn_norm.weight", &LayerWeights::ffnNorm},
};

constexpr LayerMatrix kMatrices[] = {
    {"attn_q.weight", &LayerWeights::q, Dim::kQuery, Dim::kModel},
    {"attn_k.weight", &LayerWeights::k, Dim::kKv, Dim::kModel},
    {"attn_v.weight", &LayerWeights::v, Dim::kKv, Dim::kModel},
    {"attn_output.weight", &LayerWeights::o, Dim::kModel, Dim::kQuery},
    {"ffn_gate.weight", &LayerWeights::gate, Dim::kFfn, Dim::kModel},
    {"ffn_up.weight", &LayerWeights::up, Dim::kFfn, Dim::kModel},
    {"ffn_down.weight", &LayerWeights::down, Dim::kModel, Dim::kFfn},
};

constexpr NeutralKey kNeutralKeys[] = {
    {"expert_count", 0, "a mixture of experts"},
    {"expert_used_count", 0, "a mixture of experts"},
    {"attention.sliding_window", 0, "attention over a sliding window"},
    {"attention.causal", 1, "attention that is not causal"},
    {"attention.scale", 0, "a scale of attention scores of its own"},
    {"attention.clamp_kqv", 0, "clamped Q, K and V"},
    {"attention.max_alibi_bias", 0, "ALiBi positions"},
    {"attn_logit_softcapping", 0, "soft-capped attention scores"},
    {"final_logit_softcapping", 0, "soft-capped logits"},
    {"logit_scale", 1, "scaled logits"},
    {"residual_scale", 1, "a scaled residual stream"},
    {"embedding_scale", 1, "scaled embeddings"},
    {"rope.scale_linear", 1, "linearly scaled rotary positions"},
    {"rope.scaling.attn_factor", 1, "rotary scaling with an attention factor"},
};

constexpr RefusedTensor kRefusedTensors[] = {
    {"rope_freqs.weight", "frequency factors of rotary positions (llama3 scaling)"},
    {"rope_factors", "frequency factors of rotary positions (long-context scaling)"},
    {".bias", "a bias"},
    {"_exps.", "a mixture of experts"},
    {"ffn_gate_inp", "a mixture of experts"},
    {"_norm.", "a norm that this family does not have"},
    {".lora_", "a LoRA adapter"},
};

}  // namespace

constexpr Family kLlama = {
    .name = "llama",
    .ropePairing = RopePairing::kAdjacent,
    .embedding = "token_embd.weight",
    .output = "output.weight",
    .outputNorm = "output_norm.weight",
    .norms = kNorms,
    .matrices = kMatrices,
    .neutralKeys = kNeutralKeys,
    .refusedTensors = kRefusedTensors,
};

}  // namespace baton
