// SPDX-License-Identifier: Apache-2.0
// Which weights of a model are packed, that pieces of the work make one whole, and that opening can
// be cancelled in it.
#include "engine/weight_panels.h"

#include <algorithm>
#include <cstring>

#include "check.h"
#include "device/device.h"
#include "engine/world.h"
#include "kernels/linear/panels.h"
#include "kernels/support.h"
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

TEST("weight panels: any pieces make the same panels, and name every row once") {
  Random random(3);
  for (const DType type : {DType::kQ8_0, DType::kQ4_K, DType::kQ5_1}) {
    for (const int rows : {1, 16, 37, 80}) {
      const Weight shape{nullptr, type, rows, 512};
      std::vector<std::byte> bytes(rowsBytes(shape));
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(256));
      const Weight weight{bytes.data(), type, rows, 512};
      const Buffer want = packed(weight);
      const size_t panel = panelBytes(type, 512);
      ThreadPool threads(2);
      for (const size_t most : {size_t{1}, panel, 2 * panel + 1, 3 * panel, size_t{1} << 24}) {
        Buffer got(want.size());
        size_t made = 0, read = 0;
        for (const PanelPiece& piece : panelPieces(weight, most)) {
          CHECK_EQ(piece.at, made);
          CHECK(piece.bytes <= std::max(most, panel));
          packPiece(weight, piece, threads, got.data() + piece.at);
          made += piece.bytes;
          read += piece.rowsBytes;
        }
        CHECK_EQ(made, want.size());
        CHECK_EQ(read, bytes.size());
        CHECK(std::memcmp(got.data(), want.data(), want.size()) == 0);
      }
    }
  }
}

TEST("weight panels: who waits is told of more and more bytes of the file, up to all") {
  const std::shared_ptr<const Model> model = tinyModel();
  ThreadPool threads(2);
  std::vector<uint64_t> done;
  const std::atomic<int32_t> goOn{0};
  LoadWatch watch(&goOn, [&](uint64_t now, uint64_t total) {
    CHECK_EQ(total, model->file().size());
    done.push_back(now);
  });
  const WeightPanels panels(*model, threads, &watch, 1);
  REQUIRE(done.size() > 10);
  CHECK(done.size() <= 101);
  CHECK(done.front() < done.back());
  CHECK(std::is_sorted(done.begin(), done.end()));
  CHECK_EQ(done.back(), model->file().size());
  CHECK(std::adjacent_find(done.begin(), done.end()) == done.end());
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
  LoadWatch cancelled(&cancel);
  CHECK_THROWS("ABORTED", Engine(model, options, sink, &cancelled));
  const std::atomic<int32_t> goOn{0};
  LoadWatch watch(&goOn);
  const Engine engine(model, options, sink, &watch);
  CHECK(engine.model().layers.size() > 0);
}
