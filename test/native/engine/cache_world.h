// SPDX-License-Identifier: Apache-2.0
// An engine with a content index, on a poisoned pool: a block that is found too early or too late
// shows as NaN.
#pragma once

#include <cstdlib>
#include <utility>
#include <vector>

#include "engine/world.h"

namespace baton::test {

using Ptr = std::shared_ptr<Segment>;

inline EngineOptions cacheOptions(size_t indexBytes, size_t cacheBytes = 4 << 20) {
  ::setenv("BATON_POISON_CACHE", "1", 1);
  EngineOptions made;
  made.indexBytes = indexBytes;
  made.cacheBytes = cacheBytes;
  made.maxBatchRows = 64;
  return made;
}

constexpr int kBlocks = 16;  // of the small pools below

inline size_t smallPool() {
  const ModelConfig config = tinyModel()->config;
  return kBlocks *
         KvShape{config.layers, config.kvHeads, config.headDim, KvType::kF16}.blockBytes();
}

struct Cache : World {
  explicit Cache(size_t indexBytes = 2 << 20, size_t cacheBytes = 4 << 20)
      : World(cacheOptions(indexBytes, cacheBytes)) {}
  explicit Cache(const EngineOptions& options) : World(options) {}
  ~Cache() { ::unsetenv("BATON_POISON_CACHE"); }

  Told run(Job job) { return sink->end(engine.submit(std::move(job))); }

  static Append closing(Append append) {
    append.close = true;
    return append;
  }

  // A closed segment of `rows` rows, written alone.
  Ptr written(int rows, int32_t first, int start = 0, std::vector<SegmentRead> reads = {}) {
    const Ptr made = segment(start, std::move(reads));
    last = run(job({closing(tokens(made, rows, first))}));
    return made;
  }

  // Logits of a short segment that reads the first `rows` rows of `read`, at `shift`.
  std::vector<float> readBy(const Ptr& read, int rows, int shift = 0) {
    const Ptr reader = segment(rows + shift, {{read, rows, shift}});
    return run(job({tokens(reader, 5, 77)}, LogitsWanted::kAll)).logits;
  }

  size_t used() const { return engine.pool()->stats().blocksUsed; }

  Told last;
};

}  // namespace baton::test
