// SPDX-License-Identifier: Apache-2.0
#include "model/formats/safetensors.h"

#include <algorithm>
#include <cstring>

#include "base/json.h"
#include "model/fault.h"

namespace baton {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMostHeaderBytes = 100u << 20;  // as the format's own library has it
constexpr uint64_t kMostElements = uint64_t{1} << 48;
constexpr size_t kMostDims = 4;
constexpr std::string_view kMetadataKey = "__metadata__";

uint64_t headerLength(std::span<const std::byte> bytes) {
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  return length;
}

// The types that weights come in.
const QuantType* findType(std::string_view name) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (quantType(dtype).name == name) return &quantType(dtype);
  }
  return nullptr;
}

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  Safetensors run() {
    Safetensors out;
    const uint64_t length = readLength();
    const auto* text = reinterpret_cast<const char*>(bytes_.data()) + kLengthBytes;
    out.header = {text, static_cast<size_t>(length)};
    data_ = kLengthBytes + length;
    JsonFault fault;
    const std::optional<Json> header = parseJson(out.header, fault);
    if (!header || header->object() == nullptr) {
      refuse("header", header ? "no JSON object" : fault.what, "a JSON object",
             kLengthBytes + fault.offset);
    }
    for (const auto& [name, entry] : *header->object()) {
      if (name != kMetadataKey) out.tensors.push_back(readTensor(name, entry));
    }
    checkNames(out.tensors);
    checkPlaces(out.tensors);
    return out;
  }

 private:
  [[noreturn]] void refuse(const std::string& field, const std::string& value,
                           const std::string& expected, uint64_t offset) const {
    refuseFormat({path_, field, value, expected, offset});
  }

  uint64_t readLength() const {
    const std::string expected =
        "at most the bytes that follow, and " + std::to_string(kMostHeaderBytes);
    if (bytes_.size() < kLengthBytes) {
      refuse("length of the file", std::to_string(bytes_.size()), "8 bytes and more", 0);
    }
    const uint64_t length = headerLength(bytes_);
    if (length > bytes_.size() - kLengthBytes || length > kMostHeaderBytes) {
      refuse("length of the header", std::to_string(length), expected, 0);
    }
    return length;
  }

  SafetensorsTensor readTensor(const std::string& name, const Json& entry) const {
    const std::string field = "tensor " + quote(name);
    SafetensorsTensor tensor{.name = name, .type = nullptr, .shape = {}, .data = {}, .offset = 0};
    const Json* type = entry.find("dtype");
    if (type == nullptr || type->text() == nullptr) {
      refuse("dtype of " + field, "absent", "the name of a type", kLengthBytes);
    }
    tensor.type = findType(*type->text());
    if (tensor.type == nullptr) {
      refuseUnsupported({path_, "dtype of " + field, quote(*type->text()), "F32, F16 or BF16",
                         kLengthBytes, "Fetch or save the model in one of these types."});
    }
    const uint64_t elements = readShape(field, entry, tensor.shape);
    const Json* offsets = entry.find("data_offsets");
    const Json::Array* pair = offsets != nullptr ? offsets->array() : nullptr;
    if (pair == nullptr || pair->size() != 2 || !(*pair)[0].count() || !(*pair)[1].count()) {
      refuse("data_offsets of " + field, "no pair of integers", "[begin, end]", kLengthBytes);
    }
    const uint64_t begin = *(*pair)[0].count(), end = *(*pair)[1].count();
    const uint64_t held = bytes_.size() - data_;
    if (begin > end || end > held) {
      refuse("data_offsets of " + field,
             "[" + std::to_string(begin) + ", " + std::to_string(end) + "]",
             "inside the " + std::to_string(held) + " bytes of data that the file holds",
             kLengthBytes);
    }
    const uint64_t needed = elements * static_cast<uint64_t>(tensor.type->blockBytes);
    if (end - begin != needed) {
      refuse("data of " + field, std::to_string(end - begin) + " bytes",
             std::to_string(needed) + " for its shape and type", data_ + begin);
    }
    tensor.offset = data_ + begin;
    tensor.data = bytes_.subspan(tensor.offset, end - begin);
    return tensor;
  }

  uint64_t readShape(const std::string& field, const Json& entry,
                     std::vector<int64_t>& shape) const {
    const Json* found = entry.find("shape");
    const Json::Array* dims = found != nullptr ? found->array() : nullptr;
    if (dims == nullptr || dims->empty() || dims->size() > kMostDims) {
      refuse("shape of " + field,
             dims == nullptr ? "absent" : "of " + std::to_string(dims->size()) + " dimensions",
             "1 to 4 dimensions", kLengthBytes);
    }
    uint64_t elements = 1;
    for (const Json& dim : *dims) {
      const uint64_t size = dim.count().value_or(0);
      if (size < 1 || size > kMostElements / elements) {
        refuse("shape of " + field, std::to_string(size) + " in a dimension",
               "at least 1, and no more than " + std::to_string(kMostElements) + " elements in all",
               kLengthBytes);
      }
      elements *= size;
      shape.push_back(static_cast<int64_t>(size));
    }
    return elements;
  }

  void checkNames(const std::vector<SafetensorsTensor>& tensors) const {
    std::vector<std::string_view> names;
    for (const SafetensorsTensor& tensor : tensors) names.push_back(tensor.name);
    std::ranges::sort(names);
    const auto twice = std::ranges::adjacent_find(names);
    if (twice != names.end()) {
      refuse("tensor name " + quote(*twice), "given twice", "unique names", kLengthBytes);
    }
  }

  void checkPlaces(const std::vector<SafetensorsTensor>& tensors) const {
    std::vector<const SafetensorsTensor*> order;
    for (const SafetensorsTensor& tensor : tensors) order.push_back(&tensor);
    std::ranges::sort(order, {}, [](const SafetensorsTensor* tensor) { return tensor->offset; });
    uint64_t end = data_;
    for (const SafetensorsTensor* tensor : order) {
      if (tensor->offset != end) {
        refuse("data of tensor " + quote(tensor->name), "at byte " + std::to_string(tensor->offset),
               "at byte " + std::to_string(end) + ", where the tensor before it ends",
               tensor->offset);
      }
      end = tensor->offset + tensor->data.size();
    }
    if (end != bytes_.size()) {
      refuse("length of the file", std::to_string(bytes_.size()),
             std::to_string(end) + ", the end of the last tensor", end);
    }
  }

  std::span<const std::byte> bytes_;
  const std::string& path_;
  uint64_t data_ = 0;  // byte at which the data begins
};

}  // namespace

bool looksLikeSafetensors(std::span<const std::byte> head) {
  return head.size() > kLengthBytes && head[kLengthBytes] == std::byte{'{'} &&
         headerLength(head) <= kMostHeaderBytes;
}

Safetensors readSafetensors(std::span<const std::byte> bytes, const std::string& path) {
  return Reader(bytes, path).run();
}

}  // namespace baton
