// SPDX-License-Identifier: Apache-2.0
// What the readers of a Hugging Face folder share: JSON values into metadata, each refused under
// the name that the user can look up.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "model/formats/gguf.h"

namespace baton {

inline constexpr uint64_t kMostConfigBytes = 16u << 20;

// Null when the key is absent or its value is null.
const Json* presentIn(const Json& object, const char* key);

// A value in a message.
std::string shownJson(const Json& value);

class MetadataWriter {
 public:
  // `path` is that of the file that the values are from, for errors.
  MetadataWriter(ModelParts& parts, std::string path) : parts_(parts), path_(std::move(path)) {}

  const std::string& path() const { return path_; }

  void text(const std::string& key, std::string value);
  void boolean(const std::string& key, bool value);
  void flags(const std::string& key, const std::vector<bool>& values);
  void real(const std::string& key, double value);
  void integer(const std::string& key, uint64_t value);
  // `theirs` is the key in the file. Errors: MODEL_FORMAT (no non-negative integer, no number).
  void integer(const std::string& key, const char* theirs, const Json& value);
  void real(const std::string& key, const char* theirs, const Json& value);
  // The one or the other.
  void number(const std::string& key, const char* theirs, const Json& value);

 private:
  void add(const std::string& key, GgufType type, GgufValue value);

  ModelParts& parts_;
  std::string path_;
};

// A file in `folder`, if it is there. Errors: IO, MODEL_FORMAT.
std::optional<std::string> readTextBeside(const std::string& folder, const char* name,
                                          uint64_t mostBytes);
std::optional<Json> readJsonBeside(const std::string& folder, const char* name);

// The tokenizer, its special tokens and the chat templates of a folder as metadata. `config` is
// that of config.json, at `path`. Errors: IO, MODEL_FORMAT, MODEL_UNSUPPORTED.
void readHuggingFaceTokenizer(const std::string& folder, const Json& config,
                              const std::string& path, ModelParts& parts);

}  // namespace baton
