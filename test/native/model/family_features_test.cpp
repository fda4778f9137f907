// SPDX-License-Identifier: Apache-2.0
// What families have beyond plain llama, and how metadata switches it on: biases, norms, windows,
// scaled rotary positions.
#include <cmath>
#include <limits>

#include "check.h"
#include "model/tiny_family.h"

using namespace baton;
using namespace baton::test;

namespace {

const Family& family(const char* name) {
  const Family* found = findFamily(name);
  REQUIRE(found != nullptr);
  return *found;
}

// The tensor's data as the file has it.
GgufWriter& fill(GgufWriter& writer, const std::string& name, const std::vector<float>& values) {
  writer.at(name).data.assign(reinterpret_cast<const char*>(values.data()), values.size() * 4);
  return writer;
}

std::vector<int> windows(const ModelConfig& config) {
  std::vector<int> out;
  for (const LayerSpec& layer : config.layerSpecs) out.push_back(layer.window);
  return out;
}

constexpr const char* kPattern = "llama.attention.sliding_window_pattern";
constexpr const char* kWindow = "llama.attention.sliding_window";

}  // namespace

TEST("family: every one loads from its tables, and only their vectors exist") {
  CHECK(families().size() >= 4);
  for (const Family* one : families()) {
    const ExactBytes bytes(tinyFamily(*one, 2).build());
    const auto model = bind(bytes);
    CHECK_EQ(model->config.family, one->name);
    CHECK_EQ(model->config.ropePairing, one->ropePairing);
    CHECK_EQ(model->config.activation, one->activation);
    CHECK_EQ(model->layers.size(), 2u);
    const LayerWeights& layer = model->layers[1];
    const std::pair<const float*, const char*> optional[] = {
        {layer.qBias, "attn_q.bias"},
        {layer.kBias, "attn_k.bias"},
        {layer.vBias, "attn_v.bias"},
        {layer.qNorm, "attn_q_norm.weight"},
        {layer.kNorm, "attn_k_norm.weight"},
        {layer.attnPostNorm, "post_attention_norm.weight"},
        {layer.ffnPostNorm, "post_ffw_norm.weight"}};
    for (const auto& [data, name] : optional) {
      const GgufTensor* tensor = model->file().findTensor(std::string("blk.1.") + name);
      CHECK_EQ(data != nullptr, tensor != nullptr);
      if (data && tensor) CHECK(reinterpret_cast<const std::byte*>(data) == tensor->data);
    }
  }
  CHECK_EQ(family("qwen2").vectors.size(), 5u);
  CHECK_EQ(family("qwen3").vectors.size(), 4u);
  CHECK_EQ(family("gemma3").vectors.size(), 6u);
}

TEST("family: each tensor of each must be there, with its shape") {
  for (const Family* one : families()) {
    for (const WrittenTensor& tensor : tinyFamily(*one).tensors) {
      GgufWriter writer = tinyFamily(*one);
      writer.dropTensor(tensor.name);
      refused("missing", kFormat, {"tensor '" + tensor.name + "' is absent"}, writer);
      if (tensor.name == one->embedding) continue;  // its rows say the vocabulary
      writer = tinyFamily(*one);
      std::vector<uint64_t> shape = tensor.shape;
      shape.back() += 32;
      replace(writer, tensor.name, shape, DType::kF32);
      refused("shape", kFormat, {"shape of tensor '" + tensor.name + "' is ["}, writer);
    }
  }
}

TEST("family: every key that must be neutral, in every family") {
  for (const Family* one : families()) {
    for (const NeutralKey& row : neutralKeys()) {
      const std::string key = std::string(one->name) + "." + row.key;
      GgufWriter writer = tinyFamily(*one);
      writer.f32(key, static_cast<float>(row.neutral));
      CHECK_EQ(configOf(writer).layers, 1);
      writer.f32(key, 3);
      refused(row.key, kUnsupported, {key, row.meaning, "3"}, writer);
      writer.text(key, "yes");
      refused(row.key, kUnsupported, {key, "'yes'"}, writer);
    }
  }
}

TEST("family: biases of half formats become float32, quantised ones are refused") {
  GgufWriter writer = tinyFamily(family("qwen2"));
  replace(writer, "blk.0.attn_q.bias", {32}, DType::kF16);
  const ExactBytes bytes(writer.build());
  const auto model = bind(bytes);
  const auto* half =
      reinterpret_cast<const uint16_t*>(model->file().findTensor("blk.0.attn_q.bias")->data);
  std::vector<float> exact(32);
  quantType(DType::kF16).dequantize(half, exact.data(), 32);
  CHECK(std::equal(exact.begin(), exact.end(), model->layers[0].qBias));
  replace(writer, "blk.0.attn_q.bias", {32}, DType::kQ8_0);
  refused("bias", kUnsupported, {"type of tensor 'blk.0.attn_q.bias' is Q8_0", "bias"}, writer);
}

TEST("family: a window of llama is every layer's, unless a pattern says otherwise") {
  GgufWriter writer = tinyFamily(family("llama"), 4);
  CHECK(windows(configOf(writer)) == std::vector<int>({0, 0, 0, 0}));
  writer.u32(kWindow, 24);
  ModelConfig config = configOf(writer);
  CHECK(windows(config) == std::vector<int>({24, 24, 24, 24}));
  CHECK_EQ(config.ropes.size(), 1u);
  CHECK(windows(configOf(writer.u32(kPattern, 2))) == std::vector<int>({24, 0, 24, 0}));
  CHECK(windows(configOf(writer.u32(kPattern, 1))) == std::vector<int>({0, 0, 0, 0}));
  CHECK(windows(configOf(writer.u32(kPattern, 0))) == std::vector<int>({24, 24, 24, 24}));
  writer.array(kPattern, 7, 4, std::string("\1\0\0\1", 4));
  CHECK(windows(configOf(writer)) == std::vector<int>({24, 0, 0, 24}));
  writer.array(kPattern, 4, 4, le(1u) + le(1u) + le(0u) + le(1u));
  CHECK(windows(configOf(writer)) == std::vector<int>({24, 24, 0, 24}));
  CHECK(windows(configOf(writer.u32(kWindow, 0))) == std::vector<int>({0, 0, 0, 0}));
  writer.u32(kWindow, 0xffffffffu);
  refused("window", kUnsupported, {kWindow, "at most"}, writer);
  writer.u32(kWindow, 0x7fffffffu);
  CHECK(configOf(writer).layerSpecs[0].window >= 128);
}

TEST("family: windows that contradict themselves, and those of families without") {
  GgufWriter writer = tinyFamily(family("llama"), 4);
  writer.set(kWindow, 5, le<int32_t>(-3));
  refused("negative", kFormat, {kWindow, "is -3", "positive"}, writer);
  refused("text", kFormat, {kWindow, "'24'"}, writer.text(kWindow, "24"));
  writer.u32(kWindow, 24).array(kPattern, 7, 3, std::string("\1\0\0", 3));
  refused("pattern", kFormat, {kPattern, "4 layers"}, writer);
  writer.texts(kPattern, {"a", "b", "c", "d"});
  refused("pattern", kFormat, {kPattern, "4 layers"}, writer);
  refused("pattern", kFormat, {kPattern, "'x'"}, writer.text(kPattern, "x"));
  for (const char* name : {"qwen2", "qwen3"}) {
    const std::string key = std::string(name) + ".attention.sliding_window";
    GgufWriter other = tinyFamily(family(name));
    other.u32(key, 0);
    CHECK_EQ(configOf(other).layerSpecs[0].window, 0);
    refused(name, kUnsupported, {key, "sliding window"}, other.u32(key, 4096));
  }
}

TEST("family: gemma3 takes turns between windows and everything, each with its rotation") {
  GgufWriter writer = tinyFamily(family("gemma3"), 7);
  writer.u32("gemma3.attention.sliding_window", 16).f32("gemma3.rope.freq_base", 1e6f);
  writer.text("gemma3.rope.scaling.type", "linear").f32("gemma3.rope.scaling.factor", 8);
  ModelConfig config = configOf(writer);
  CHECK(windows(config) == std::vector<int>({16, 16, 16, 16, 16, 0, 16}));
  REQUIRE(config.ropes.size() == 2);
  const RopeSpec& global = config.ropes[static_cast<size_t>(config.layerSpecs[5].rope)];
  const RopeSpec& local = config.ropes[static_cast<size_t>(config.layerSpecs[6].rope)];
  CHECK_EQ(global.base, 1e6);
  CHECK_EQ(global.scale, 8.0);
  CHECK_EQ(local.base, 1e4);
  CHECK_EQ(local.scale, 1.0);
  CHECK_EQ(config.embeddingScale, std::sqrt(32.0f));
  CHECK_EQ(config.attentionScale, 0.25f);
  writer.f32("gemma3.rope.freq_base_swa", 5000);
  CHECK_EQ(configOf(writer).ropes[1].base, 5000.0);
  writer.f32("gemma3.attention.scale", 0.125f);
  CHECK_EQ(configOf(writer).attentionScale, 0.125f);
  refused("dimension", kUnsupported, {"key_length_swa", "is 32", "16"},
          writer.u32("gemma3.attention.key_length_swa", 32));
  // Without a window all layers read everything, by the model's own rotation.
  writer = tinyFamily(family("gemma3"), 7);
  CHECK(windows(configOf(writer)) == std::vector<int>(7, 0));
  CHECK_EQ(configOf(writer).ropes.size(), 1u);
}

TEST("family: gemma3 of 62 layers scales scores by the width of a head's share") {
  CHECK_EQ(configOf(tinyFamily(family("gemma3"), 61)).attentionScale, 0.25f);
  GgufWriter writer = tinyFamily(family("gemma3"), 62);
  CHECK_EQ(configOf(writer).attentionScale, 0.25f);  // M / H = 16 = D here
  writer = tinyFamily(family("gemma3"), 62);
  ModelConfig config = configOf(writer);
  config.hidden = 5376;
  config.heads = 32;
  CHECK_EQ(family("gemma3").attentionScale(config), 1 / std::sqrt(168.0f));
}

TEST("family: linear scaling by factor, with or without a type, under both names of the key") {
  const auto scaleOf = [](const GgufWriter& writer) { return configOf(writer).ropes[0].scale; };
  const std::string factor = "llama.rope.scaling.factor", type = "llama.rope.scaling.type";
  GgufWriter writer = tinyFamily(family("llama"));
  CHECK_EQ(scaleOf(writer), 1.0);
  CHECK_EQ(scaleOf(writer.f32("llama.rope.scale_linear", 2)), 2.0);
  CHECK_EQ(scaleOf(writer.f32(factor, 4)), 4.0);
  CHECK_EQ(scaleOf(writer.text(type, "linear")), 4.0);
  CHECK_EQ(scaleOf(writer.f32(factor, 0)), 1.0);
  CHECK_EQ(scaleOf(writer.f32(factor, 4).text(type, "none")), 1.0);
  writer.drop(type);
  for (const float bad : {-1.0f, 1e7f, NAN, INFINITY}) {
    refused("factor", kFormat, {factor, "from 0 to"}, writer.f32(factor, bad));
  }
  for (const char* name : {"yarn", "longrope", "dynamic"}) {
    writer = tinyFamily(family("llama"));
    refused(name, kUnsupported, {type, std::string("'") + name + "'", "'llama3'"},
            writer.text(type, name));
  }
}

TEST("family: llama3 scaling from metadata, checked key by key") {
  const std::string prefix = "llama.rope.scaling.";
  const auto scaled = [&] {
    GgufWriter writer = tinyFamily(family("llama"));
    writer.f32("llama.rope.freq_base", 10000).text(prefix + "type", "llama3");
    writer.f32(prefix + "factor", 8).f32(prefix + "low_freq_factor", 1);
    writer.f32(prefix + "high_freq_factor", 4).u32(prefix + "original_context_length", 64);
    return writer;
  };
  const std::vector<float> factors = configOf(scaled()).ropes[0].factors;
  REQUIRE(factors.size() == 8);
  // Pair i turns 64 * 10000^(-i / 8) / 2 pi times within 64 positions: 10.2, 3.2, 1.02, 0.32 ...
  CHECK_EQ(factors[0], 1.0f);
  CHECK_NEAR(factors[1], 1.29398, 1e-4);
  CHECK_NEAR(factors[2], 7.66738, 1e-3);
  for (size_t i = 3; i < 8; ++i) CHECK_EQ(factors[i], 8.0f);
  for (const char* key :
       {"factor", "low_freq_factor", "high_freq_factor", "original_context_length"}) {
    GgufWriter writer = scaled();
    refused(key, kFormat, {prefix + key, "absent"}, writer.drop(prefix + key));
    refused(key, kFormat, {prefix + key, "'8'"}, writer.text(prefix + key, "8"));
  }
  GgufWriter writer = scaled();
  refused("order", kFormat, {"high_freq_factor", "more than"},
          writer.f32(prefix + "high_freq_factor", 1));
}

TEST("family: rope_freqs.weight divides the frequencies of every layer") {
  GgufWriter writer = tinyFamily(family("llama"), 2);
  const std::vector<float> factors = {1, 1, 1.5f, 2, 4, 8, 8, 8};
  writer.tensor("rope_freqs.weight", {8}, DType::kF32);
  fill(writer, "rope_freqs.weight", factors);
  CHECK(configOf(writer).ropes[0].factors == factors);
  for (const float bad : {0.0f, -1.0f, NAN, INFINITY}) {
    std::vector<float> broken = factors;
    broken[3] = bad;
    refused("value", kFormat, {"rope_freqs.weight", "element 3", "positive"},
            fill(writer, "rope_freqs.weight", broken));
  }
  replace(writer, "rope_freqs.weight", {16}, DType::kF32);
  refused("shape", kFormat, {"rope_freqs.weight", "[16]", "[8]"}, writer);
  writer = tinyFamily(family("qwen2"));
  writer.tensor("rope_freqs.weight", {8}, DType::kF32);
  refused("qwen2", kUnsupported, {"rope_freqs.weight", "llama3"}, writer);
}
