// SPDX-License-Identifier: Apache-2.0
// The views of a shape, planned as the engine plans them, over blocks of a pool that are strewn, as
// they are in a cache that has lived for a while. Rows of decode, and all rows of a training step,
// are cut as the engine cuts them; of many rows an item has a whole list.
#pragma once

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "base/half.h"
#include "cache/segment.h"
#include "engine/slot_plan.h"
#include "gpu/kernels/bench.h"

namespace baton::bench {

inline constexpr int kWholeList = 1 << 24;

// The views of a shape. Nothing is written to its pool: only numbers of blocks come from it.
struct Views {
  explicit Views(const ViewShape& s, bool training = false, const SlotOptions& sharing = {})
      : shape{1, s.kvHeads, s.dim, s.kv} {
    const auto in = [](int rows) { return static_cast<size_t>((rows + kBlockRows - 1) / kBlockRows); };
    blocks = in(s.trunk) + static_cast<size_t>(s.stages) * (in(s.prompt) + in(s.own));
    pool = std::make_shared<Pool>(shape, blocks * shape.blockBytes());
    strew();
    const auto trunk = segment(0, s.trunk);
    reads.resize(static_cast<size_t>(s.stages));
    for (std::vector<SegmentRead>& view : reads) {
      if (s.trunk > 0) view.push_back({trunk, s.trunk, 0});
      if (s.prompt > 0) view.push_back({segment(s.trunk, s.prompt), s.prompt, 0});
      segments.push_back(segment(s.trunk + s.prompt, s.own));
      batch.add({segments.back().get(), &view, 0, s.own, 0, nullptr, nullptr});
    }
    const bool few = training || s.own <= kSlotTileRows;
    plan.make(batch, few ? kSlotTileRows : kWideTileRows);
    SlotOptions options = sharing;
    options.itemSlots = few ? kItemSlots : kWholeList;
    slots.make(plan, options);
  }

  void strew() {
    std::vector<int32_t> order;
    pool->allocate(blocks, order);
    std::shuffle(order.begin(), order.end(), std::mt19937(7));
    for (const int32_t block : order) pool->release(&block, 1);
  }

  std::shared_ptr<Segment> segment(int start, int rows) {
    auto made = std::make_shared<Segment>(pool, SegmentSpec{SegmentKind::kInput, start, {}}, "bench");
    made->reserve(rows);
    return made;
  }

  KvShape shape;
  size_t blocks = 0;
  std::shared_ptr<Pool> pool;
  std::vector<std::shared_ptr<Segment>> segments;
  std::vector<std::vector<SegmentRead>> reads;
  Batch batch;
  AttentionPlan plan;
  SlotPlan slots;
};

// K and V of random numbers. Of int8 the scales of rows stand between the numbers, so all of it is
// float16 below 2, whose bytes are as good as any.
inline DeviceBuffer poolOf(GpuBench& bench, KvType type, size_t bytes) {
  if (type == KvType::kF32) return bench.floats(bytes / sizeof(float));
  std::vector<uint16_t> pattern;
  std::mt19937 random(9);
  for (const float value : randomPattern()) {
    pattern.push_back(type == KvType::kBF16  ? bfloatOfFloat(value)
                      : type == KvType::kF16 ? halfOfFloat(value)
                                             : static_cast<uint16_t>(random() & 0xb7ff));
  }
  return bench.filled(bytes, pattern);
}

}  // namespace baton::bench
