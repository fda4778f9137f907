// SPDX-License-Identifier: Apache-2.0
// A refusal is right when it has the code, and names field, value and expectation; and when no raw
// byte of the file reaches the message.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"

namespace baton::test {

inline std::optional<Error> errorOf(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

inline void expectRefused(const char* what, const std::string& code,
                          const std::vector<std::string>& words, const std::function<void()>& run) {
  const auto error = errorOf(run);
  const std::string shown =
      error ? std::string(error->code()) + ": " + error->what() : "no error at all";
  const auto check = [&](bool ok, const std::string& why) {
    expect(ok, __FILE__, __LINE__, std::string(what) + ": " + why + " in: " + shown);
  };
  check(error && error->code() == code, "code " + code);
  for (const std::string& word : words) {
    check(shown.find(word) != std::string::npos, "'" + word + "'");
  }
  bool printable = true;
  for (const char c : shown) printable = printable && c >= 0x20 && c <= 0x7e;
  check(printable, "printable text only");
}

}  // namespace baton::test
