// SPDX-License-Identifier: Apache-2.0
// Attention's backward of the rows that are new: gradients of their q and of their K and V. What
// they read beside themselves is frozen.
#include "cuda/attention_backward.h"

#include "engine/slot_backward.h"
#include "gpu/kernels/views.h"

namespace baton::bench {
namespace {

constexpr double kBackwardFlops = 2.5;  // five products where the forward has two

// What stands on the device for all calls. `lse` is any number: speed does not depend on it.
struct Lists {
  Lists(GpuBench& bench, const SlotPlan& plan, const SlotBackward& back)
      : slots(bench.list(plan.slots)),
        items(bench.list(back.items)),
        states(bench.list(back.lists)),
        positions(bench.list(back.positions)),
        uses(bench.list(back.uses)),
        parts(bench.list(back.parts)),
        targets(bench.list(back.targets)) {}

  DeviceBuffer slots, items, states, positions, uses, parts, targets;
};

// What the shape and its pool decide.
DAttendSlotsArgs argsOf(const ViewShape& s, const Views& views, const std::byte* pool) {
  DAttendSlotsArgs args{};
  args.H = s.heads;
  args.G = s.kvHeads;
  args.D = s.dim;
  args.scale = 0.125f;
  args.kv = s.kv;
  args.headStride = views.shape.headBytes();
  args.blockStride = views.shape.blockBytes();
  args.k = pool;
  args.v = args.k + static_cast<size_t>(s.kvHeads) * args.headStride;
  return args;
}

void attendBackward(GpuBench& bench, const ViewShape& s) {
  const Views views(s, true);
  SlotBackward back;
  back.make(views.plan, views.slots, views.batch, {});
  const int width = s.kvHeads * s.dim;
  const auto heads = static_cast<size_t>(s.heads), numbers = heads * static_cast<size_t>(s.dim);
  const auto rows = static_cast<size_t>(s.rows());
  Lists lists(bench, views.slots, back);
  DeviceBuffer pool = poolOf(bench, s.kv, views.blocks * views.shape.blockBytes());
  DeviceBuffer q = bench.floats(static_cast<size_t>(views.plan.queryRows) * numbers);
  DeviceBuffer dout = bench.floats(rows * numbers), out = bench.floats(rows * numbers);
  DeviceBuffer lse = bench.floats(rows * heads), delta = bench.room(4 * rows * heads);
  const size_t partNumbers = back.parts.size() * kBlockRows * static_cast<size_t>(width);
  DeviceBuffer partQ = bench.room(4 * static_cast<size_t>(back.states) * numbers);
  DeviceBuffer partK = bench.room(4 * partNumbers), partV = bench.room(4 * partNumbers);
  const auto positions = static_cast<size_t>(s.trunk + s.prompt + s.own) *
                         static_cast<size_t>(s.dim / 2);
  DeviceBuffer cos = bench.floats(positions), sin = bench.floats(positions);
  DeviceBuffer dq = bench.room(4 * rows * numbers);
  const std::vector<float> zero{0.0f};  // what is added to
  const size_t keyBytes = 4 * rows * static_cast<size_t>(width);
  DeviceBuffer dk = bench.filled(keyBytes, zero), dv = bench.filled(keyBytes, zero);
  DAttendSlotsArgs args = argsOf(s, views, pool.data());
  args.q = q.as<float>();
  args.dout = dout.as<float>();
  args.lse = lse.as<float>();
  args.delta = delta.as<float>();
  args.slots = lists.slots.as<KvSlot>();
  args.items = lists.items.as<DAttendItem>();
  args.mostRows = back.mostRows;
  args.dq = partQ.as<float>();
  args.uses = lists.uses.as<KeyUse>();
  args.parts = lists.parts.as<KeyPart>();
  args.dk = partK.as<float>();
  args.dv = partV.as<float>();
  const DAttendDeltaArgs first{args.dout, out.as<float>(), s.heads, s.dim, delta.as<float>()};
  const DAttendTurnArgs turn{args.dq,         lists.positions.as<int32_t>(),
                             lists.states.as<StateList>(), s.heads,
                             s.dim,           cos.as<float>(),
                             sin.as<float>(), RopePairing::kHalves,
                             dq.as<float>()};
  const DAttendGatherArgs gather{args.dk, args.dv, lists.targets.as<KeyTarget>(), width,
                                 dk.as<float>(), dv.as<float>()};
  const double kvBytes = double(s.cached() + s.rows()) * static_cast<double>(views.shape.rowBytes());
  const double flops = kBackwardFlops * 4.0 * s.dim * s.heads * s.pairs();
  bench.measure({kvBytes + 16.0 * static_cast<double>(rows * numbers), flops}, 1,
                {dq.as<float>(), rows * numbers}, [&](int) {
                  const BatonCudaKernels& kernels = bench.kernels();
                  kernels.dAttendDelta(first, 0, s.rows());
                  kernels.dAttendQueries(args, 0, static_cast<int>(back.items.size()));
                  kernels.dAttendTurn(turn, 0, s.rows());
                  kernels.dAttendKeys(args, back.batch.partBegin, back.batch.partEnd);
                  kernels.dAttendGather(gather, back.batch.targetBegin, back.batch.targetEnd);
                });
}

}  // namespace

std::vector<GpuCase> backwardCases(const GpuShapes& shapes) {
  std::vector<GpuCase> all;
  for (const ViewShape& shape : shapes.backward) {
    all.push_back({shape.name, [shape](GpuBench& bench) { attendBackward(bench, shape); }});
  }
  return all;
}

}  // namespace baton::bench
