// SPDX-License-Identifier: Apache-2.0
// A family takes what it can compute and refuses the rest by name: by the example of llama.
#include <cmath>
#include <limits>

#include "check.h"
#include "model/tiny_family.h"

using namespace baton;
using namespace baton::test;

namespace {

void refusedWith(const char* code, const char* key, uint32_t value, const Words& words) {
  GgufWriter writer = tinyLlama();
  writer.u32(key, value);
  refused(key, code, words, writer);
}

const std::byte* dataOf(const Model& model, const char* name) {
  return model.file().findTensor(name)->data;
}

}  // namespace

TEST("family: a llama gets its config, weights and sums") {
  const ExactBytes bytes(tinyLlama().build());
  const auto model = bind(bytes);
  const ModelConfig& config = model->config;
  CHECK_EQ(config.family, "llama");
  CHECK_EQ(config.layers, 1);
  CHECK_EQ(config.hidden, 32);
  CHECK_EQ(config.heads, 2);
  CHECK_EQ(config.kvHeads, 1);
  CHECK_EQ(config.headDim, 16);
  CHECK_EQ(config.ffn, 64);
  CHECK_EQ(config.vocab, 8);
  CHECK_EQ(config.contextLength, 128);
  CHECK_EQ(config.ropes[0].base, 10000.0);
  CHECK_EQ(config.normEpsilon, 1e-5f);
  CHECK_EQ(config.ropePairing, RopePairing::kAdjacent);
  REQUIRE(model->layers.size() == 1);
  const LayerWeights& layer = model->layers[0];
  const auto check = [&](const Weight& weight, const char* name, int rows, int cols, DType type) {
    CHECK(weight.data == dataOf(*model, name));
    CHECK_EQ(weight.rows, rows);
    CHECK_EQ(weight.cols, cols);
    CHECK_EQ(weight.type, type);
  };
  check(model->embedding, "token_embd.weight", 8, 32, DType::kQ8_0);
  check(model->output, "token_embd.weight", 8, 32, DType::kQ8_0);
  check(layer.q, "blk.0.attn_q.weight", 32, 32, DType::kQ4_1);
  check(layer.k, "blk.0.attn_k.weight", 16, 32, DType::kQ4_1);
  check(layer.v, "blk.0.attn_v.weight", 16, 32, DType::kF16);
  check(layer.o, "blk.0.attn_output.weight", 32, 32, DType::kQ4_0);
  check(layer.gate, "blk.0.ffn_gate.weight", 64, 32, DType::kQ4_1);
  check(layer.up, "blk.0.ffn_up.weight", 64, 32, DType::kQ4_1);
  check(layer.down, "blk.0.ffn_down.weight", 32, 64, DType::kBF16);
  const auto* attnNorm = reinterpret_cast<const std::byte*>(layer.attnNorm);
  CHECK(attnNorm == dataOf(*model, "blk.0.attn_norm.weight"));
  CHECK_EQ(model->parameters, 8 * 32 + 3 * 32 + 32 * 32 * 2 + 16 * 32 * 2 + 3 * 64 * 32);
  CHECK_EQ(model->weightBytes, 272 + 3 * 128 + 640 + 320 + 1024 + 576 + 2 * 1280 + 4096);
  CHECK_EQ(model->weightType, "BF16");
  CHECK_EQ(model->contentHash.size(), 64u);
}

TEST("family: an output of its own is used, and counted") {
  GgufWriter writer = tinyLlama();
  writer.tensor("output.weight", {32, 8}, DType::kF32);
  const ExactBytes bytes(writer.build());
  const auto model = bind(bytes);
  CHECK(model->output.data == dataOf(*model, "output.weight"));
  CHECK_EQ(model->output.type, DType::kF32);
  CHECK(model->embedding.data == dataOf(*model, "token_embd.weight"));
}

TEST("family: norms of half formats become float32") {
  for (const DType type : {DType::kF16, DType::kBF16}) {
    GgufWriter writer = tinyLlama();
    replace(writer, "blk.0.ffn_norm.weight", {32}, type);
    std::string& data = writer.at("blk.0.ffn_norm.weight").data;
    std::vector<float> values(32);
    for (size_t i = 0; i < 32; ++i) values[i] = 0.25f * static_cast<float>(i) - 3;
    quantType(type).quantize(values.data(), data.data(), 32);
    const ExactBytes bytes(writer.build());
    const auto model = bind(bytes);
    bool same = true;
    for (size_t i = 0; i < 32; ++i) same = same && model->layers[0].ffnNorm[i] == values[i];
    CHECK(same);
  }
  GgufWriter writer = tinyLlama();
  replace(writer, "output_norm.weight", {32}, DType::kQ8_0);
  refused("norm", kUnsupported, {"type of tensor 'output_norm.weight' is Q8_0", "F16"}, writer);
}

TEST("family: each tensor must be there, with its shape") {
  for (const WrittenTensor& tensor : tinyLlama().tensors) {
    GgufWriter writer = tinyLlama();
    writer.dropTensor(tensor.name);
    refused("missing", kFormat, {"tensor '" + tensor.name + "' is absent"}, writer);
    if (tensor.name == "token_embd.weight") continue;  // its rows say the vocabulary
    writer = tinyLlama();
    std::vector<uint64_t> shape = tensor.shape;
    shape.back() += 32;
    replace(writer, tensor.name, shape, DType::kF32);
    refused("shape", kFormat, {"shape of tensor '" + tensor.name + "' is ["}, writer);
    writer = tinyLlama();
    shape = tensor.shape;
    shape.resize(3, 1);
    shape[2] = 2;
    replace(writer, tensor.name, shape, DType::kF32);
    refused("dims", kFormat, {"shape of tensor '" + tensor.name + "' is [2, "}, writer);
  }
  GgufWriter writer = tinyLlama();
  replace(writer, "blk.0.attn_q.weight", {64, 16}, DType::kF32);
  refused("shape", kFormat, {"is [16, 64], expected [32, 32]"}, writer);
  writer = tinyLlama();
  writer.u32("llama.block_count", 2);
  refused("layers", kFormat, {"tensor 'blk.1.attn_norm.weight' is absent"}, writer);
}

TEST("family: a tensor without a role is refused with its meaning") {
  const auto extra = [](const char* name, const Words& words) {
    GgufWriter writer = tinyLlama();
    writer.tensor(name, {32}, DType::kF32);
    refused(name, kUnsupported, words, writer);
  };
  extra("rope_factors_long.weight", {"tensor 'rope_factors_long.weight'", "long-context"});
  extra("blk.0.attn_q.bias", {"tensor 'blk.0.attn_q.bias'", "a bias"});
  extra("blk.0.ffn_gate_exps.weight", {"experts"});
  extra("blk.0.attn_q_norm.weight", {"norm"});
  extra("blk.1.attn_q.weight", {"tensor 'blk.1.attn_q.weight'", "1 layers"});
  extra("mystery", {"tensor 'mystery'", "unknown"});
}

TEST("family: each required key must be there and be a number in its range") {
  for (const char* key : {"block_count", "context_length", "embedding_length",
                          "feed_forward_length", "attention.head_count"}) {
    const std::string full = std::string("llama.") + key;
    GgufWriter writer = tinyLlama();
    refused(key, kFormat, {"metadata '" + full + "' is absent"}, writer.drop(full));
    refused(key, kFormat, {full, "is 0", "positive"}, writer.u32(full, 0));
    refused(key, kFormat, {full, "is -3", "positive"}, writer.set(full, 5, le<int32_t>(-3)));
    refused(key, kFormat, {full, "is '7'"}, writer.text(full, "7"));
    refused(key, kFormat, {full, "is 32"}, writer.f32(full, 32));
    refused(key, kUnsupported, {full, "4294967295", "at most"}, writer.u32(full, 0xffffffffu));
    writer.set(full, 10, le(std::numeric_limits<uint64_t>::max()));
    refused(key, kUnsupported, {full, "18446744073709551615", "at most"}, writer);
    writer.array(full, 4, 1, le(32u));
    refused(key, kUnsupported, {full, "array", "all layers"}, writer);
  }
  const std::string epsilon = "llama.attention.layer_norm_rms_epsilon";
  GgufWriter writer = tinyLlama();
  refused("epsilon", kFormat, {epsilon, "absent"}, writer.drop(epsilon));
  for (const float bad : {0.0f, -1e-5f, 2.0f, NAN, INFINITY}) {
    refused("epsilon", kFormat, {epsilon, "from 1e-12 to 1"}, writer.f32(epsilon, bad));
  }
  writer = tinyLlama();
  for (const float bad : {0.0f, -1.0f, NAN, INFINITY}) {
    refused("theta", kFormat, {"rope.freq_base"}, writer.f32("llama.rope.freq_base", bad));
  }
}

TEST("family: integers of any width are taken, and theta") {
  GgufWriter writer = tinyLlama();
  writer.set("llama.block_count", 0, le<uint8_t>(1))
      .set("llama.context_length", 11, le<int64_t>(9));
  writer.f32("llama.rope.freq_base", 1e6f);
  const ExactBytes bytes(writer.build());
  CHECK_EQ(bind(bytes)->config.contextLength, 9);
  CHECK_EQ(bind(bytes)->config.ropes[0].base, 1e6);
}

TEST("family: head geometry") {
  GgufWriter writer = tinyLlama();
  writer.drop("llama.attention.head_count_kv");  // as many as query heads
  replace(writer, "blk.0.attn_k.weight", {32, 32}, DType::kF32);
  replace(writer, "blk.0.attn_v.weight", {32, 32}, DType::kF32);
  const ExactBytes bytes(writer.build());
  CHECK_EQ(bind(bytes)->config.kvHeads, 2);
  refusedWith(kFormat, "llama.attention.head_count", 3, {"head_count'", "embedding_length"});
  refusedWith(kFormat, "llama.attention.head_count_kv", 3, {"divisor of the 2 query heads"});
  refusedWith(kFormat, "llama.attention.head_count_kv", 0, {"positive"});
  refusedWith(kUnsupported, "llama.attention.head_count", 4, {"head dimension is 8"});
  refusedWith(kUnsupported, "llama.attention.key_length", 24, {"head dimension is 24"});
  refusedWith(kUnsupported, "llama.attention.key_length", 272, {"key_length' is 272", "256"});
  refusedWith(kUnsupported, "llama.attention.value_length", 32, {"value_length", "is 32"});
  refusedWith(kFormat, "llama.attention.head_count", 1024, {"divisor of embedding_length 32"});
  writer = tinyLlama();
  writer.u32("llama.attention.head_count", 1024).u32("llama.attention.key_length", 256);
  refused("wide", kUnsupported, {"heads times head dimension is 262144"}, writer);
  writer = tinyLlama();
  writer.u32("llama.attention.head_count", 1).u32("llama.attention.key_length", 16);
  refused("narrow", kUnsupported, {"heads times head dimension is 16", "multiple of 32"}, writer);
  refusedWith(kUnsupported, "llama.embedding_length", 48, {"embedding_length", "multiple of 32"});
  refusedWith(kUnsupported, "llama.feed_forward_length", 33, {"feed_forward", "multiple of 32"});
}

TEST("family: rotary positions on a part of the head are refused, a mask that looks ahead too") {
  refusedWith(kUnsupported, "llama.rope.dimension_count", 8, {"dimension_count", "is 8", "16"});
  GgufWriter writer = tinyLlama();
  refused("mask", kUnsupported, {"false"}, writer.boolean("llama.attention.causal", false));
  CHECK_EQ(configOf(tinyLlama().u32("llama.rope.dimension_count", 16)).headDim, 16);
}

TEST("family: vocabulary") {
  GgufWriter writer = tinyLlama();
  writer.texts("tokenizer.ggml.tokens", {"a", "b"});
  refused("length", kFormat, {"length of metadata 'tokenizer.ggml.tokens' is 2", "8"}, writer);
  writer.array("tokenizer.ggml.tokens", 0, 8, "12345678");
  refused("type", kFormat, {"tokenizer.ggml.tokens", "array of strings"}, writer);
  writer.drop("tokenizer.ggml.tokens");
  const ExactBytes bytes(writer.build());
  CHECK_EQ(bind(bytes)->config.vocab, 8);
}

TEST("family: unknown ones are named with those that are known") {
  GgufWriter writer = tinyLlama();
  writer.text("general.architecture", "mamba");
  refused("family", kUnsupported, {"general.architecture", "'mamba'", "'llama'"}, writer);
  refused("none", kFormat, {"general.architecture", "absent"}, writer.drop("general.architecture"));
  refused("type", kFormat, {"is 7"}, writer.u32("general.architecture", 7));
  writer = tinyLlama();
  writer.text("general.type", "adapter");
  refused("adapter", kUnsupported, {"general.type", "'adapter'", "'model'"}, writer);
}
