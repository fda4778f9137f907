// SPDX-License-Identifier: Apache-2.0
// How many kernels are launched for the work of a step, counted by the emulation.
#include "cuda/views.h"
#include "emulation/cuda.h"
#include "kernels/support.h"

using namespace baton;
using namespace baton::test;

namespace {

// Of attention, for readers of so many rows each.
uint64_t attentionLaunches(const std::vector<int>& counts) {
  ViewProblem p{.name = "launches",
                .kv = KvType::kF16,
                .group = 1,
                .G = 1,
                .D = 64,
                .segments = {},
                .readers = {}};
  p.tileRows = kWideTileRows;
  for (const int count : counts) {
    p.readers.push_back({{}, static_cast<int>(p.segments.size()), 0, count});
    p.segments.push_back({count, 0});
  }
  Random random(1);
  const Planner planner(p, random);
  const SlotPlan& lists = planner.plan.lists;
  const auto rows = static_cast<size_t>(planner.plan.views.rows);
  const std::vector<float> q(rows * 64, 0.0f);
  std::vector<float> out(rows * 64);
  const KvShape shape{1, 1, 64, p.kv};
  const Misaligned<std::byte> pool(64 * shape.blockBytes(), 0, std::byte{0});
  AttendSlotsArgs args{};
  args.q = q.data();
  args.H = args.G = 1;
  args.D = 64;
  args.scale = 1;
  args.kv = p.kv;
  args.k = pool.data();
  args.v = pool.data() + shape.headBytes();
  args.headStride = shape.headBytes();
  args.blockStride = shape.blockBytes();
  args.slots = lists.slots.data();
  args.items = lists.items.data();
  args.mostRows = lists.mostRows;
  args.out = out.data();
  args.halves = true;
  args.few = lists.few;
  args.mostFew = lists.mostFew;
  emulation::takeLaunches();
  attendSlotsCuda(args, 0, static_cast<int>(lists.items.size()));
  return emulation::takeLaunches();
}

}  // namespace

TEST("launches: attention is one for items of many rows, one for those of few, and no other") {
  CHECK_EQ(attentionLaunches({20, 17}), 1u);
  CHECK_EQ(attentionLaunches({16, 1}), 1u);
  CHECK_EQ(attentionLaunches({20, 1, 16}), 2u);
}
