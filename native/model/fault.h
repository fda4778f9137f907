// SPDX-License-Identifier: Apache-2.0
// One shape for every refusal of a model file: the file, the field, its value, what was expected,
// where, and the remedy. Text from the file is quoted: cut to a readable length, bytes outside
// printable ASCII escaped.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace baton {

struct Fault {
  std::string_view path;
  std::string field;                              // e.g. "tensor 'output.weight', offset"
  std::string value;                              // as found
  std::string expected;                           // e.g. "a multiple of 32"
  std::optional<uint64_t> offset = std::nullopt;  // in bytes from the start of the file
  std::string remedy = {};                        // empty: the default of the code
};

// MODEL_FORMAT: the file contradicts its own format, or itself.
[[noreturn]] void refuseFormat(const Fault& fault);
// MODEL_UNSUPPORTED: a sound file that needs something which is not built.
[[noreturn]] void refuseUnsupported(const Fault& fault);

// 'text' in single quotes, at most 64 bytes of it.
std::string quote(std::string_view text);

}  // namespace baton
