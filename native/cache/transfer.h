// SPDX-License-Identifier: Apache-2.0
// KV of whole segments as bytes, to be kept outside of the pool. The bytes are the segment's blocks
// in order, each as pool.h lays it out: good for the same model, number format and machine only,
// which is for the keeper to check.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "cache/segment.h"

namespace baton {

// Bytes of `rows` rows, in whole blocks.
size_t kvBytes(const KvShape& shape, int rows);

// Writes kvBytes() bytes. The segment is closed, so that nobody writes its blocks; any thread.
void readKv(const Segment& segment, std::byte* to);

struct KvSpec {
  SegmentKind kind = SegmentKind::kInput;
  int start = 0;
  int rows = 0;
  std::string name;  // stands for the content: two names are two identities
};

// A closed segment with these rows, held by nobody else. It is not found by its content: what the
// bytes are said to be, nothing here can prove. Error(OPTION_INVALID) when they are not that many
// rows, Error(CACHE_BUDGET), what Memory throws. Any thread.
std::shared_ptr<Segment> writeKv(std::shared_ptr<Pool> pool, const std::string& scope,
                                 const KvSpec& spec, const std::byte* from, size_t bytes);

}  // namespace baton
