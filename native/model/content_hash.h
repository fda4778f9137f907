// SPDX-License-Identifier: Apache-2.0
// Identity of a model's weights, cheap enough for every load: SHA-256 over the header in full and,
// of each tensor, its name, type, shape and up to 16 pages of 4 KiB spread evenly, the first and
// the last among them. Two files that differ in metadata, layout or a sampled page differ; one that
// was edited by hand between the samples does not.
#pragma once

#include <atomic>
#include <string>

#include "model/formats/gguf.h"

namespace baton {

inline constexpr size_t kHashPageBytes = 4096;
inline constexpr uint64_t kHashPages = 16;

// Hex. `cancel` is polled between tensors: nonzero gives Error(ABORTED).
std::string contentHash(const GgufFile& file, const std::atomic<int32_t>& cancel);

}  // namespace baton
