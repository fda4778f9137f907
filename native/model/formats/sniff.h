// SPDX-License-Identifier: Apache-2.0
// Says what a file that is no model looks like, so that an error can name the usual mix-ups: a
// pointer instead of the file, an error page, an archive, another format.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace baton {

// E.g. "a Git LFS pointer (...)"; falls back to the first bytes in hex.
std::string describeBytes(std::span<const std::byte> head);

// What to do about it: a sentence.
std::string remedyForBytes(std::span<const std::byte> head);

}  // namespace baton
