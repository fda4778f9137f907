// SPDX-License-Identifier: Apache-2.0
// Models as Hugging Face stores them: config.json, the weights in one safetensors file or in shards
// with an index, and beside them tokenizer.json, tokenizer_config.json, special_tokens_map.json,
// generation_config.json and chat templates where they exist. Read into GGUF's terms; matrices stay
// where they are.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/json.h"
#include "model/families/families.h"
#include "model/formats/gguf.h"

namespace baton {

// A folder with config.json. Errors: IO, MODEL_FORMAT (names the shard that is absent or does not
// fit its index), MODEL_UNSUPPORTED.
std::unique_ptr<GgufFile> openModelFolder(const std::string& folder);

// One safetensors file with config.json in the same folder.
std::unique_ptr<GgufFile> parseSafetensorsModel(MappedFile mapping, const std::string& path);

// What config.json says of the tensors.
struct TensorFacts {
  const Checkpoint* checkpoint = nullptr;
  std::optional<bool> tied;     // the head is the embedding
  std::optional<int64_t> rows;  // of the embedding
};

// config.json and what stands beside it as metadata of `parts`, whose path and format are there
// already. Errors: IO, MODEL_FORMAT, MODEL_UNSUPPORTED.
TensorFacts readHuggingFaceConfig(const std::string& folder, ModelParts& parts);

// A JSON file of at most `mostBytes`. Errors: IO, MODEL_FORMAT.
Json readJsonFile(const std::string& path, uint64_t mostBytes);

}  // namespace baton
