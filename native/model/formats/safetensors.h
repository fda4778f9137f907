// SPDX-License-Identifier: Apache-2.0
// One safetensors file: a 64-bit length, as many bytes of JSON, and the data. As hostile as a GGUF
// file until checked: the tensors must fill the data from its first to its last byte, none over
// another, each as long as its shape and type say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quant/types.h"

namespace baton {

struct SafetensorsTensor {
  std::string name;
  const QuantType* type;
  std::vector<int64_t> shape;  // slowest dimension first, 1 .. 4 of them
  std::span<const std::byte> data;
  uint64_t offset;  // of the data, in bytes from the start of the file
};

struct Safetensors {
  std::string_view header;  // the JSON
  std::vector<SafetensorsTensor> tensors;
};

bool looksLikeSafetensors(std::span<const std::byte> head);

// Errors: MODEL_FORMAT, MODEL_UNSUPPORTED (a type without a codec).
Safetensors readSafetensors(std::span<const std::byte> bytes, const std::string& path);

}  // namespace baton
