// SPDX-License-Identifier: Apache-2.0
// A whole model of any family in a few kilobytes, made from the family's own tables, and what its
// tests do with one.
#pragma once

#include <atomic>

#include "model/families/families.h"
#include "model/gguf_writer.h"
#include "model/model.h"
#include "model/refusal.h"

namespace baton::test {

using Words = std::vector<std::string>;

inline constexpr const char* kFormat = "MODEL_FORMAT";
inline constexpr const char* kUnsupported = "MODEL_UNSUPPORTED";

// M 32, H 2, G 1, D 16, F 64, V 8, tied output, everything F32.
inline GgufWriter tinyFamily(const Family& family, int layers = 1) {
  ModelConfig config{};
  config.hidden = 32;
  config.heads = 2;
  config.kvHeads = 1;
  config.headDim = 16;
  config.ffn = 64;
  config.vocab = 8;
  GgufWriter file;
  const std::string prefix = std::string(family.name) + ".";
  file.text("general.architecture", family.name).text("general.type", "model");
  file.u32(prefix + "block_count", static_cast<uint32_t>(layers));
  file.u32(prefix + "context_length", 128).u32(prefix + "embedding_length", 32);
  file.u32(prefix + "feed_forward_length", 64).u32(prefix + "attention.head_count", 2);
  file.u32(prefix + "attention.head_count_kv", 1).u32(prefix + "attention.key_length", 16);
  file.f32(prefix + "attention.layer_norm_rms_epsilon", 1e-5f);
  const auto size = [&config](Dim dim) { return static_cast<uint64_t>(dimSize(config, dim)); };
  file.tensor(family.embedding, {32, 8}, DType::kF32);
  file.tensor(family.outputNorm, {32}, DType::kF32);
  for (int layer = 0; layer < layers; ++layer) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    for (const LayerVector& row : family.vectors) {
      file.tensor(block + row.name, {size(row.length)}, DType::kF32);
    }
    for (const LayerMatrix& row : family.matrices) {
      file.tensor(block + row.name, {size(row.cols), size(row.rows)}, DType::kF32);
    }
  }
  return file;
}

inline std::shared_ptr<const Model> bind(const ExactBytes& bytes) {
  const std::atomic<int32_t> cancel{0};
  return Model::fromFile(GgufFile::parse(bytes.span(), "some.gguf"), cancel);
}

// The config alone: what outlives the bytes.
inline ModelConfig configOf(const GgufWriter& writer) {
  const ExactBytes bytes(writer.build());
  return bind(bytes)->config;
}

inline void refused(const char* what, const char* code, const Words& words,
                    const GgufWriter& writer) {
  const ExactBytes bytes(writer.build());
  expectRefused(what, code, words, [&] { bind(bytes); });
}

inline void replace(GgufWriter& writer, const std::string& name, std::vector<uint64_t> shape,
                    DType type) {
  GgufWriter one;
  one.tensor(name, std::move(shape), type);
  writer.at(name) = one.tensors[0];
}

}  // namespace baton::test
