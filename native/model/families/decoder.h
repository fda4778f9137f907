// SPDX-License-Identifier: Apache-2.0
// What decoder-only transformers have in common under GGUF's names: pre-norm attention and a gated
// feed-forward of three matrices. A family lists these tables, or its own where it differs.
#pragma once

#include "model/families/families.h"

namespace baton {

inline constexpr LayerVector kDecoderVectors[] = {
    {"attn_norm.weight", &LayerWeights::attnNorm, Dim::kModel},
    {"ffn_norm.weight", &LayerWeights::ffnNorm, Dim::kModel},
};

inline constexpr LayerMatrix kDecoderMatrices[] = {
    {"attn_q.weight", &LayerWeights::q, Dim::kQuery, Dim::kModel},
    {"attn_k.weight", &LayerWeights::k, Dim::kKv, Dim::kModel},
    {"attn_v.weight", &LayerWeights::v, Dim::kKv, Dim::kModel},
    {"attn_output.weight", &LayerWeights::o, Dim::kModel, Dim::kQuery},
    {"ffn_gate.weight", &LayerWeights::gate, Dim::kFfn, Dim::kModel},
    {"ffn_up.weight", &LayerWeights::up, Dim::kFfn, Dim::kModel},
    {"ffn_down.weight", &LayerWeights::down, Dim::kModel, Dim::kFfn},
};

inline constexpr CheckpointName kDecoderCheckpointNames[] = {
    {"input_layernorm.", "attn_norm."},    {"post_attention_layernorm.", "ffn_norm."},
    {"self_attn.q_proj.", "attn_q."},      {"self_attn.k_proj.", "attn_k."},
    {"self_attn.v_proj.", "attn_v."},      {"self_attn.o_proj.", "attn_output."},
    {"self_attn.q_norm.", "attn_q_norm."}, {"self_attn.k_norm.", "attn_k_norm."},
    {"mlp.gate_proj.", "ffn_gate."},       {"mlp.up_proj.", "ffn_up."},
    {"mlp.down_proj.", "ffn_down."},
};

}  // namespace baton
