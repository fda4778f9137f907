// SPDX-License-Identifier: Apache-2.0
// The table of families.
#include "model/families/families.h"

#include "model/families/llama.h"

namespace baton {
namespace {

constexpr const Family* kFamilies[] = {
    &kLlama,
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

int dimSize(const ModelConfig& config, Dim dim) {
  switch (dim) {
    case Dim::kModel:
      return config.hidden;
    case Dim::kQuery:
      return config.heads * config.headDim;
    case Dim::kKv:
      return config.kvHeads * config.headDim;
    case Dim::kFfn:
      return config.ffn;
    case Dim::kVocab:
      return config.vocab;
  }
  return 0;
}

}  // namespace baton
