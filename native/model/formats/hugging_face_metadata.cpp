// SPDX-License-Identifier: Apache-2.0
#include "model/formats/hugging_face_metadata.h"

#include <filesystem>

#include "model/fault.h"
#include "model/formats/hugging_face.h"

namespace baton {

namespace fs = std::filesystem;

const Json* presentIn(const Json& object, const char* key) {
  const Json* found = object.find(key);
  return found == nullptr || found->isNull() ? nullptr : found;
}

std::string shownJson(const Json& value) {
  if (value.text() != nullptr) return quote(*value.text());
  if (value.boolean() != nullptr) return *value.boolean() ? "true" : "false";
  if (const auto count = value.count()) return std::to_string(*count);
  if (const auto number = value.number()) return std::to_string(*number);
  return value.isNull() ? "null" : value.array() != nullptr ? "an array" : "an object";
}

void MetadataWriter::add(const std::string& key, GgufType type, GgufValue value) {
  parts_.metadata.push_back({parts_.texts.emplace_back(key), type, value, 0});
}

void MetadataWriter::text(const std::string& key, std::string value) {
  add(key, GgufType::kString, std::string_view(parts_.texts.emplace_back(std::move(value))));
}

void MetadataWriter::boolean(const std::string& key, bool value) {
  add(key, GgufType::kBool, value);
}

void MetadataWriter::flags(const std::string& key, const std::vector<bool>& values) {
  std::string& bytes = parts_.texts.emplace_back();
  for (const bool value : values) bytes += value ? '\1' : '\0';
  const std::span<const char> span(bytes);
  add(key, GgufType::kArray, GgufArray{GgufType::kBool, values.size(), std::as_bytes(span)});
}

void MetadataWriter::real(const std::string& key, double value) {
  add(key, GgufType::kF64, value);
}

void MetadataWriter::integer(const std::string& key, uint64_t value) {
  add(key, GgufType::kU64, value);
}

void MetadataWriter::integer(const std::string& key, const char* theirs, const Json& value) {
  const auto count = value.count();
  if (!count) refuseFormat({path_, quote(theirs), shownJson(value), "a non-negative integer"});
  integer(key, *count);
}

void MetadataWriter::real(const std::string& key, const char* theirs, const Json& value) {
  const auto found = value.number();
  if (!found) refuseFormat({path_, quote(theirs), shownJson(value), "a number"});
  real(key, *found);
}

void MetadataWriter::number(const std::string& key, const char* theirs, const Json& value) {
  if (value.count()) {
    integer(key, theirs, value);
  } else {
    real(key, theirs, value);
  }
}

std::optional<std::string> readTextBeside(const std::string& folder, const char* name,
                                          uint64_t mostBytes) {
  const fs::path path = fs::path(folder) / name;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::nullopt;
  const MappedFile mapping = MappedFile::open(path.string());
  const std::span<const std::byte> bytes = mapping.bytes();
  if (bytes.size() > mostBytes) {
    refuseFormat({path.string(), "length of the file", std::to_string(bytes.size()),
                  "at most " + std::to_string(mostBytes)});
  }
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::optional<Json> readJsonBeside(const std::string& folder, const char* name) {
  const fs::path path = fs::path(folder) / name;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::nullopt;
  return readJsonFile(path.string(), kMostConfigBytes);
}

Json readJsonFile(const std::string& path, uint64_t mostBytes) {
  const MappedFile mapping = MappedFile::open(path);
  const std::span<const std::byte> bytes = mapping.bytes();
  if (bytes.size() > mostBytes) {
    refuseFormat({path, "length of the file", std::to_string(bytes.size()),
                  "at most " + std::to_string(mostBytes)});
  }
  JsonFault fault;
  std::optional<Json> json =
      parseJson({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, fault);
  if (!json) refuseFormat({path, "content", fault.what, "JSON", fault.offset});
  return std::move(*json);
}

}  // namespace baton
