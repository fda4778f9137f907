// SPDX-License-Identifier: Apache-2.0
// Training steps on the emulated device, against the same steps on the CPU: losses and gradients of
// prompts, for models of every family, weights of several types and formats of K and V; then a
// tuning through the engine, whose loss falls as the CPU's does.
#include "tune/train_step.h"

#include <algorithm>

#include "emulation/cuda_library.h"
#include "engine/cpu_backend.h"
#include "engine/cuda_backend.h"
#include "engine/random_model.h"
#include "engine/train_spec.h"

using namespace baton;
using namespace baton::test;

namespace {

// The scalar table with the device's arithmetic: attention and backward in float32.
Ops plainOps() {
  Ops ops = kScalarOps;
  ops.attendBf16 = nullptr;
  ops.dLinear = [](const DLinearArgs& args, int k0, int k1, void* scratch) {
    DLinearArgs exact = args;
    exact.bf16 = false;
    kScalarOps.dLinear(exact, k0, k1, scratch);
  };
  ops.dAttendQuery = [](const DAttendArgs& args) {
    DAttendArgs exact = args;
    exact.bf16 = false;
    kScalarOps.dAttendQuery(exact);
  };
  ops.dAttendKey = [](const DAttendArgs& args) {
    DAttendArgs exact = args;
    exact.bf16 = false;
    kScalarOps.dAttendKey(exact);
  };
  return ops;
}

struct Case {
  std::shared_ptr<const Model> model;
  KvType kv;
  bool int8;
};

using MakeBackend =
    std::function<std::unique_ptr<Backend>(const Pool&, const ForwardOptions&, ThreadPool&)>;

// One step.
TrainedEvent train(const Case& of, const std::shared_ptr<Memory>& memory, const MakeBackend& on) {
  const ModelConfig& c = of.model->config;
  const KvShape shape{c.layers, c.kvHeads, c.headDim, of.kv};
  const auto pool = std::make_shared<Pool>(shape, 64 * shape.blockBytes(), 0, memory);
  ThreadPool threads(1);
  const ForwardOptions options{64, of.int8, true, nullptr, 4};
  Forward forward(of.model, on(*pool, options, threads), options);
  forward.growPositions(128);
  const auto frozen =
      std::make_shared<Segment>(pool, SegmentSpec{SegmentKind::kInput, 5, {}}, "train");
  frozen->reserve(20);
  std::vector<int32_t> tokens;
  for (int i = 0; i < 20; ++i) tokens.push_back((1 + 3 * i) % c.vocab);
  const std::vector<SegmentRead> none;
  Batch batch;
  batch.add({frozen.get(), &none, 0, 20, 0, tokens.data(), nullptr});
  CHECK(forward.run(batch, nullptr, [] { return true; }));
  const std::string scope = "train";
  const std::function<bool()> goOn = [] { return true; };
  TrainStep work(specOf(c, frozen), std::make_shared<TrainWorkspace>());
  auto event = work.run({of.model, pool, threads, scope, forward, goOn});
  REQUIRE(event.has_value());
  return std::get<TrainedEvent>(std::move(*event));
}

double relativeError(const std::vector<float>& got, const std::vector<float>& want) {
  REQUIRE(got.size() == want.size());
  double error = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += std::pow(double(got[i]) - want[i], 2);
    size += std::pow(want[i], 2);
  }
  return std::sqrt(error / size);
}

double compare(const Case& of, double bound, const std::string& what) {
  const Ops ops = plainOps();
  const TrainedEvent want = train(
      of, hostMemory(), [&](const Pool& pool, const ForwardOptions& options, ThreadPool& threads) {
        return std::make_unique<CpuBackend>(of.model, ops, threads, pool, options);
      });
  emulation::EmulatedCuda cuda;
  const auto device = std::make_shared<CudaStream>(cuda.api(), 0);
  const TrainedEvent got =
      train(of, device, [&](const Pool& pool, const ForwardOptions& options, ThreadPool& threads) {
        return std::make_unique<CudaBackend>(of.model, device, threads, pool, options, nullptr);
      });
  CHECK_EQ(got.rowsComputed, want.rowsComputed);
  REQUIRE(got.losses.size() == 2 && want.losses.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    const double off = std::fabs(got.losses[i] - want.losses[i]) / want.losses[i];
    expect(off < bound, __FILE__, __LINE__, what + ": loss is off by " + show(off));
  }
  double worst = 0;
  REQUIRE(got.gradients.size() == 2 && want.gradients.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    const double error = relativeError(got.gradients[i], want.gradients[i]);
    expect(error < bound, __FILE__, __LINE__,
           what + ": gradient of prompt " + std::to_string(i) + " is off by " + show(error));
    worst = std::max(worst, error);
  }
  return worst;
}

}  // namespace

// int8: as in forward_test.cpp a number near the middle between two quants may be rounded the other
// way, of which a gradient is moved more than a logit.
TEST("cuda train: a step of every family, types of weights and formats of K and V, as on the CPU") {
  std::vector<double> errors;
  for (const Family* family : families()) {
    for (const Types& types : kTypes) {
      // Types meet the backward of every family alike: one that mixes them is enough for the
      // others.
      const bool mixed = std::string(types.name) == "float32 v, up";
      if (!mixed && family != families().front()) continue;
      GgufWriter writer = writerOf(*family, types);
      if (std::string_view(family->name) == "gemma3")
        writer.u32("gemma3.attention.sliding_window", 37);  // of one prompt the end, of one all
      const ExactBytes bytes(writer.build());
      const auto model = bind(bytes);
      for (const bool int8 : mixed ? std::vector{true, false} : std::vector{true}) {
        const KvType kv = kKvTypes[errors.size() % 4];
        const std::string what = std::string(family->name) + ", " + types.name + ", " +
                                 kvTypeName(kv) + (int8 ? " int8" : " float32");
        errors.push_back(compare({model, kv, int8}, int8 ? 5e-2 : 1e-4, what));
      }
    }
  }
  std::sort(errors.begin(), errors.end());
  CHECK(errors[errors.size() / 2] < 1e-4);
}

TEST("cuda train: a tuning through the engine, whose losses fall as the CPU's do") {
  const ExactBytes bytes(writerOf(*families().front(), kTypes[3]).build());
  const auto model = bind(bytes);
  const auto tune = [&](std::shared_ptr<CudaStream> device) {
    World world(onDevice(std::move(device)), model);
    const ModelConfig& c = world.engine.model().config;
    const auto frozen = frozenIn(world);
    const auto workspace = std::make_shared<TrainWorkspace>();
    TrainStepSpec spec = specOf(c, frozen);
    std::vector<double> losses;
    for (int step = 0; step < 3; ++step) {
      checkTrainStep(spec, world.engine.model(), *world.engine.pool());
      const Told told =
          world.sink->end(world.engine.submit(std::make_shared<TrainStep>(spec, workspace)));
      CHECK_EQ(told.failed, "");
      losses.push_back(told.trained.losses.at(0) + told.trained.losses.at(1));
      double size = 0;
      for (const auto& gradient : told.trained.gradients) {
        for (const float number : gradient) size += double(number) * number;
      }
      const auto rate = static_cast<float>(0.05 / std::sqrt(size));
      for (size_t i = 0; i < spec.prompts.size(); ++i) {
        for (size_t j = 0; j < spec.prompts[i].rows.size(); ++j)
          spec.prompts[i].rows[j] -= rate * told.trained.gradients.at(i).at(j);
      }
    }
    return losses;
  };
  const std::vector<double> want = tune(nullptr);
  emulation::EmulatedCuda cuda;
  const std::vector<double> got = tune(std::make_shared<CudaStream>(cuda.api(), 0));
  for (size_t i = 0; i < want.size(); ++i) {
    CHECK(std::fabs(got[i] - want[i]) < 1e-4 * want[i]);
    if (i > 0) CHECK(got[i] < got[i - 1]);
  }
}

TEST("cuda train: two steps have the same bits") {
  const ExactBytes bytes(writerOf(*families().front(), kTypes[3]).build());
  const auto model = bind(bytes);
  const auto once = [&] {
    emulation::EmulatedCuda cuda;
    const auto device = std::make_shared<CudaStream>(cuda.api(), 0);
    return train({model, KvType::kF16, true}, device,
                 [&](const Pool& pool, const ForwardOptions& options, ThreadPool& threads) {
                   return std::make_unique<CudaBackend>(model, device, threads, pool, options,
                                                        nullptr);
                 });
  };
  const TrainedEvent one = once(), other = once();
  CHECK(one.losses == other.losses);
  CHECK(one.gradients == other.gradients);
}

TEST("cuda train: a step without memory fails alone, one on a lost device as all do") {
  emulation::EmulatedCuda cuda;
  const ExactBytes bytes(writerOf(*families().front(), kTypes[3]).build());
  World world(onDevice(std::make_shared<CudaStream>(cuda.api(), 0)), bind(bytes));
  const auto frozen = frozenIn(world);
  const auto workspace = std::make_shared<TrainWorkspace>();
  const TrainStepSpec spec = specOf(world.engine.model().config, frozen);
  const auto step = [&] {
    return world.sink->end(world.engine.submit(std::make_shared<TrainStep>(spec, workspace)));
  };
  const uint64_t total = cuda.device().totalBytes;
  for (const uint64_t more : {1u << 10, 1u << 14, 1u << 16}) {
    cuda.device().totalBytes = cuda.device().usedBytes + more;
    CHECK_EQ(step().failed, "OUT_OF_MEMORY");
  }
  cuda.device().totalBytes = total;
  const Told told = step();
  CHECK_EQ(told.failed, "");
  CHECK(std::isfinite(told.trained.losses.at(0)));
  cuda.device().lost = true;
  CHECK_EQ(step().failed, "DEVICE_UNAVAILABLE");
}
