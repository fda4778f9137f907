// SPDX-License-Identifier: Apache-2.0
// A whole model as Hugging Face stores one, in a few kilobytes and in two shards, for tests to
// break.
#pragma once

#include <filesystem>
#include <map>

#include "check.h"
#include "model/gguf_writer.h"
#include "model/model.h"
#include "model/refusal.h"
#include "model/temporary_folder.h"

namespace baton::test {

inline constexpr const char* kFormat = "MODEL_FORMAT";
inline constexpr const char* kUnsupported = "MODEL_UNSUPPORTED";
using Words = std::vector<std::string>;

inline std::string withHeader(const std::string& header, const std::string& data) {
  return le<uint64_t>(header.size()) + header + data;
}

struct Plain {
  std::string name;
  std::vector<int> shape;
};

// A sound file of float32 tensors of small numbers.
inline std::string safetensors(const std::vector<Plain>& tensors) {
  std::string header = "{", data;
  for (const Plain& tensor : tensors) {
    std::string dims;
    int elements = 1;
    for (const int dim : tensor.shape) {
      dims += (dims.empty() ? "" : ",") + std::to_string(dim);
      elements *= dim;
    }
    const size_t begin = data.size();
    for (int i = 0; i < elements; ++i) data += le(0.01f * static_cast<float>((i * 7) % 11 - 5));
    header += (header.size() > 1 ? ",\"" : "\"") + tensor.name +
              "\":{\"dtype\":\"F32\",\"shape\":[" + dims + "],\"data_offsets\":[" +
              std::to_string(begin) + "," + std::to_string(data.size()) + "]}";
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return withHeader(header, data);
}

inline constexpr const char* kConfig =
    R"({"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 1,
  "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1,
  "max_position_embeddings": 128, "rms_norm_eps": 1e-05, "rope_theta": 5000.0, "vocab_size": 8,
  "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": [2, 3], "head_dim": null})";

// M 32, H 2, G 1, D 16, F 64, V 8.
inline const std::vector<Plain> kFirst = {{"model.embed_tokens.weight", {8, 32}},
                                          {"model.layers.0.input_layernorm.weight", {32}},
                                          {"model.layers.0.self_attn.q_proj.weight", {32, 32}},
                                          {"model.layers.0.self_attn.k_proj.weight", {16, 32}},
                                          {"model.layers.0.self_attn.v_proj.weight", {16, 32}},
                                          {"model.layers.0.self_attn.o_proj.weight", {32, 32}}};
inline const std::vector<Plain> kSecond = {{"model.layers.0.post_attention_layernorm.weight", {32}},
                                           {"model.layers.0.mlp.gate_proj.weight", {64, 32}},
                                           {"model.layers.0.mlp.up_proj.weight", {64, 32}},
                                           {"model.layers.0.mlp.down_proj.weight", {32, 64}},
                                           {"model.norm.weight", {32}},
                                           {"lm_head.weight", {8, 32}}};

inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  CHECK(at != std::string::npos);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

struct HubFolder {
  TemporaryFolder folder;
  std::map<std::string, std::string> files;

  HubFolder() {
    files["config.json"] = kConfig;
    files["a.safetensors"] = safetensors(kFirst);
    files["b.safetensors"] = safetensors(kSecond);
    std::string map;
    for (const auto& [file, tensors] : {std::pair{"a", &kFirst}, std::pair{"b", &kSecond}}) {
      for (const Plain& tensor : *tensors) {
        map += (map.empty() ? "\"" : ",\"") + tensor.name + "\":\"" + file + ".safetensors\"";
      }
    }
    files["model.safetensors.index.json"] =
        "{\"metadata\":{\"total_size\":1},\"weight_map\":{" + map + "}}";
  }

  std::string path() const { return folder.file(""); }
  std::shared_ptr<const Model> load() {
    for (const auto& [name, text] : files) folder.write(name.c_str(), text);
    const std::atomic<int32_t> cancel{0};
    return Model::load(path(), cancel);
  }
  void refused(const char* what, const char* code, const Words& words) {
    expectRefused(what, code, words, [&] { load(); });
  }
};

}  // namespace baton::test
