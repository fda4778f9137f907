// SPDX-License-Identifier: Apache-2.0
// CRC-32C (Castagnoli; RFC 3720 appendix B.4): tells damage of stored bytes, not intent.
// Identities, which somebody may want to forge, are SHA-256 (hash.h).
#pragma once

#include <cstddef>
#include <cstdint>

namespace baton {

// Of the bytes behind those that gave `before`; 0 for none.
uint32_t crc32c(uint32_t before, const void* data, size_t bytes);

// The register without the inversions at both ends, in the forms that there are.
namespace crc32c_detail {
using Update = uint32_t (*)(uint32_t state, const uint8_t* data, size_t bytes);

uint32_t update(uint32_t state, const uint8_t* data, size_t bytes);  // the reference
Update updateSse42();  // with the CRC32 instruction; null where CPU or compiler has none
}  // namespace crc32c_detail

}  // namespace baton
