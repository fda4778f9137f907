// SPDX-License-Identifier: Apache-2.0
// Training steps of prompts that lie where the model computes, on the CPU and on the emulated
// device: losses and gradients are those of a step that is given its rows, whatever is summed; what
// is wrong is a typed error.
#include "emulation/cuda_library.h"
#include "engine/random_model.h"
#include "engine/train_spec.h"
#include "tune/train_update.h"

using namespace baton;
using namespace baton::test;

namespace {

using Kind = TrainedPrompts::Kind;
using Numbers = std::vector<std::vector<float>>;

// The step with its prompts where the model computes.
TrainStepSpec heldSpec(const TrainStepSpec& spec, const World& world) {
  TrainStepSpec held = spec;
  TrainedPrompts::Start start;
  for (size_t i = 0; i < spec.prompts.size(); ++i) {
    start.first.emplace_back(spec.prompts[i].rows.size());
    start.second.emplace_back(spec.prompts[i].rows.size());
    start.values.push_back(std::move(held.prompts[i].rows));
    held.prompts[i].trained = static_cast<int>(i);
  }
  held.trained = std::make_shared<TrainedPrompts>(world.engine.pool()->sharedMemory(),
                                                  world.engine.model().config.hidden, start);
  return held;
}

Numbers numbersOf(TrainedPrompts& prompts, Kind kind) {
  int64_t updates = 0;
  return prompts.read(kind, updates);
}

Told stepped(World& world, const TrainStepSpec& spec,
             const std::shared_ptr<TrainWorkspace>& workspace) {
  checkTrainStep(spec, world.engine.model(), *world.engine.pool());
  return world.sink->end(world.engine.submit(std::make_shared<TrainStep>(spec, workspace)));
}

Told updated(World& world, const TrainStepSpec& spec) {
  return world.sink->end(world.engine.submit(std::make_shared<TrainUpdate>(
      spec.trained, *world.engine.pool(),
      TrainedPrompts::Hyperparameters{0.01, 0.9, 0.999, 1e-8, 0.1, 0.5})));
}

}  // namespace

TEST(
    "cuda held prompts: they have the step's own gradients, summed, and the next step reads them") {
  const ExactBytes bytes(writerOf(*families().front(), kTypes[3]).build());
  const auto model = bind(bytes);
  const auto run = [&](std::shared_ptr<CudaStream> device) {
    World world(onDevice(std::move(device)), model);
    const auto workspace = std::make_shared<TrainWorkspace>();
    TrainStepSpec spec = specOf(world.engine.model().config, frozenIn(world));
    TrainStepSpec held = heldSpec(spec, world);
    const Told own = stepped(world, spec, workspace);
    Told there = stepped(world, held, workspace);
    CHECK(there.trained.losses == own.trained.losses);
    CHECK(there.trained.gradients.empty());
    CHECK(numbersOf(*held.trained, Kind::kGradient) == own.trained.gradients);
    held.accumulate = true;
    there = stepped(world, held, workspace);
    Numbers twice = own.trained.gradients;
    for (std::vector<float>& one : twice) {
      for (float& number : one) number += number;
    }
    CHECK(numbersOf(*held.trained, Kind::kGradient) == twice);

    const Numbers before = numbersOf(*held.trained, Kind::kValues);
    const Told update = updated(world, held);
    CHECK_EQ(update.failed, "");
    CHECK(update.updated.finite);
    CHECK(update.updated.norm > 0.5);
    const Numbers after = numbersOf(*held.trained, Kind::kValues);
    for (size_t i = 0; i < 2; ++i) {
      CHECK(after[i] != before[i]);
      spec.prompts[i].rows = after[i];
    }
    // One prompt alone: the other has no gradient.
    held.accumulate = false;
    const Told next = stepped(world, spec, workspace);
    CHECK(stepped(world, held, workspace).trained.losses == next.trained.losses);
    CHECK(next.trained.losses != own.trained.losses);
    held.prompts.pop_back();
    for (TrainItem& item : held.items) item.segments.pop_back();
    CHECK_EQ(stepped(world, held, workspace).failed, "");
    const Numbers alone = numbersOf(*held.trained, Kind::kGradient);
    CHECK(alone[1] == std::vector<float>(alone[1].size()));
    CHECK(alone[0] != next.trained.gradients[0]);
    return update.updated.norm;
  };
  const double want = run(nullptr);
  emulation::EmulatedCuda cuda;
  CHECK_NEAR(run(std::make_shared<CudaStream>(cuda.api(), 0)), want, 1e-4 * want);
}

TEST("cuda held prompts: without memory, of a lost device, after the engine was closed") {
  emulation::EmulatedCuda cuda;
  const ExactBytes bytes(writerOf(*families().front(), kTypes[3]).build());
  const auto device = std::make_shared<CudaStream>(cuda.api(), 0);
  World world(onDevice(device), bind(bytes));
  const TrainStepSpec spec = specOf(world.engine.model().config, frozenIn(world));
  const uint64_t total = cuda.device().totalBytes, used = cuda.device().usedBytes;
  cuda.device().totalBytes = used + 1000;
  CHECK_THROWS("OUT_OF_MEMORY", heldSpec(spec, world));
  CHECK_EQ(cuda.device().usedBytes, used);
  cuda.device().totalBytes = total;
  {
    const TrainStepSpec held = heldSpec(spec, world);
    CHECK(cuda.device().usedBytes > used);
    World other;  // on the host
    CHECK_THROWS("OPTION_INVALID", updated(other, held));
    CHECK_THROWS("OPTION_INVALID",
                 checkTrainStep(held, other.engine.model(), *other.engine.pool()));
  }
  CHECK_EQ(cuda.device().usedBytes, used);
  TrainStepSpec held = heldSpec(spec, world);
  const Numbers values = numbersOf(*held.trained, Kind::kValues);
  world.engine.close();
  CHECK_THROWS("CLOSED", updated(world, held));
  CHECK(numbersOf(*held.trained, Kind::kValues) == values);
  cuda.device().lost = true;
  CHECK_THROWS("DEVICE_UNAVAILABLE", numbersOf(*held.trained, Kind::kValues));
}
