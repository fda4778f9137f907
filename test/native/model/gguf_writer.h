// SPDX-License-Identifier: Apache-2.0
// Writes GGUF files, sound ones and, through its raw fields, every kind of broken one.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/formats/gguf.h"
#include "quant/types.h"

namespace baton::test {

template <class T>
std::string le(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

inline std::string ggufString(const std::string& text) {
  return le<uint64_t>(text.size()) + text;
}

// Bytes in an allocation of exactly their size, so that a sanitizer sees every read beyond the end.
class ExactBytes {
 public:
  explicit ExactBytes(std::string_view bytes)
      : data_(new std::byte[bytes.size()]), size_(bytes.size()) {
    if (size_ != 0) std::memcpy(data_.get(), bytes.data(), size_);
  }
  std::span<const std::byte> span() const { return {data_.get(), size_}; }

 private:
  std::unique_ptr<std::byte[]> data_;
  size_t size_;
};

struct WrittenTensor {
  std::string name;
  std::vector<uint64_t> shape;  // fastest first
  uint32_t type = 0;
  std::string data;
  std::optional<uint32_t> dims = std::nullopt;    // instead of shape.size()
  std::optional<uint64_t> offset = std::nullopt;  // instead of the next aligned one
};

struct GgufWriter {
  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t alignment = 32;
  std::optional<uint64_t> tensorCount = std::nullopt;
  std::optional<uint64_t> entryCount = std::nullopt;
  std::vector<std::pair<std::string, std::string>> entries;  // key, type and value as bytes
  std::vector<WrittenTensor> tensors;

  GgufWriter& set(const std::string& key, uint32_t type, const std::string& value) {
    const std::string bytes = le(type) + value;
    for (auto& entry : entries) {
      if (entry.first != key) continue;
      entry.second = bytes;
      return *this;
    }
    entries.emplace_back(key, bytes);
    return *this;
  }
  GgufWriter& u32(const std::string& key, uint32_t value) { return set(key, 4, le(value)); }
  GgufWriter& f32(const std::string& key, float value) { return set(key, 6, le(value)); }
  GgufWriter& boolean(const std::string& key, bool value) {
    return set(key, 7, le<uint8_t>(value));
  }
  GgufWriter& text(const std::string& key, const std::string& value) {
    return set(key, 8, ggufString(value));
  }
  GgufWriter& array(const std::string& key, uint32_t type, uint64_t count,
                    const std::string& elements) {
    return set(key, 9, le(type) + le(count) + elements);
  }
  GgufWriter& texts(const std::string& key, const std::vector<std::string>& values) {
    std::string elements;
    for (const std::string& value : values) elements += ggufString(value);
    return array(key, 8, values.size(), elements);
  }
  GgufWriter& drop(const std::string& key) {
    std::erase_if(entries, [&](const auto& entry) { return entry.first == key; });
    return *this;
  }

  // Data: a pattern that depends on the tensor's index; halves of it stay finite small numbers.
  GgufWriter& tensor(const std::string& name, std::vector<uint64_t> shape, DType dtype) {
    const QuantType& type = quantType(dtype);
    uint64_t elements = 1;
    for (const uint64_t dim : shape) elements *= dim;
    std::string data(quantRowBytes(type, static_cast<int64_t>(elements)), '\0');
    for (size_t i = 0; i < data.size(); ++i) {
      data[i] = static_cast<char>((i * 7 + tensors.size()) % 40);
    }
    tensors.push_back({name, std::move(shape), type.ggufId, std::move(data)});
    return *this;
  }
  WrittenTensor& at(const std::string& name) {
    for (WrittenTensor& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    tensors.push_back({name, {1}, 0, std::string(4, '\0')});
    return tensors.back();
  }
  GgufWriter& dropTensor(const std::string& name) {
    std::erase_if(tensors, [&](const WrittenTensor& tensor) { return tensor.name == name; });
    return *this;
  }

  std::string header() const {
    std::string out = magic + le(version) + le<uint64_t>(tensorCount.value_or(tensors.size())) +
                      le<uint64_t>(entryCount.value_or(entries.size()));
    for (const auto& [key, value] : entries) out += ggufString(key) + value;
    uint64_t next = 0;
    for (const WrittenTensor& tensor : tensors) {
      const auto dims = static_cast<uint32_t>(tensor.shape.size());
      out += ggufString(tensor.name) + le<uint32_t>(tensor.dims.value_or(dims));
      for (const uint64_t dim : tensor.shape) out += le(dim);
      out += le(tensor.type) + le<uint64_t>(tensor.offset.value_or(next));
      next = aligned(next + tensor.data.size());
    }
    return out;
  }

  // Ends with the last byte of the last tensor: no padding that could be missing without harm.
  std::string build() const {
    std::string out = header();
    for (const WrittenTensor& tensor : tensors) {
      out.resize(aligned(out.size()), '\0');
      out += tensor.data;
    }
    return out;
  }

 private:
  uint64_t aligned(uint64_t bytes) const { return (bytes + alignment - 1) / alignment * alignment; }
};

// A whole llama in a few kilobytes: M 32, H 2, G 1, D 16, F 64, V 8, one layer, tied output.
inline GgufWriter tinyLlama() {
  GgufWriter file;
  file.text("general.architecture", "llama").text("general.type", "model");
  file.u32("llama.block_count", 1).u32("llama.context_length", 128);
  file.u32("llama.embedding_length", 32).u32("llama.feed_forward_length", 64);
  file.u32("llama.attention.head_count", 2).u32("llama.attention.head_count_kv", 1);
  file.f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  file.texts("tokenizer.ggml.tokens", {"a", "b", "c", "d", "e", "f", "g", ""});
  file.tensor("token_embd.weight", {32, 8}, DType::kQ8_0);
  file.tensor("blk.0.attn_norm.weight", {32}, DType::kF32);
  file.tensor("blk.0.attn_q.weight", {32, 32}, DType::kQ4_1);
  file.tensor("blk.0.attn_k.weight", {32, 16}, DType::kQ4_1);
  file.tensor("blk.0.attn_v.weight", {32, 16}, DType::kF16);
  file.tensor("blk.0.attn_output.weight", {32, 32}, DType::kQ4_0);
  file.tensor("blk.0.ffn_norm.weight", {32}, DType::kF32);
  file.tensor("blk.0.ffn_gate.weight", {32, 64}, DType::kQ4_1);
  file.tensor("blk.0.ffn_up.weight", {32, 64}, DType::kQ4_1);
  file.tensor("blk.0.ffn_down.weight", {64, 32}, DType::kBF16);
  file.tensor("output_norm.weight", {32}, DType::kF32);
  return file;
}

}  // namespace baton::test
