// SPDX-License-Identifier: Apache-2.0
// Attention of new rows over what they read, planned as the engine plans it, with the merge of
// split lists. Blocks of the pool are strewn, as they are in a cache that has lived for a while.
// Rows of decode are cut as the engine cuts them. Of many rows an item has a whole list, so that
// tensor cores take it (`halves`).
#include <algorithm>
#include <memory>
#include <random>

#include "base/half.h"
#include "cache/segment.h"
#include "engine/slot_plan.h"
#include "gpu/kernels/bench.h"

namespace baton::bench {
namespace {

constexpr int kPrefillTile = 64;  // rows of an item
constexpr int kWholeList = 1 << 24;

// The views of a shape. Nothing is written to its pool: only numbers of blocks come from it.
struct Views {
  explicit Views(const ViewShape& s) : shape{1, s.kvHeads, s.dim, s.kv} {
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
    const bool few = s.own <= kSlotTileRows;
    plan.make(batch, few ? kSlotTileRows : kPrefillTile);
    slots.make(plan, few ? kItemSlots : kWholeList);
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
DeviceBuffer poolOf(GpuBench& bench, KvType type, size_t bytes) {
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

void attend(GpuBench& bench, const ViewShape& s) {
  const Views views(s);
  const auto heads = static_cast<size_t>(s.heads), numbers = heads * static_cast<size_t>(s.dim);
  const auto rows = static_cast<size_t>(s.rows()), states = static_cast<size_t>(views.slots.states);
  const double kvBytes = double(s.cached() + s.rows()) * static_cast<double>(views.shape.rowBytes());
  const int copies = bench.copiesOf(kvBytes);
  const size_t poolBytes = views.blocks * views.shape.blockBytes();
  std::vector<DeviceBuffer> pools;
  for (int i = 0; i < copies; ++i) pools.push_back(poolOf(bench, s.kv, poolBytes));
  DeviceBuffer q = bench.floats(static_cast<size_t>(views.plan.queryRows) * numbers);
  DeviceBuffer slots = bench.list(views.slots.slots), items = bench.list(views.slots.items);
  DeviceBuffer lists = bench.list(views.slots.lists);
  DeviceBuffer o = bench.room(4 * states * numbers), md = bench.room(8 * states * heads);
  DeviceBuffer out = bench.room(4 * rows * numbers), lse = bench.room(4 * rows * heads);
  AttendSlotsArgs args{};
  args.q = q.as<float>();
  args.H = s.heads;
  args.G = s.kvHeads;
  args.D = s.dim;
  args.scale = 0.125f;
  args.kv = s.kv;
  args.headStride = views.shape.headBytes();
  args.blockStride = views.shape.blockBytes();
  args.slots = slots.as<KvSlot>();
  args.items = items.as<AttendItem>();
  args.mostRows = views.slots.mostRows;
  args.o = o.as<float>();
  args.m = md.as<float>();
  args.d = md.as<float>() + states * heads;
  args.out = out.as<float>();
  args.lse = lse.as<float>();
  args.halves = true;
  const MergeStatesArgs merge{args.o, args.m,  args.d,   lists.as<StateList>(),
                              args.H, args.D, args.out, args.lse};
  const double bytes = kvBytes + 8.0 * static_cast<double>(rows * numbers);
  const double flops = 4.0 * s.dim * s.heads * s.pairs();
  bench.measure({bytes, flops}, copies, {args.out, rows * numbers}, [&](int i) {
    args.k = pools[static_cast<size_t>(i)].data();
    args.v = args.k + static_cast<size_t>(s.kvHeads) * views.shape.headBytes();
    bench.kernels().attendSlots(args, 0, static_cast<int>(views.slots.items.size()));
    if (views.slots.merges) bench.kernels().mergeStates(merge, 0, s.rows());
  });
}

}  // namespace

std::vector<GpuCase> attentionCases(const GpuShapes& shapes) {
  std::vector<GpuCase> all;
  for (const ViewShape& shape : shapes.attention) {
    all.push_back({shape.name, [shape](GpuBench& bench) { attend(bench, shape); }});
  }
  return all;
}

}  // namespace baton::bench
