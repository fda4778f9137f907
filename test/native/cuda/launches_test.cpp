// SPDX-License-Identifier: Apache-2.0
// How many kernels are launched for the work of a step, counted by the emulation.
#include "cuda/views.h"
#include "emulation/cuda.h"
#include "emulation/cuda_library.h"
#include "engine/cuda_backend.h"
#include "engine/forward.h"
#include "engine/random_model.h"
#include "kernels/support.h"

using namespace baton;
using namespace baton::test;

namespace {

// Of attention, for readers of so many rows each, behind a trunk of so many that is read for all.
uint64_t attentionLaunches(const std::vector<int>& counts, int trunk = 0) {
  ViewProblem p{.name = "launches",
                .kv = KvType::kF16,
                .group = 1,
                .G = 1,
                .D = 64,
                .segments = {},
                .readers = {}};
  p.tileRows = kWideTileRows;
  std::vector<Read> reads;
  if (trunk > 0) {
    p.segments.push_back({trunk, 0});
    reads.push_back({0, trunk, 0});
    p.sharing = Sharing::kWide;
  }
  for (const int count : counts) {
    p.readers.push_back({reads, static_cast<int>(p.segments.size()), 0, count});
    p.segments.push_back({count, trunk});
  }
  Random random(1);
  const Planner planner(p, random);
  const SlotPlan& lists = planner.plan.lists;
  const auto rows = static_cast<size_t>(planner.plan.views.rows);
  const std::vector<float> q(rows * 64, 0.0f);
  std::vector<float> out(rows * 64);
  const auto states = static_cast<size_t>(lists.states);
  std::vector<float> o(states * 64), m(states), d(states);
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
  args.o = o.data();
  args.m = m.data();
  args.d = d.data();
  args.out = out.data();
  args.rows = lists.rows.data();
  args.halves = true;
  args.few = lists.few;
  args.mostFew = lists.mostFew;
  emulation::takeLaunches();
  attendSlotsCuda(args, 0, static_cast<int>(lists.items.size()));
  return emulation::takeLaunches();
}

// Of a forward of so many segments' first rows, without a head, of a model with weights of these
// types and int8 activations.
uint64_t decodeLaunches(const Types& types, int rows) {
  const Family* llama = nullptr;
  for (const Family* family : families()) {
    if (std::string_view(family->name) == "llama") llama = family;
  }
  REQUIRE(llama != nullptr);
  const ExactBytes bytes(writerOf(*llama, types).build());
  const auto model = bind(bytes);
  const ModelConfig& c = model->config;
  emulation::EmulatedCuda cuda;
  const auto device = std::make_shared<CudaStream>(cuda.api(), 0);
  const KvShape shape{c.layers, c.kvHeads, c.headDim, KvType::kF16};
  const auto pool = std::make_shared<baton::Pool>(shape, 8 * shape.blockBytes(), 0, device);
  ThreadPool threads(1);
  const ForwardOptions options{8, true, false, nullptr, 4};
  Forward forward(model,
                  std::make_unique<CudaBackend>(model, device, threads, *pool, options, nullptr),
                  options);
  forward.growPositions(40);
  std::vector<std::shared_ptr<Segment>> segments;
  const std::vector<SegmentRead> none;
  const int32_t token = 3;
  Batch batch;
  for (int row = 0; row < rows; ++row) {
    segments.push_back(
        std::make_shared<Segment>(pool, SegmentSpec{SegmentKind::kInput, 0, {}}, "launches"));
    segments.back()->reserve(1);
    batch.add({segments.back().get(), &none, 0, 1, 0, &token, nullptr});
  }
  emulation::takeLaunches();
  CHECK(forward.run(batch, nullptr, [] { return true; }));
  CHECK_EQ(c.layers, 2);
  return emulation::takeLaunches();
}

}  // namespace

// The one besides is the embedding.
TEST("launches: a layer of a llama is six at decode, whatever integer types it mixes") {
  CHECK_EQ(decodeLaunches(kTypes[2], 1), 1u + 2 * 6);
  CHECK_EQ(decodeLaunches(kTypes[2], 4), 1u + 2 * 6);
  const Types mixed{"mixed", DType::kQ4_0, DType::kQ8_0, DType::kQ5_1, DType::kQ4_1};
  CHECK_EQ(decodeLaunches(mixed, 1), 1u + 2 * 6);
}

TEST("launches: attention is one for items of many rows, one for those of few, and no other") {
  CHECK_EQ(attentionLaunches({20, 17}), 1u);
  CHECK_EQ(attentionLaunches({16, 1}), 1u);
  CHECK_EQ(attentionLaunches({20, 1, 16}), 2u);
  CHECK_EQ(attentionLaunches({20, 1, 1}, 512), 2u);
}
