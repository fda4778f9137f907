// SPDX-License-Identifier: Apache-2.0
// config.json and its neighbours as metadata. Values keep their meaning and are checked where all
// metadata is (model/config.cpp); here only what must be there is asked for, under the name that
// the user can look up. What has an effect and no key in GGUF is refused.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "model/fault.h"
#include "model/formats/hugging_face.h"
#include "model/formats/hugging_face_metadata.h"

namespace baton {
namespace {

namespace fs = std::filesystem;

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

// Numbers that are taken over if they are there.
struct NumberKey {
  const char* theirs;
  const char* ours;  // behind the architecture
};
constexpr NumberKey kRopeNumbers[] = {
    {"factor", "rope.scaling.factor"},
    {"low_freq_factor", "rope.scaling.low_freq_factor"},
    {"high_freq_factor", "rope.scaling.high_freq_factor"},
    {"original_max_position_embeddings", "rope.scaling.original_context_length"},
};
// Known to the table of what must be neutral.
constexpr NumberKey kEffects[] = {
    {"attn_logit_softcapping", "attn_logit_softcapping"},
    {"final_logit_softcapping", "final_logit_softcapping"},
};

bool isTrue(const Json* value) {
  return value != nullptr && value->boolean() != nullptr && *value->boolean();
}

class ConfigReader {
 public:
  ConfigReader(const fs::path& folder, ModelParts& parts)
      : folder_(folder.string()),
        path_((folder / "config.json").string()),
        parts_(parts),
        out_(parts, path_) {}

  TensorFacts run() {
    const Json config = readJsonFile(path_, kMostConfigBytes);
    readArchitecture(config);
    for (const IntegerKey& row : kIntegers) {
      const Json* found = presentIn(config, row.theirs);
      if (found != nullptr) {
        out_.integer(arch_ + row.ours, row.theirs, *found);
      } else if (row.required) {
        refuseFormat({path_, quote(row.theirs), "absent", "an integer"});
      }
    }
    if (checkpoint_->headDim != 0 && presentIn(config, "head_dim") == nullptr) {
      out_.integer(arch_ + "attention.key_length", checkpoint_->headDim);
    }
    const Json* epsilon = presentIn(config, "rms_norm_eps");
    if (epsilon == nullptr) refuseFormat({path_, "'rms_norm_eps'", "absent", "a number"});
    out_.real(arch_ + "attention.layer_norm_rms_epsilon", "rms_norm_eps", *epsilon);
    readRope(config);
    readEffects(config);
    readWindow(config);
    readHuggingFaceTokenizer(folder_, config, path_, parts_);
    TensorFacts facts;
    facts.checkpoint = checkpoint_;
    const Json* tied = presentIn(config, "tie_word_embeddings");
    if (tied != nullptr && tied->boolean() != nullptr) facts.tied = *tied->boolean();
    const Json* rows = presentIn(config, "vocab_size");
    if (rows != nullptr) facts.rows = static_cast<int64_t>(*rows->count());  // kIntegers has it
    return facts;
  }

 private:
  void readArchitecture(const Json& config) {
    const Json* type = presentIn(config, "model_type");
    if (type == nullptr || type->text() == nullptr) {
      refuseFormat({path_, "'model_type'", type == nullptr ? "absent" : shownJson(*type),
                    "the name of an architecture"});
    }
    const CheckpointOf found = findCheckpoint(*type->text());
    if (found.checkpoint == nullptr) {
      refuseUnsupported({path_, "'model_type'", shownJson(*type), "one of " + checkpointTypes(),
                         std::nullopt, "Use a GGUF file of the model, or a model of these types."});
    }
    family_ = found.family;
    checkpoint_ = found.checkpoint;
    arch_ = std::string(family_->name) + ".";
    out_.text("general.architecture", family_->name);
  }

  // One rope for all layers, or one for those with a window and one for those without.
  void readRope(const Json& config) {
    const Json* rope = presentIn(config, "rope_parameters");
    if (rope == nullptr) rope = presentIn(config, "rope_scaling");
    const Json* local = rope != nullptr ? presentIn(*rope, "sliding_attention") : nullptr;
    const Json* full = rope != nullptr ? presentIn(*rope, "full_attention") : nullptr;
    if (full != nullptr) rope = full;
    const Json* base = presentIn(config, "rope_theta");
    if (base == nullptr && rope != nullptr) base = presentIn(*rope, "rope_theta");
    if (base != nullptr) {
      out_.real(arch_ + "rope.freq_base", "rope_theta", *base);
    } else {
      out_.real(arch_ + "rope.freq_base", checkpoint_->ropeBase);
    }
    readLocalRope(config, local);
    if (rope == nullptr) return;
    const std::string type = ropeType(*rope);
    if (type == "default") return;
    out_.text(arch_ + "rope.scaling.type", type);
    for (const NumberKey& row : kRopeNumbers) {
      const Json* found = presentIn(*rope, row.theirs);
      if (found != nullptr) out_.number(arch_ + row.ours, row.theirs, *found);
    }
  }

  void readLocalRope(const Json& config, const Json* local) {
    const char* key = "rope_local_base_freq";
    const Json* base = presentIn(config, key);
    if (local != nullptr) {
      const std::string type = ropeType(*local);
      if (type != "default") {
        refuseUnsupported({path_, "'rope_type' of 'sliding_attention'", quote(type), "'default'"});
      }
      const Json* theirs = presentIn(*local, "rope_theta");
      if (theirs != nullptr) {
        base = theirs;
        key = "rope_theta";
      }
    }
    if (base != nullptr) out_.real(arch_ + "rope.freq_base_swa", key, *base);
  }

  std::string ropeType(const Json& rope) const {
    const Json* type = presentIn(rope, "rope_type");
    if (type == nullptr) type = presentIn(rope, "type");
    if (type == nullptr || type->text() == nullptr) {
      refuseFormat({path_, "'rope_type'", type == nullptr ? "absent" : shownJson(*type),
                    "the name of a scaling of rotary positions"});
    }
    return *type->text();
  }

  // Settings that change the numbers.
  void readEffects(const Json& config) {
    const auto require = [&](const char* key, std::initializer_list<std::string_view> allowed,
                             const char* expected) {
      const Json* found = presentIn(config, key);
      if (found == nullptr) return;
      const std::string value = found->text() != nullptr ? *found->text() : shownJson(*found);
      for (const std::string_view one : allowed) {
        if (value == one) return;
      }
      refuseUnsupported({path_, quote(key), shownJson(*found), expected});
    };
    for (const char* key : {"hidden_act", "hidden_activation"}) {
      if (family_->activation == Activation::kGelu) {
        require(key, {"gelu_pytorch_tanh"}, "'gelu_pytorch_tanh'");
      } else {
        require(key, {"silu", "swish"}, "'silu'");
      }
    }
    require("partial_rotary_factor", {"1", "1.000000"}, "1: rotary positions on the whole head");
    require("pretraining_tp", {"1"}, "1");
    require("use_bidirectional_attention", {"false"}, "false: a row reads what is before it");
    if (presentIn(config, "quantization_config") != nullptr) {
      refuseUnsupported({path_, "'quantization_config'", "present",
                         "weights that are not quantised", std::nullopt,
                         "Use a GGUF file of the model, or its original weights."});
    }
    for (const NumberKey& row : kEffects) {
      const Json* found = presentIn(config, row.theirs);
      if (found != nullptr) out_.number(arch_ + row.ours, row.theirs, *found);
    }
    constexpr const char* kScalar = "query_pre_attn_scalar";
    const Json* scalar = presentIn(config, kScalar);
    if (scalar == nullptr) return;
    const auto number = scalar->number();
    if (!number || !(*number > 0)) {
      refuseFormat({path_, quote(kScalar), shownJson(*scalar), "a positive number"});
    }
    out_.real(arch_ + "attention.scale", 1 / std::sqrt(*number));
  }

  void readWindow(const Json& config) {
    const Json* window = presentIn(config, "sliding_window");
    if (!checkpoint_->windowed && !isTrue(presentIn(config, "use_sliding_window"))) return;
    const Json* types = presentIn(config, "layer_types");
    if (types != nullptr) {
      const std::vector<bool> windowed = readLayerTypes(config, *types);
      if (std::ranges::find(windowed, true) == windowed.end()) return;
      out_.flags(arch_ + kPattern, windowed);
    } else {
      const Json* period = presentIn(config, "sliding_window_pattern");
      if (period == nullptr) period = presentIn(config, "_sliding_window_pattern");
      if (period != nullptr) out_.integer(arch_ + kPattern, "sliding_window_pattern", *period);
    }
    if (window == nullptr) return;
    out_.integer(arch_ + "attention.sliding_window", "sliding_window", *window);
  }

  // Whether each layer has a window.
  std::vector<bool> readLayerTypes(const Json& config, const Json& types) const {
    const Json* layers = presentIn(config, "num_hidden_layers");
    if (types.array() == nullptr || types.array()->size() != layers->count()) {
      refuseFormat({path_, "'layer_types'", shownJson(types),
                    "an array of " + shownJson(*layers) + ", one for each layer"});
    }
    std::vector<bool> windowed;
    for (const Json& type : *types.array()) {
      const std::string name = type.text() != nullptr ? *type.text() : shownJson(type);
      if (name != "full_attention" && name != "sliding_attention") {
        refuseUnsupported(
            {path_, "'layer_types'", quote(name), "'full_attention' or 'sliding_attention'"});
      }
      windowed.push_back(name == "sliding_attention");
    }
    return windowed;
  }

  static constexpr const char* kPattern = "attention.sliding_window_pattern";

  std::string folder_;
  std::string path_;
  ModelParts& parts_;
  MetadataWriter out_;
  const Family* family_ = nullptr;
  const Checkpoint* checkpoint_ = nullptr;
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

}  // namespace baton
