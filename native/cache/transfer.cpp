// SPDX-License-Identifier: Apache-2.0
#include "cache/transfer.h"

#include <utility>

#include "base/error.h"

namespace baton {
size_t kvBytes(const KvShape& shape, int rows) {
  return static_cast<size_t>((rows + kBlockRows - 1) / kBlockRows) * shape.blockBytes();
}

void readKv(const Segment& segment, std::byte* to) {
  const Pool& pool = *segment.pool();
  const size_t bytes = pool.shape().blockBytes();
  for (const int32_t block : segment.blockNumbers()) {
    pool.memory().download(to, pool.block(block), bytes);
    to += bytes;
  }
}

std::shared_ptr<Segment> writeKv(std::shared_ptr<Pool> pool, const std::string& scope,
                                 const KvSpec& spec, const std::byte* from, size_t bytes) {
  if (spec.rows < 1 || bytes != kvBytes(pool->shape(), spec.rows)) {
    throw Error(code::kOptionInvalid, std::to_string(bytes) + " bytes of KV are not " +
                                          std::to_string(spec.rows) +
                                          " rows of this model, which take " +
                                          std::to_string(kvBytes(pool->shape(), spec.rows)));
  }
  auto segment = std::make_shared<Segment>(pool, SegmentSpec{spec.kind, spec.start, {}},
                                           scope + "/kept/" + spec.name);
  segment->reserve(spec.rows);
  const size_t block = pool->shape().blockBytes();
  for (const int32_t number : segment->blockNumbers()) {
    pool->memory().upload(pool->block(number), from, block);
    from += block;
  }
  segment->closeUnfound(spec.rows);
  return segment;
}

}  // namespace baton
