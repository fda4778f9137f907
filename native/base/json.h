// SPDX-License-Identifier: Apache-2.0
// JSON (RFC 8259) from files that nobody vouches for: depth and number of values are bounded, every
// error has its byte, and nothing is allocated that the text does not hold. Duplicate keys are kept
// in order; find() gives the first.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace baton {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;
  // A number without fraction or exponent that fits is an int64_t, any other a double.
  using Value = std::variant<std::nullptr_t, bool, int64_t, double, std::string, Array, Object>;

  // Not an initialiser in place: clang would hold Object, named before it is read, for not
  // constructible.
  Json() : value(nullptr) {}

  Value value;

  bool isNull() const { return std::holds_alternative<std::nullptr_t>(value); }
  const bool* boolean() const { return std::get_if<bool>(&value); }
  const std::string* text() const { return std::get_if<std::string>(&value); }
  const Array* array() const { return std::get_if<Array>(&value); }
  const Object* object() const { return std::get_if<Object>(&value); }
  // A non-negative integer.
  std::optional<uint64_t> count() const;
  // Any number.
  std::optional<double> number() const;
  // Null when this is no object or has no such key.
  const Json* find(std::string_view key) const;
};

struct JsonFault {
  size_t offset = 0;  // in bytes
  const char* what = "";
};

// More in one text is refused: it is no header and no config, and each takes memory.
inline constexpr size_t kMostJsonValues = size_t{1} << 22;

// The whole text is one value. Nothing when it is none; `fault` then says where and why.
std::optional<Json> parseJson(std::string_view text, JsonFault& fault);

}  // namespace baton
