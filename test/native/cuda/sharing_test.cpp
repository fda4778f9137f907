// SPDX-License-Identifier: Apache-2.0
// Branches that decode behind a trunk that is long enough to be read once for all of them, through
// the engine's forward on the emulated device: together and each alone.
#include <string_view>

#include "base/half.h"
#include "emulation/cuda.h"
#include "emulation/cuda_library.h"
#include "engine/cuda_backend.h"
#include "engine/forward.h"
#include "engine/random_model.h"
#include "engine/slot_sharing.h"
#include "engine/world.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr int kBranches = 5, kOwn = 3;

// Logits of the last row of each branch, which all are in one batch, or one after another.
std::vector<std::vector<float>> decoded(const std::shared_ptr<const Model>& model, bool invariant,
                                        bool together) {
  const ModelConfig& c = model->config;
  const int trunkRows = ShareGate{}.rows;
  emulation::EmulatedCuda cuda;
  const auto device = std::make_shared<CudaStream>(cuda.api(), 0);
  const KvShape shape{c.layers, c.kvHeads, c.headDim, KvType::kF16};
  const size_t blocks = static_cast<size_t>(trunkRows / kBlockRows + kBranches);
  const auto pool = std::make_shared<baton::Pool>(shape, blocks * shape.blockBytes(), 0, device);
  std::vector<uint16_t> numbers(blocks * shape.blockBytes() / sizeof(uint16_t));
  Random random(4);
  for (uint16_t& number : numbers) number = halfOfFloat(random.number());
  device->upload(pool->keys(0), numbers.data(), numbers.size() * sizeof(uint16_t));

  ThreadPool threads(1);
  const ForwardOptions options{16, true, invariant, nullptr, kBranches};
  Forward forward(model,
                  std::make_unique<CudaBackend>(model, device, threads, *pool, options, nullptr),
                  options);
  forward.growPositions(trunkRows + 20);
  const auto segment = [&](int start, int rows) {
    auto made =
        std::make_shared<Segment>(pool, SegmentSpec{SegmentKind::kInput, start, {}}, "sharing");
    made->reserve(rows);
    return made;
  };
  const std::vector<SegmentRead> reads{{segment(0, trunkRows), trunkRows, 0}};
  const int32_t tokens[] = {3, 1, 4, 1, 5, 9, 2};
  std::vector<std::shared_ptr<Segment>> branches;
  std::vector<std::vector<float>> all;
  Batch batch;
  // Thrice, of which the last two are a graph of the same lists.
  const auto run = [&] {
    for (int i = 0; i < 3; ++i) CHECK(forward.run(batch, nullptr, [] { return true; }));
    for (size_t row = 0; row < batch.logitRows.size(); ++row) {
      const float* logits = forward.logits(static_cast<int>(row), 1);
      all.emplace_back(logits, logits + c.vocab);
    }
    batch = {};
  };
  for (int i = 0; i < kBranches; ++i) {
    branches.push_back(segment(trunkRows, kOwn));
    batch.add({branches.back().get(), &reads, 0, kOwn, 0, tokens + i % 3, nullptr});
    batch.logitRows.push_back(batch.rows - 1);
    if (!together) run();
  }
  if (together) run();
  return all;
}

// Heads of 64 numbers, which tensor cores take. Of float32, so that nothing else is rounded: where
// a quant falls the other way, that is 3 % of so small a model's logits.
const ExactBytes& wideHeads() {
  static const ExactBytes bytes = [] {
    const Family* llama = nullptr;
    for (const Family* family : families()) {
      if (std::string_view(family->name) == "llama") llama = family;
    }
    const Types types{"float32", DType::kF32, DType::kF32, DType::kF32, DType::kF32};
    return ExactBytes(writerOf(*llama, types, 64).build());
  }();
  return bytes;
}

}  // namespace

TEST("cuda: branches on a long trunk have the bits that each has alone, where bits must not move") {
  for (const auto& model : {tinyModel(), bind(wideHeads())}) {
    const auto together = decoded(model, true, true), alone = decoded(model, true, false);
    REQUIRE(together.size() == kBranches && alone.size() == kBranches);
    for (size_t i = 0; i < kBranches; ++i)
      CHECK(sameBits(together[i].data(), alone[i].data(), alone[i].size()));
  }
}

TEST("cuda: branches on a long trunk that tensor cores read are near what each has alone") {
  const auto model = bind(wideHeads());
  const auto together = decoded(model, false, true), alone = decoded(model, false, false);
  REQUIRE(together.size() == kBranches && alone.size() == kBranches);
  for (size_t i = 0; i < kBranches; ++i) {
    double error = 0, size = 0;
    for (size_t t = 0; t < alone[i].size(); ++t) {
      error += std::pow(double(together[i][t]) - alone[i][t], 2);
      size += std::pow(alone[i][t], 2);
    }
    CHECK(error > 0);  // or no tensor core was used
    CHECK_NEAR(std::sqrt(error / size), 0, 4e-3);
  }
}
