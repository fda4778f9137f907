// SPDX-License-Identifier: Apache-2.0
// Safetensors and Hugging Face folders, sound and broken: what is read, and how each fault is
// named.
#include "model/formats/safetensors.h"

#include "model/hub_folder.h"

using namespace baton;
using namespace baton::test;

namespace {

void refused(const char* what, const char* code, const Words& words, const std::string& file) {
  const ExactBytes bytes(file);
  expectRefused(what, code, words, [&] { readSafetensors(bytes.span(), "some.safetensors"); });
}

void refusedTensor(const char* code, const Words& words, const std::string& entry,
                   size_t dataBytes = 8) {
  refused(entry.c_str(), code, words,
          withHeader("{\"w\":" + entry + "}", std::string(dataBytes, '\0')));
}

}  // namespace

TEST("safetensors: tensors with their types, shapes and places") {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[8,20]},)"
      R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  const ExactBytes bytes(withHeader(header, std::string(20, '\1')));
  const Safetensors file = readSafetensors(bytes.span(), "some");
  REQUIRE(file.tensors.size() == 2);
  CHECK_EQ(std::string(file.header), header);
  CHECK_EQ(file.tensors[0].name, "b");
  CHECK(file.tensors[0].type == &quantType(DType::kBF16));
  CHECK(file.tensors[0].shape == std::vector<int64_t>({2, 3}));
  CHECK_EQ(file.tensors[0].offset, 8 + header.size() + 8);
  CHECK(file.tensors[0].data.data() == bytes.span().data() + file.tensors[0].offset);
  CHECK_EQ(file.tensors[1].data.size(), 8u);
}

TEST("safetensors: truncated at any byte") {
  const std::string whole = safetensors({{"a", {2, 2}}, {"b", {3}}});
  readSafetensors(ExactBytes(whole).span(), "some");
  for (size_t size = 0; size < whole.size(); ++size) {
    const ExactBytes cut(std::string_view(whole).substr(0, size));
    const auto error = errorOf([&] { readSafetensors(cut.span(), "some"); });
    CHECK(error && std::string(error->code()) == kFormat);
  }
  refused("longer", kFormat, {"length of the file"}, whole + "x");
}

TEST("safetensors: every fault of a header is named") {
  refused("length", kFormat, {"length of the header is 18446744073709551615"},
          le(~uint64_t{0}) + "{}");
  refused("json", kFormat, {"header is", "byte 9"}, withHeader("{]", ""));
  refused("array", kFormat, {"header is no JSON object"}, withHeader("[]", ""));
  refusedTensor(kFormat, {"dtype of tensor 'w' is absent"}, "{}");
  refusedTensor(kFormat, {"dtype of tensor 'w'"}, "7");
  refusedTensor(kUnsupported, {"dtype of tensor 'w' is 'F8_E4M3'", "BF16"},
                R"({"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]})");
  const auto entry = [](const char* shape, const char* offsets) {
    return std::string(R"({"dtype":"F32","shape":)") + shape + R"(,"data_offsets":)" + offsets +
           "}";
  };
  refusedTensor(kFormat, {"shape of tensor 'w' is of 0"}, entry("[]", "[0,8]"));
  refusedTensor(kFormat, {"shape of tensor 'w' is of 5"}, entry("[1,1,1,1,2]", "[0,8]"));
  refusedTensor(kFormat, {"shape of tensor 'w'"}, entry("[-2]", "[0,8]"));
  refusedTensor(kFormat, {"shape of tensor 'w'"}, entry("[0]", "[0,0]"), 0);
  refusedTensor(kFormat, {"shape of tensor 'w'"}, entry("[4294967296,4294967296]", "[0,8]"));
  refusedTensor(kFormat, {"data of tensor 'w' is 8 bytes", "12"}, entry("[3]", "[0,8]"));
  refusedTensor(kFormat, {"data_offsets of tensor 'w' is [0, 16]", "8 bytes"},
                entry("[4]", "[0,16]"));
  refusedTensor(kFormat, {"data_offsets of tensor 'w' is [8, 0]"}, entry("[2]", "[8,0]"));
  refusedTensor(kFormat, {"data_offsets of tensor 'w' is no pair"}, entry("[2]", "[0]"));
  refusedTensor(kFormat, {"data of tensor 'w' is at byte"}, entry("[1]", "[4,8]"));
  refusedTensor(kFormat, {"length of the file"}, entry("[1]", "[0,4]"));
  const std::string one = R"("w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  refused("twice", kFormat, {"tensor name 'w' is given twice"},
          withHeader("{" + one + "," + one + "}", std::string(4, '\0')));
  const std::string over = R"(,"v":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})";
  refused("overlap", kFormat, {"data of tensor 'v' is at byte"},
          withHeader("{" + one + over, std::string(6, '\0')));
}

TEST("hugging face: a sharded folder becomes a model of its family") {
  HubFolder folder;
  const auto model = folder.load();
  const ModelConfig& config = model->config;
  CHECK_EQ(config.family, "llama");
  CHECK_EQ(config.hidden, 32);
  CHECK_EQ(config.ffn, 64);
  CHECK_EQ(config.kvHeads, 1);
  CHECK_EQ(config.headDim, 16);
  CHECK_EQ(config.vocab, 8);
  CHECK_EQ(config.contextLength, 128);
  CHECK_EQ(config.normEpsilon, 1e-5f);
  CHECK_EQ(config.ropePairing, RopePairing::kHalves);
  CHECK(model->output.data != model->embedding.data);
  CHECK_EQ(model->weightType, "F32");
  const GgufFile& file = model->file();
  CHECK_EQ(std::string(file.format()), "safetensors");
  CHECK_EQ(*ggufUnsigned(file.findMetadata("tokenizer.ggml.bos_token_id")->value), 1u);
  CHECK_EQ(*ggufUnsigned(file.findMetadata("tokenizer.ggml.eot_token_id")->value), 3u);
  const GgufTensor* gate = file.findTensor("blk.0.ffn_gate.weight");
  REQUIRE(gate != nullptr);
  CHECK(gate->rowMajorShape() == std::vector<int64_t>({64, 32}));
  CHECK_EQ(file.size(),
           folder.files["a.safetensors"].size() + folder.files["b.safetensors"].size());
}

TEST("hugging face: the hash sees the config, names and data, not the folder") {
  HubFolder one, same, config, data;
  config.files["config.json"] = replaced(kConfig, "5000.0", "6000.0");
  std::string& bytes = data.files["b.safetensors"];
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  const std::string hash = one.load()->contentHash;
  CHECK_EQ(same.load()->contentHash, hash);
  CHECK(config.load()->contentHash != hash);
  CHECK(data.load()->contentHash != hash);
}

TEST("hugging face: one file, in a folder or by its own path, and a tied head") {
  HubFolder folder;
  std::vector<Plain> all = kFirst;
  all.insert(all.end(), kSecond.begin(), kSecond.end());
  folder.files = {{"config.json", kConfig}, {"model.safetensors", safetensors(all)}};
  const auto model = folder.load();
  CHECK_EQ(model->parameters, 2 * 8 * 32 + 3 * 32 + 2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32);
  const std::atomic<int32_t> cancel{0};
  const auto byPath = Model::load(folder.folder.file("model.safetensors"), cancel);
  CHECK_EQ(byPath->contentHash, model->contentHash);

  // A head that is tied and saved all the same is left out; an untied one must be there.
  folder.files["config.json"] =
      replaced(kConfig, "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
  const auto tied = folder.load();
  CHECK(tied->output.data == tied->embedding.data);
  all.pop_back();
  folder.files["model.safetensors"] = safetensors(all);
  CHECK(folder.load()->output.data != nullptr);
  folder.files["config.json"] = kConfig;
  folder.refused("head", kFormat, {"'lm_head.weight' is absent"});
}

TEST("hugging face: a shard that is missing or does not fit the index is named") {
  {
    HubFolder folder;
    folder.files.erase("b.safetensors");
    folder.refused("missing", kFormat, {"shard 'b.safetensors' is absent", "2 files"});
  }
  {
    HubFolder folder;
    std::vector<Plain> fewer(kSecond.begin(), kSecond.end() - 1);
    folder.files["b.safetensors"] = safetensors(fewer);
    folder.refused("fewer", kFormat, {"shard 'b.safetensors' is without tensor 'lm_head.weight'"});
  }
  {
    HubFolder folder;
    folder.files["b.safetensors"] = folder.files["a.safetensors"];
    folder.refused("other", kFormat, {"shard 'b.safetensors' is without tensor 'lm_head.weight'"});
  }
  {
    HubFolder folder;
    std::vector<Plain> more = kSecond;
    more.push_back({"extra.weight", {4}});
    folder.files["b.safetensors"] = safetensors(more);
    folder.refused("more", kFormat, {"shard 'b.safetensors' is with tensor 'extra.weight'"});
  }
  {
    HubFolder folder;
    folder.files["b.safetensors"].pop_back();
    folder.refused("cut", kFormat, {"b.safetensors", "data_offsets of tensor 'lm_head.weight'"});
  }
  for (const char* name : {"../b.safetensors", "/etc/passwd", "", ".", "a\\\\b"}) {
    HubFolder folder;
    std::string& index = folder.files["model.safetensors.index.json"];
    index = replaced(index, "\"b.safetensors\"", "\"" + std::string(name) + "\"");
    folder.refused(name, kFormat, {"shard of tensor", "the same folder"});
  }
  for (const char* index : {"{}", "{\"weight_map\": []}", "{\"weight_map\": {}}"}) {
    HubFolder folder;
    folder.files["model.safetensors.index.json"] = index;
    folder.refused(index, kFormat, {"weight_map is"});
  }
  HubFolder folder;
  folder.files["model.safetensors.index.json"] = "{";
  folder.refused("json", kFormat, {"index.json", "content is", "byte 1"});
}

TEST("hugging face: what is missing in a folder or its config is named") {
  {
    HubFolder folder;
    folder.files.erase("config.json");
    folder.refused("config", "IO", {"without config.json"});
  }
  {
    HubFolder folder;
    folder.files = {{"config.json", kConfig}};
    folder.refused("weights", kFormat, {"without weights", "model.safetensors"});
  }
  const auto config = [](const char* from, const char* to, const char* code, const Words& words) {
    HubFolder folder;
    folder.files["config.json"] = replaced(kConfig, from, to);
    folder.refused(to, code, words);
  };
  config("\"hidden_size\": 32, ", "", kFormat, {"config.json: 'hidden_size' is absent"});
  config("\"hidden_size\": 32", "\"hidden_size\": 32.5", kFormat, {"'hidden_size' is 32.5"});
  config("\"rms_norm_eps\": 1e-05, ", "", kFormat, {"'rms_norm_eps' is absent"});
  config("\"model_type\": \"llama\", ", "", kFormat, {"'model_type' is absent"});
  config("\"llama\"", "\"gpt_neox\"", kUnsupported, {"'model_type' is 'gpt_neox'", "'llama'"});
  config("\"vocab_size\": 8", "\"quantization_config\": {}", kUnsupported,
         {"'quantization_config'"});
  config("\"vocab_size\": 8", "\"hidden_act\": \"gelu\"", kUnsupported, {"'hidden_act' is 'gelu'"});
  config("\"vocab_size\": 8", "\"partial_rotary_factor\": 0.5", kUnsupported,
         {"partial_rotary_factor"});
  config("\"vocab_size\": 8", "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4}",
         kUnsupported, {"'yarn'"});
  config("\"vocab_size\": 8", "\"rope_scaling\": {}", kFormat, {"'rope_type' is absent"});
  config("\"num_hidden_layers\": 1", "\"num_hidden_layers\": 2", kFormat, {"blk.1."});
  HubFolder folder;
  std::vector<Plain> more = kSecond;
  more.push_back({"model.layers.0.mlp.odd.weight", {4}});
  folder.files["b.safetensors"] = safetensors(more);
  std::string& index = folder.files["model.safetensors.index.json"];
  index = replaced(index, "\"lm_head.weight\"",
                   "\"model.layers.0.mlp.odd.weight\":\"b.safetensors\",\"lm_head.weight\"");
  folder.refused("role", kUnsupported, {"tensor 'model.layers.0.mlp.odd.weight'"});
}

TEST("hugging face: the vocabulary of config and tables is that of the embedding's rows") {
  HubFolder folder;
  folder.files["config.json"] = replaced(kConfig, "\"vocab_size\": 8", "\"vocab_size\": 9");
  folder.refused("vocab", kFormat, {"'vocab_size' in config.json is 9", "expected 8"});
}
