// SPDX-License-Identifier: Apache-2.0
// Attention of new rows over what they read, with the merge of split lists; of many rows by tensor
// cores (`halves`).
#include "gpu/kernels/views.h"

namespace baton::bench {
namespace {

void attend(GpuBench& bench, const ViewShape& s, const SlotOptions& sharing) {
  const Views views(s, false, sharing);
  const auto heads = static_cast<size_t>(s.heads), numbers = heads * static_cast<size_t>(s.dim);
  const auto rows = static_cast<size_t>(s.rows()), states = static_cast<size_t>(views.slots.states);
  const double kvBytes = double(s.cached() + s.rows()) * static_cast<double>(views.shape.rowBytes());
  const int copies = bench.copiesOf(kvBytes);
  const size_t poolBytes = views.blocks * views.shape.blockBytes();
  std::vector<DeviceBuffer> pools;
  for (int i = 0; i < copies; ++i) pools.push_back(poolOf(bench, s.kv, poolBytes));
  DeviceBuffer q = bench.floats(static_cast<size_t>(views.plan.queryRows) * numbers);
  DeviceBuffer slots = bench.list(views.slots.slots), items = bench.list(views.slots.items);
  DeviceBuffer lists = bench.list(views.slots.lists), shared = bench.list(views.slots.rows);
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
  args.few = views.slots.few;
  args.mostFew = views.slots.mostFew;
  args.rows = shared.as<AttendRow>();
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

// As the engine shares them, and of `sharing` both ways, whatever the gate says: where what is joined
// is no faster than what is not, the gate (engine/slot_sharing.h) is to be closed.
std::vector<GpuCase> attentionCases(const GpuShapes& shapes) {
  std::vector<GpuCase> all;
  const auto add = [&](const std::string& name, const ViewShape& shape, const SlotOptions& options) {
    all.push_back({name, [=](GpuBench& bench) { attend(bench, shape, options); }});
  };
  for (const ViewShape& shape : shapes.attention)
    add(shape.name, shape, {.sharing = Sharing::kWide});
  for (const ViewShape& shape : shapes.sharing) {
    add(shape.name, shape, {.sharing = Sharing::kWide, .gate = {2, 1}});
    add(shape.name + ", apart", shape, {});
  }
  return all;
}

}  // namespace baton::bench
