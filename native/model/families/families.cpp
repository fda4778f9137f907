// SPDX-License-Identifier: Apache-2.0
// The table of families, and what none of them takes.
#include "model/families/families.h"

#include "model/families/gemma3.h"
#include "model/families/llama.h"
#include "model/families/qwen2.h"
#include "model/families/qwen3.h"
#include "model/fault.h"

namespace baton {
namespace {

constexpr const Family* kFamilies[] = {
    &kLlama,
    &kQwen2,
    &kQwen3,
    &kGemma3,
};

constexpr NeutralKey kNeutralKeys[] = {
    {"expert_count", 0, "a mixture of experts"},
    {"expert_used_count", 0, "a mixture of experts"},
    {"attention.causal", 1, "attention that is not causal"},
    {"attention.clamp_kqv", 0, "clamped Q, K and V"},
    {"attention.max_alibi_bias", 0, "ALiBi positions"},
    {"attention.shared_kv_layers", 0, "layers that share K and V"},
    {"attn_logit_softcapping", 0, "soft-capped attention scores"},
    {"final_logit_softcapping", 0, "soft-capped logits"},
    {"logit_scale", 1, "scaled logits"},
    {"residual_scale", 1, "a scaled residual stream"},
    {"embedding_scale", 1, "embeddings with a scale of their own"},
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

std::span<const Family* const> families() {
  return kFamilies;
}

const Family* findFamily(std::string_view name) {
  for (const Family* family : kFamilies) {
    if (name == family->name) return family;
  }
  return nullptr;
}

CheckpointOf findCheckpoint(std::string_view modelType) {
  for (const Family* family : kFamilies) {
    for (const Checkpoint& checkpoint : family->checkpoints) {
      if (modelType == checkpoint.modelType) return {family, &checkpoint};
    }
  }
  return {};
}

std::string checkpointTypes() {
  std::string types;
  for (const Family* family : kFamilies) {
    for (const Checkpoint& checkpoint : family->checkpoints) {
      types += (types.empty() ? "" : ", ") + quote(checkpoint.modelType);
    }
  }
  return types;
}

std::span<const NeutralKey> neutralKeys() {
  return kNeutralKeys;
}

std::span<const RefusedTensor> refusedTensors() {
  return kRefusedTensors;
}

int dimSize(const ModelConfig& config, Dim dim) {
  switch (dim) {
    case Dim::kModel:
      return config.hidden;
    case Dim::kQuery:
      return config.heads * config.headDim;
    case Dim::kKv:
      return config.kvHeads * config.headDim;
    case Dim::kHead:
      return config.headDim;
    case Dim::kFfn:
      return config.ffn;
    case Dim::kVocab:
      return config.vocab;
  }
  return 0;
}

}  // namespace baton
