// SPDX-License-Identifier: Apache-2.0
// Trained prompts in memory of the host and of an emulated device: updates are PyTorch's
// (test/fixtures/python/optimizer.py) and have the same bits on both; what is wrong is refused.
#include "tune/trained_prompts.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/json.h"
#include "emulation/cuda_library.h"
#include "engine/cpu_backend.h"
#include "engine/cuda_backend.h"
#include "engine/random_model.h"
#include "fixture.h"

using namespace baton;
using namespace baton::test;

namespace {

using Kind = TrainedPrompts::Kind;
using Numbers = std::vector<std::vector<float>>;

constexpr int kHidden = 24;  // of the fixture
constexpr size_t kSteps = 10;

TrainedPrompts::Start startOf(Numbers values) {
  TrainedPrompts::Start start;
  for (const std::vector<float>& one : values) {
    start.first.emplace_back(one.size());
    start.second.emplace_back(one.size());
  }
  start.values = std::move(values);
  return start;
}

Json facts() {
  std::ifstream file(std::filesystem::path(__FILE__).parent_path() /
                     "../../fixtures/optimizer/facts.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  JsonFault fault;
  const std::optional<Json> json = parseJson(text, fault);
  REQUIRE(json.has_value());
  return *json;
}

double numberOf(const Json& object, const char* name) {
  return object.find(name)->number().value();
}

std::vector<float> stepOf(const std::vector<float>& all, size_t step) {
  const auto size = static_cast<ptrdiff_t>(all.size() / kSteps);
  const auto begin = all.begin() + static_cast<ptrdiff_t>(step) * size;
  return {begin, begin + size};
}

// What it ends with, having looked at every step.
Numbers runCase(const Json& one, const std::shared_ptr<Memory>& memory, Backend& backend) {
  const FixtureFile file("optimizer");
  const std::string name = *one.find("name")->text();
  TrainedPrompts prompts(memory, kHidden,
                         startOf({file.floats("start.a").data, file.floats("start.b").data}));
  const Numbers gradients{file.cube("gradients.a"), file.cube("gradients.b")};
  const Numbers wanted{file.cube(name + ".a"), file.cube(name + ".b")};
  const std::optional<double> limit = one.find("maxNorm")->number();
  for (size_t step = 0; step < kSteps; ++step) {
    for (size_t i = 0; i < 2; ++i) {
      const std::vector<float> gradient = stepOf(gradients[i], step);
      memory->upload(prompts.at(Kind::kGradient, i), gradient.data(),
                     gradient.size() * sizeof(float));
    }
    const Json::Array& betas = *one.find("betas")->array();
    const UpdatedEvent event = prompts.update(
        backend, {one.find("rates")->array()->at(step).number().value(), betas[0].number().value(),
                  betas[1].number().value(), numberOf(one, "epsilon"), numberOf(one, "weightDecay"),
                  limit.value_or(std::numeric_limits<double>::infinity())});
    CHECK(event.finite);
    CHECK_NEAR(event.norm / one.find("norms")->array()->at(step).number().value(), 1.0, 1e-6);
    int64_t updates = 0;
    const Numbers values = prompts.read(Kind::kValues, updates);
    CHECK_EQ(updates, static_cast<int64_t>(step + 1));
    for (size_t i = 0; i < 2; ++i) {
      const std::vector<float> want = stepOf(wanted[i], step);
      const std::vector<double> expected(want.begin(), want.end());
      const std::vector<double> bound(expected.size(), 1e-6);
      checkWithin(name, values[i].data(), expected.data(), bound.data(), expected.size());
    }
  }
  int64_t updates = 0;
  Numbers all;
  for (const Kind kind : {Kind::kValues, Kind::kFirst, Kind::kSecond}) {
    for (std::vector<float>& numbers : prompts.read(kind, updates)) all.push_back(numbers);
  }
  return all;
}

struct Place {
  std::shared_ptr<const Model> model;
  ThreadPool threads{2};
  ForwardOptions options{8, false, true};

  explicit Place(const ExactBytes& bytes) : model(bind(bytes)) {}

  Pool pool(const std::shared_ptr<Memory>& memory) const {
    const ModelConfig& c = model->config;
    const KvShape shape{c.layers, c.kvHeads, c.headDim, KvType::kF32};
    return Pool(shape, 4 * shape.blockBytes(), 0, memory);
  }
};

}  // namespace

TEST("trained prompts: PyTorch's ten steps, with the same bits on the host and on a device") {
  const ExactBytes bytes(writerOf(*families().front(), kTypes[0]).build());
  Place place(bytes);
  const Pool hostPool = place.pool(hostMemory());
  CpuBackend host(place.model, cpuOps(), place.threads, hostPool, place.options);
  emulation::EmulatedCuda cuda;
  const auto device = std::make_shared<CudaStream>(cuda.api(), 0);
  const Pool devicePool = place.pool(device);
  CudaBackend there(place.model, device, place.threads, devicePool, place.options, nullptr);
  const Json json = facts();
  const Json::Array& cases = *json.find("cases")->array();
  CHECK(cases.size() > 2);
  for (const Json& one : cases) {
    const Numbers want = runCase(one, hostMemory(), host), got = runCase(one, device, there);
    REQUIRE(got.size() == 6 && want.size() == 6);
    for (size_t i = 0; i < 6; ++i) CHECK(sameBits(got[i].data(), want[i].data(), want[i].size()));
  }
}

TEST("trained prompts: what is no prompt, or has other moments, is refused") {
  const auto make = [](TrainedPrompts::Start start) {
    const TrainedPrompts prompts(hostMemory(), kHidden, start);
  };
  CHECK_THROWS("OPTION_INVALID", make({}));
  CHECK_THROWS("OPTION_INVALID", make(startOf({std::vector<float>(kHidden), {}})));
  CHECK_THROWS("OPTION_INVALID", make(startOf({std::vector<float>(kHidden + 1)})));
  TrainedPrompts::Start start = startOf({std::vector<float>(kHidden)});
  start.second.clear();
  CHECK_THROWS("OPTION_INVALID", make(start));
  start = startOf({std::vector<float>(kHidden)});
  start.first[0].pop_back();
  CHECK_THROWS("OPTION_INVALID", make(start));
  start = startOf({std::vector<float>(kHidden)});
  start.updates = -1;
  CHECK_THROWS("OPTION_INVALID", make(start));
}
