// SPDX-License-Identifier: Apache-2.0
// config.json and its neighbours as metadata. Values keep their meaning and are checked where all
// metadata is (model/config.cpp); here only what must be there is asked for, under the name that
// the user can look up. What has an effect and no key in GGUF is refused.
#include <array>
#include <filesystem>

#include "base/error.h"
#include "model/fault.h"
#include "model/formats/hugging_face.h"

namespace baton {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostConfigBytes = 16u << 20;
constexpr uint64_t kMostTokenizerBytes = 256u << 20;

// config.json's model_type -> general.architecture.
struct Architecture {
  std::string_view theirs;
  const char* ours;
  bool windowed;  // sliding_window holds wherever it is a number
};
constexpr Architecture kArchitectures[] = {
    {"llama", "llama", false},
    {"mistral", "llama", true},
    {"qwen2", "qwen2", false},
    {"qwen3", "qwen3", false},
};

struct IntegerKey {
  const char* theirs;
  const char* ours;  // behind the architecture
  bool required;
};
constexpr IntegerKey kIntegers[] = {
    {"num_hidden_layers", "block_count", true},
    {"hidden_size", "embedding_length", true},
    {"intermediate_size", "feed_forward_length", true},
    {"num_attention_heads", "attention.head_count", true},
    {"num_key_value_heads", "attention.head_count_kv", false},
    {"head_dim", "attention.key_length", false},
    {"head_dim", "attention.value_length", false},
    {"max_position_embeddings", "context_length", true},
    {"vocab_size", "vocab_size", false},
};

struct RopeKey {
  const char* theirs;
  const char* ours;
};
constexpr RopeKey kRopeNumbers[] = {
    {"factor", "rope.scaling.factor"},
    {"low_freq_factor", "rope.scaling.low_freq_factor"},
    {"high_freq_factor", "rope.scaling.high_freq_factor"},
    {"original_max_position_embeddings", "rope.scaling.original_context_length"},
};

const Json* present(const Json& object, const char* key) {
  const Json* found = object.find(key);
  return found == nullptr || found->isNull() ? nullptr : found;
}

std::string shown(const Json& value) {
  if (value.text() != nullptr) return quote(*value.text());
  if (value.boolean() != nullptr) return *value.boolean() ? "true" : "false";
  if (const auto count = value.count()) return std::to_string(*count);
  if (const auto number = value.number()) return std::to_string(*number);
  return value.isNull() ? "null" : value.array() != nullptr ? "an array" : "an object";
}

class ConfigReader {
 public:
  ConfigReader(const fs::path& folder, ModelParts& parts)
      : folder_(folder), path_((folder / "config.json").string()), parts_(parts) {}

  TensorFacts run() {
    const Json config = readJsonFile(path_, kMostConfigBytes);
    readArchitecture(config);
    for (const IntegerKey& row : kIntegers) {
      const Json* found = present(config, row.theirs);
      if (found != nullptr) {
        integer(arch_ + row.ours, row.theirs, *found);
      } else if (row.required) {
        refuseFormat({path_, quote(row.theirs), "absent", "an integer"});
      }
    }
    const Json* epsilon = present(config, "rms_norm_eps");
    if (epsilon == nullptr) refuseFormat({path_, "'rms_norm_eps'", "absent", "a number"});
    real(arch_ + "attention.layer_norm_rms_epsilon", "rms_norm_eps", *epsilon);
    readRope(config);
    readEffects(config);
    readTokens(config);
    readTokenizer();
    TensorFacts facts;
    const Json* tied = present(config, "tie_word_embeddings");
    if (tied != nullptr && tied->boolean() != nullptr) facts.tied = *tied->boolean();
    const Json* rows = present(config, "vocab_size");
    if (rows != nullptr) facts.rows = static_cast<int64_t>(*rows->count());  // kIntegers has it
    return facts;
  }

 private:
  void add(const std::string& key, GgufType type, GgufValue value) {
    parts_.metadata.push_back({parts_.texts.emplace_back(key), type, value, 0});
  }
  void text(const std::string& key, std::string value) {
    add(key, GgufType::kString, std::string_view(parts_.texts.emplace_back(std::move(value))));
  }
  void integer(const std::string& key, const char* theirs, const Json& value) {
    const auto count = value.count();
    if (!count) refuseFormat({path_, quote(theirs), shown(value), "a non-negative integer"});
    add(key, GgufType::kU64, *count);
  }
  void real(const std::string& key, const char* theirs, const Json& value) {
    const auto number = value.number();
    if (!number) refuseFormat({path_, quote(theirs), shown(value), "a number"});
    add(key, GgufType::kF64, *number);
  }

  void readArchitecture(const Json& config) {
    const Json* type = present(config, "model_type");
    if (type == nullptr || type->text() == nullptr) {
      refuseFormat({path_, "'model_type'", type == nullptr ? "absent" : shown(*type),
                    "the name of an architecture"});
    }
    std::string known;
    for (const Architecture& row : kArchitectures) {
      known += (known.empty() ? "" : ", ") + quote(row.theirs);
      if (*type->text() != row.theirs) continue;
      architecture_ = &row;
      arch_ = std::string(row.ours) + ".";
      text("general.architecture", row.ours);
      return;
    }
    refuseUnsupported({path_, "'model_type'", shown(*type), "one of " + known, std::nullopt,
                       "Use a GGUF file of the model, or a model of these types."});
  }

  void readRope(const Json& config) {
    const Json* rope = present(config, "rope_parameters");
    if (rope == nullptr) rope = present(config, "rope_scaling");
    const Json* base = present(config, "rope_theta");
    if (base == nullptr && rope != nullptr) base = present(*rope, "rope_theta");
    if (base != nullptr) real(arch_ + "rope.freq_base", "rope_theta", *base);
    if (rope == nullptr) return;
    const Json* type = present(*rope, "rope_type");
    if (type == nullptr) type = present(*rope, "type");
    if (type == nullptr || type->text() == nullptr) {
      refuseFormat({path_, "'rope_type'", type == nullptr ? "absent" : shown(*type),
                    "the name of a scaling of rotary positions"});
    }
    if (*type->text() == "default") return;
    text(arch_ + "rope.scaling.type", *type->text());
    for (const RopeKey& row : kRopeNumbers) {
      const Json* found = present(*rope, row.theirs);
      if (found == nullptr) continue;
      if (found->count()) {
        integer(arch_ + row.ours, row.theirs, *found);
      } else {
        real(arch_ + row.ours, row.theirs, *found);
      }
    }
  }

  // Settings that change the numbers.
  void readEffects(const Json& config) {
    const auto require = [&](const char* key, std::initializer_list<std::string_view> allowed,
                             const char* expected) {
      const Json* found = present(config, key);
      if (found == nullptr) return;
      const std::string value = found->text() != nullptr ? *found->text() : shown(*found);
      for (const std::string_view one : allowed) {
        if (value == one) return;
      }
      refuseUnsupported({path_, quote(key), shown(*found), expected});
    };
    require("hidden_act", {"silu", "swish"}, "'silu'");
    require("partial_rotary_factor", {"1", "1.000000"}, "1: rotary positions on the whole head");
    require("pretraining_tp", {"1"}, "1");
    if (present(config, "quantization_config") != nullptr) {
      refuseUnsupported({path_, "'quantization_config'", "present",
                         "weights that are not quantised", std::nullopt,
                         "Use a GGUF file of the model, or its original weights."});
    }
    const Json* window = present(config, "sliding_window");
    const Json* used = present(config, "use_sliding_window");
    const bool asked = used != nullptr && used->boolean() != nullptr && *used->boolean();
    if (window != nullptr && (architecture_->windowed || asked)) {
      integer(arch_ + "attention.sliding_window", "sliding_window", *window);
    }
  }

  void readTokens(const Json& config) {
    std::optional<Json> generation;
    const fs::path path = folder_ / "generation_config.json";
    std::error_code ignored;
    if (fs::exists(path, ignored)) generation = readJsonFile(path.string(), kMostConfigBytes);
    const auto find = [&](const char* key) {
      const Json* found = generation ? present(*generation, key) : nullptr;
      return found != nullptr ? found : present(config, key);
    };
    const Json* bos = find("bos_token_id");
    if (bos != nullptr) integer("tokenizer.ggml.bos_token_id", "bos_token_id", *bos);
    constexpr const char* kEnds[] = {"eos", "eot", "eom"};
    const Json* eos = find("eos_token_id");
    if (eos == nullptr) return;
    if (eos->array() == nullptr) {
      integer("tokenizer.ggml.eos_token_id", "eos_token_id", *eos);
      return;
    }
    if (eos->array()->size() > std::size(kEnds)) {
      refuseUnsupported({path_, "'eos_token_id'",
                         "an array of " + std::to_string(eos->array()->size()),
                         "at most three closing tokens"});
    }
    const char* const* end = kEnds;
    for (const Json& id : *eos->array()) {
      integer(std::string("tokenizer.ggml.") + *end++ + "_token_id", "eos_token_id", id);
    }
  }

  // The whole tokenizer.json, as some GGUF files carry it, and the chat template.
  void readTokenizer() {
    if (auto json = readText("tokenizer.json", kMostTokenizerBytes)) {
      text("tokenizer.huggingface.json", std::move(*json));
    }
    std::optional<std::string> chat = readText("chat_template.jinja", kMostConfigBytes);
    const fs::path path = folder_ / "tokenizer_config.json";
    std::error_code ignored;
    if (fs::exists(path, ignored)) {
      const Json config = readJsonFile(path.string(), kMostConfigBytes);
      const Json* addBos = present(config, "add_bos_token");
      if (addBos != nullptr && addBos->boolean() != nullptr) {
        add("tokenizer.ggml.add_bos_token", GgufType::kBool, *addBos->boolean());
      }
      const Json* found = present(config, "chat_template");
      if (!chat && found != nullptr && found->text() != nullptr) chat = *found->text();
    }
    if (chat) text("tokenizer.chat_template", std::move(*chat));
  }

  std::optional<std::string> readText(const char* name, uint64_t most) const {
    const fs::path path = folder_ / name;
    std::error_code ignored;
    if (!fs::exists(path, ignored)) return std::nullopt;
    const MappedFile mapping = MappedFile::open(path.string());
    const std::span<const std::byte> bytes = mapping.bytes();
    if (bytes.size() > most) {
      refuseFormat({path.string(), "length of the file", std::to_string(bytes.size()),
                    "at most " + std::to_string(most)});
    }
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  fs::path folder_;
  std::string path_;
  ModelParts& parts_;
  const Architecture* architecture_ = nullptr;
  std::string arch_;
};

}  // namespace

TensorFacts readHuggingFaceConfig(const std::string& folder, ModelParts& parts) {
  std::error_code ignored;
  const fs::path config = fs::path(folder) / "config.json";
  if (!fs::exists(config, ignored)) {
    throw Error(code::kIo,
                "Folder " + folder +
                    ": is a directory without config.json. Give the path of a "
                    "GGUF file, or of a model folder with config.json and safetensors.",
                {{"path", folder}, {"reason", std::string("no config.json")}});
  }
  const MappedFile mapping = MappedFile::open(config.string());
  parts.header.assign(reinterpret_cast<const char*>(mapping.bytes().data()),
                      mapping.bytes().size());
  return ConfigReader(folder, parts).run();
}

Json readJsonFile(const std::string& path, uint64_t mostBytes) {
  const MappedFile mapping = MappedFile::open(path);
  const std::span<const std::byte> bytes = mapping.bytes();
  if (bytes.size() > mostBytes) {
    refuseFormat({path, "length of the file", std::to_string(bytes.size()),
                  "at most " + std::to_string(mostBytes)});
  }
  JsonFault fault;
  std::optional<Json> json =
      parseJson({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, fault);
  if (!json) refuseFormat({path, "content", fault.what, "JSON", fault.offset});
  return std::move(*json);
}

}  // namespace baton
