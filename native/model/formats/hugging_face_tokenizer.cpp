// SPDX-License-Identifier: Apache-2.0
// Special tokens stand in up to four files. tokenizer_config.json names them by their text, and
// special_tokens_map.json where it does not; generation_config.json and config.json by id. Texts
// become ids where tokenizer.json is read (src/model/tokenizer.ts).
#include <array>
#include <filesystem>
#include <functional>
#include <utility>

#include "model/fault.h"
#include "model/formats/hugging_face.h"
#include "model/formats/hugging_face_metadata.h"

namespace baton {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostTokenizerBytes = 256u << 20;
constexpr const char* kMoreTemplates = "additional_chat_templates";

class TokenizerReader {
 public:
  TokenizerReader(const std::string& folder, const Json& config, const std::string& path,
                  ModelParts& parts)
      : folder_(folder), config_(config), out_(parts, path) {}

  void run() {
    if (auto json = readTextBeside(folder_, "tokenizer.json", kMostTokenizerBytes)) {
      out_.text("tokenizer.huggingface.json", std::move(*json));
    }
    settings_ = readJsonBeside(folder_, "tokenizer_config.json");
    map_ = readJsonBeside(folder_, "special_tokens_map.json");
    readIds();
    readSpecial("bos_token");
    readSpecial("eos_token");
    const Json* addBos = settings_ ? presentIn(*settings_, "add_bos_token") : nullptr;
    if (addBos != nullptr && addBos->boolean() != nullptr) {
      out_.boolean("tokenizer.ggml.add_bos_token", *addBos->boolean());
    }
    readTemplates();
  }

 private:
  void readIds() {
    const std::optional<Json> generation = readJsonBeside(folder_, "generation_config.json");
    const auto find = [&](const char* key) {
      const Json* found = generation ? presentIn(*generation, key) : nullptr;
      return found != nullptr ? found : presentIn(config_, key);
    };
    const Json* bos = find("bos_token_id");
    if (bos != nullptr) out_.integer("tokenizer.ggml.bos_token_id", "bos_token_id", *bos);
    constexpr const char* kEnds[] = {"eos", "eot", "eom"};
    const Json* eos = find("eos_token_id");
    if (eos == nullptr) return;
    if (eos->array() == nullptr) {
      out_.integer("tokenizer.ggml.eos_token_id", "eos_token_id", *eos);
      return;
    }
    if (eos->array()->size() > std::size(kEnds)) {
      refuseUnsupported({out_.path(), "'eos_token_id'",
                         "an array of " + std::to_string(eos->array()->size()),
                         "at most three closing tokens"});
    }
    const char* const* end = kEnds;
    for (const Json& id : *eos->array()) {
      out_.integer(std::string("tokenizer.ggml.") + *end++ + "_token_id", "eos_token_id", id);
    }
  }

  // A text, or an object with the text as its content. Null in tokenizer_config.json: there is
  // none.
  void readSpecial(const char* key) {
    for (const auto& file : {std::cref(settings_), std::cref(map_)}) {
      const Json* found = file.get() ? file.get()->find(key) : nullptr;
      if (found == nullptr) continue;
      const Json* content = found->find("content");
      const Json& text = content != nullptr ? *content : *found;
      if (text.text() != nullptr) {
        out_.text(std::string("tokenizer.huggingface.") + key, *text.text());
      } else if (!text.isNull()) {
        refuseFormat({folder_, quote(key) + " in tokenizer_config.json or special_tokens_map.json",
                      shownJson(*found), "the text of a token"});
      }
      return;
    }
  }

  // chat_template.jinja before tokenizer_config.json's own, which is one text, or named ones.
  void readTemplates() {
    constexpr const char* kKey = "tokenizer.chat_template";
    bool hasDefault = false;
    const auto add = [&](const std::string& name, std::string text) {
      const bool isDefault = name == "default";
      if (isDefault && std::exchange(hasDefault, true)) return;
      out_.text(isDefault ? kKey : kKey + ("." + name), std::move(text));
    };
    if (auto file = readTextBeside(folder_, "chat_template.jinja", kMostConfigBytes)) {
      add("default", std::move(*file));
    }
    const Json* found = settings_ ? presentIn(*settings_, "chat_template") : nullptr;
    if (found != nullptr && found->text() != nullptr) add("default", *found->text());
    if (readMoreTemplates(add) || found == nullptr || found->array() == nullptr) return;
    for (const Json& one : *found->array()) {
      const Json* name = one.find("name");
      const Json* text = one.find("template");
      if (name == nullptr || name->text() == nullptr || text == nullptr ||
          text->text() == nullptr) {
        refuseFormat({folder_, "'chat_template' in tokenizer_config.json", shownJson(one),
                      "an object with the texts \"name\" and \"template\""});
      }
      add(*name->text(), *text->text());
    }
  }

  // additional_chat_templates/NAME.jinja. False when there is no such folder.
  template <class Add>
  bool readMoreTemplates(const Add& add) const {
    const fs::path folder = fs::path(folder_) / kMoreTemplates;
    std::error_code failed;
    const fs::directory_iterator files(folder, failed);
    if (failed) return false;
    for (const fs::directory_entry& file : files) {
      if (file.path().extension() != ".jinja") continue;
      const std::string name = file.path().filename().string();
      if (auto text = readTextBeside(folder.string(), name.c_str(), kMostConfigBytes)) {
        add(file.path().stem().string(), std::move(*text));
      }
    }
    return true;
  }

  std::string folder_;
  const Json& config_;
  MetadataWriter out_;
  std::optional<Json> settings_;  // tokenizer_config.json
  std::optional<Json> map_;       // special_tokens_map.json
};

}  // namespace

void readHuggingFaceTokenizer(const std::string& folder, const Json& config,
                              const std::string& path, ModelParts& parts) {
  TokenizerReader(folder, config, path, parts).run();
}

}  // namespace baton
