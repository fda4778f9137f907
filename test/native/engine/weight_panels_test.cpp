// SPDX-License-Identifier: Apache-2.0
// Which weights of a model are packed, that pieces of the work make one whole, and that opening can
// be cancelled in it.
#include "engine/weight_panels.h"

#include <cstring>

#include "check.h"
#include "device/device.h"
#include "engine/world.h"
#include "kernels/linear/panels.h"
#include "quant/types.h"

using namespace baton;
using namespace baton::test;

namespace {

std::vector<const Weight*> weightsOf(const Model& model) {
  std::vector<const Weight*> weights{&model.output};
  for (const LayerWeights& layer : model.layers) {
    for (const Weight* one :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
      weights.push_back(one);
    }
  }
  return weights;
}

// Packed in one go.
Buffer packed(const Weight& weight) {
  Buffer out(panelsBytes(weight.type, weight.rows, weight.cols));
  packPanels(weight.type, weight.data, weight.rows, weight.cols, 0, panelCount(weight.rows),
             out.data());
  return out;
}

}  // namespace

TEST("weight panels: all quantised weights have them, and no others") {
  for (const char* name : {"tiny-llama/tiny-q8_0.gguf", "tiny-llama/tiny-f32.gguf"}) {
    const std::shared_ptr<const Model> model = fixtureModel(name);
    ThreadPool threads(2);
    const WeightPanels panels(*model, threads, nullptr);
    for (const Weight* weight : weightsOf(*model)) {
      const std::byte* const got = panels.of(*weight);
      const bool quantised = quantType(weight->type).unpack != nullptr;
      CHECK_EQ(got != nullptr, quantised);
      if (got == nullptr) continue;
      const Buffer want = packed(*weight);  // also: its rows can be read still
      CHECK(std::memcmp(got, want.data(), want.size()) == 0);
    }
  }
}

TEST("weight panels: the reference wants none") {
  const std::shared_ptr<const Model> model = tinyModel();
  ThreadPool threads(1);
  CHECK(packWeights(*model, kScalarOps, threads, nullptr) == nullptr);
}

TEST("weight panels: an opening that is cancelled ends with ABORTED, and the next one succeeds") {
  const std::shared_ptr<const Model> model = tinyModel();
  if (cpuOps().linear == kScalarOps.linear) SKIP("nothing is packed for the scalar kernels");
  EngineOptions options;
  options.cacheBytes = 8 << 20;
  const auto sink = std::make_shared<Sink>();
  const std::atomic<int32_t> cancel{1};
  CHECK_THROWS("ABORTED", Engine(model, options, sink, &cancel));
  const std::atomic<int32_t> goOn{0};
  const Engine engine(model, options, sink, &goOn);
  CHECK(engine.model().layers.size() > 0);
}
