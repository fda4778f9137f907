// SPDX-License-Identifier: Apache-2.0
// Readers of safetensors and JSON on any bytes at all: true when they were taken, false when they
// were refused as the law says; anything else throws std::logic_error, which ends the test.
#pragma once

#include <string>

namespace baton::test {

// What was taken is walked to its leaves, written and read again, and must be the same.
bool readHostileJson(const std::string& text);

// What was taken is read at its first and last bytes.
bool readHostileSafetensors(const std::string& bytes);

// A Hugging Face folder.
bool readHostileFolder(const std::string& path);

}  // namespace baton::test
