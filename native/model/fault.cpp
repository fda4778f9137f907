// SPDX-License-Identifier: Apache-2.0
// Messages are built here only, so that all of them read alike and none carries raw bytes of a
// hostile file.
#include "model/fault.h"

#include <vector>

#include "base/error.h"

namespace baton {
namespace {

constexpr size_t kQuotedBytes = 64;

[[noreturn]] void refuse(const char* code, const Fault& fault, const char* defaultRemedy) {
  std::string message = "Model file " + std::string(fault.path) + ": " + fault.field + " is " +
                        fault.value + ", expected " + fault.expected;
  std::vector<Error::Fact> facts = {{"path", std::string(fault.path)},
                                    {"field", fault.field},
                                    {"value", fault.value},
                                    {"expected", fault.expected}};
  if (fault.offset) {
    message += " (byte " + std::to_string(*fault.offset) + " of the file)";
    facts.emplace_back("offset", static_cast<double>(*fault.offset));
  }
  message += ". " + (fault.remedy.empty() ? std::string(defaultRemedy) : fault.remedy);
  throw Error(code, std::move(message), std::move(facts));
}

}  // namespace

void refuseFormat(const Fault& fault) {
  refuse(code::kModelFormat, fault,
         "The file is damaged, incomplete or was written wrongly: fetch it or convert it again.");
}

void refuseUnsupported(const Fault& fault) {
  refuse(code::kModelUnsupported, fault, "Use a model file without it.");
}

std::string quote(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "'";
  for (const char c : text.substr(0, kQuotedBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte <= 0x7e) {
      out += c;
    } else {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  if (text.size() > kQuotedBytes) out += "... (" + std::to_string(text.size()) + " bytes)";
  return out + "'";
}

}  // namespace baton
