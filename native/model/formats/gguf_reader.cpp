// SPDX-License-Identifier: Apache-2.0
// The only place that turns bytes of a GGUF file into values. Lengths are compared by subtraction
// from what remains, never by adding to an offset, so that no 64-bit number of a file overflows.
#include "model/formats/gguf_reader.h"

#include <limits>

#include "model/fault.h"

namespace baton {
namespace {

constexpr int kMostArrayDepth = 4;
constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

struct TypeRow {
  const char* name;
  size_t bytes;          // of one value; 0: varies
  size_t smallestBytes;  // least bytes that one value takes in a file
};

// Index: GgufType.
constexpr TypeRow kTypes[] = {
    {"uint8", 1, 1},  {"int8", 1, 1},    {"uint16", 2, 2}, {"int16", 2, 2},  {"uint32", 4, 4},
    {"int32", 4, 4},  {"float32", 4, 4}, {"bool", 1, 1},   {"string", 0, 8}, {"array", 0, 12},
    {"uint64", 8, 8}, {"int64", 8, 8},   {"float64", 8, 8}};
constexpr uint32_t kTypeCount = sizeof kTypes / sizeof kTypes[0];

template <class T>
T load(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

GgufValue scalarValue(GgufType type, const std::byte* data) {
  switch (type) {
    case GgufType::kU8:
      return uint64_t{load<uint8_t>(data)};
    case GgufType::kI8:
      return int64_t{load<int8_t>(data)};
    case GgufType::kU16:
      return uint64_t{load<uint16_t>(data)};
    case GgufType::kI16:
      return int64_t{load<int16_t>(data)};
    case GgufType::kU32:
      return uint64_t{load<uint32_t>(data)};
    case GgufType::kI32:
      return int64_t{load<int32_t>(data)};
    case GgufType::kF32:
      return double{load<float>(data)};
    case GgufType::kBool:
      return load<uint8_t>(data) != 0;
    case GgufType::kU64:
      return load<uint64_t>(data);
    case GgufType::kI64:
      return load<int64_t>(data);
    case GgufType::kF64:
      return load<double>(data);
    case GgufType::kString:
    case GgufType::kArray:
      break;
  }
  return uint64_t{0};  // not reached: callers ask ggufScalarBytes first
}

}  // namespace

const char* ggufTypeName(GgufType type) {
  return kTypes[static_cast<uint32_t>(type)].name;
}

size_t ggufScalarBytes(GgufType type) {
  return kTypes[static_cast<uint32_t>(type)].bytes;
}

std::string GgufField::text() const {
  std::string text = what;
  if (!name.empty()) text += " " + quote(name);
  if (index >= 0) text += " " + std::to_string(index);
  return text;
}

void GgufReader::fail(const GgufField& field, std::string value, std::string expected,
                      uint64_t at) const {
  refuseFormat({path_, field.text(), std::move(value), std::move(expected), at});
}

std::span<const std::byte> GgufReader::take(uint64_t bytes, const GgufField& field) {
  if (bytes > remaining()) {
    fail(field, "cut off after " + std::to_string(remaining()) + " bytes",
         std::to_string(bytes) + " bytes", offset_);
  }
  const auto taken = bytes_.subspan(offset_, bytes);
  offset_ += bytes;
  return taken;
}

std::string_view GgufReader::string(const GgufField& field, uint64_t limit) {
  const uint64_t at = offset_;
  const uint64_t length = scalar<uint64_t>(field);
  if (length > limit || length > remaining()) {
    fail(field, "a string of " + std::to_string(length) + " bytes",
         "at most " + std::to_string(std::min(limit, remaining())) + " bytes", at);
  }
  const auto text = take(length, field);
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

uint64_t GgufReader::count(const GgufField& field, uint64_t eachBytes, uint64_t limit) {
  const uint64_t at = offset_;
  const uint64_t count = scalar<uint64_t>(field);
  const uint64_t most = std::min(limit, remaining() / eachBytes);
  if (count > most) {
    fail(field, std::to_string(count),
         "at most " + std::to_string(most) + " (" + std::to_string(remaining()) + " bytes remain)",
         at);
  }
  return count;
}

GgufType GgufReader::type(const GgufField& field) {
  const uint64_t at = offset_;
  const uint32_t id = scalar<uint32_t>(field);
  if (id >= kTypeCount) {
    fail(field, std::to_string(id), "a value type from 0 to " + std::to_string(kTypeCount - 1), at);
  }
  return static_cast<GgufType>(id);
}

GgufValue GgufReader::value(GgufType type, const GgufField& field, int depth) {
  if (type == GgufType::kString) return string(field, kNoLimit);
  if (type == GgufType::kArray) return array(field, depth);
  const uint64_t at = offset_;
  const std::byte* data = take(ggufScalarBytes(type), field).data();
  if (type == GgufType::kBool && load<uint8_t>(data) > 1) {
    fail(field, std::to_string(load<uint8_t>(data)), "0 or 1 (a bool)", at);
  }
  return scalarValue(type, data);
}

GgufValue GgufReader::array(const GgufField& field, int depth) {
  if (depth >= kMostArrayDepth) {
    fail(field, "nested deeper than " + std::to_string(kMostArrayDepth) + " arrays",
         "at most " + std::to_string(kMostArrayDepth), offset_);
  }
  const GgufType elementType = type(field);
  const TypeRow& row = kTypes[static_cast<uint32_t>(elementType)];
  const uint64_t elements = count(field, row.smallestBytes, kNoLimit);
  const uint64_t begin = offset_;
  if (row.bytes != 0 && elementType != GgufType::kBool) {
    take(elements * row.bytes, field);  // no overflow: count() compared with what remains
  } else {
    for (uint64_t i = 0; i < elements; ++i) value(elementType, field, depth + 1);
  }
  return GgufArray{elementType, elements, bytes_.subspan(begin, offset_ - begin)};
}

GgufValue takeGgufValue(GgufType type, std::span<const std::byte>& bytes) {
  if (const size_t fixed = ggufScalarBytes(type); fixed != 0) {
    const GgufValue value = scalarValue(type, bytes.data());
    bytes = bytes.subspan(fixed);
    return value;
  }
  // Strings and arrays say their own length; the reader's checks cost little beside that.
  GgufReader reader(bytes, "");
  const GgufValue value = reader.value(type, {"array element"});
  bytes = bytes.subspan(reader.offset());
  return value;
}

}  // namespace baton
