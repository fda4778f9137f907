// SPDX-License-Identifier: Apache-2.0
// A small training step with everything in it, and an engine to run it on.
#pragma once

#include "engine/world.h"
#include "kernels/support.h"
#include "tune/train_step.h"

namespace baton::test {

inline TrainRead ofPrompt(int prompt, int rows, int shift) {
  TrainRead read;
  read.prompt = prompt;
  read.rows = rows;
  read.shift = shift;
  return read;
}

inline TrainRead ofLive(int live, int rows, int shift) {
  TrainRead read;
  read.live = live;
  read.rows = rows;
  read.shift = shift;
  return read;
}

inline TrainRead ofFrozen(std::shared_ptr<Segment> segment, int rows) {
  TrainRead read;
  read.segment = std::move(segment);
  read.rows = rows;
  return read;
}

inline TrainSegment segmentOf(int start, int rows, int first, int unlabelled, int vocab,
                              std::vector<TrainRead> reads) {
  TrainSegment segment;
  segment.start = start;
  for (int i = 0; i < rows; ++i) {
    segment.tokens.push_back((first + 7 * i) % vocab);
    segment.labels.push_back(i < unlabelled ? -1 : (first + 3 + 5 * i) % vocab);
  }
  segment.reads = std::move(reads);
  return segment;
}

// Two prompts, one of them longer than a block; two items behind a frozen segment. What an item's
// second segment reads of its first one is shifted.
inline TrainStepSpec specOf(const ModelConfig& c, const std::shared_ptr<Segment>& frozen) {
  TrainStepSpec spec;
  Random random(5);
  for (const int rows : {5, 18}) {
    TrainPrompt prompt;
    prompt.start = rows == 5 ? 0 : 21;
    prompt.rows.resize(static_cast<size_t>(rows * c.hidden));
    for (float& number : prompt.rows) number = 0.3f * random.number();
    spec.prompts.push_back(std::move(prompt));
  }
  for (const int rows : {17, 6}) {
    TrainItem item;
    item.scale = rows == 17 ? 1.0f : 0.5f;
    item.segments.push_back(
        segmentOf(39, rows, 3, 2, c.vocab, {ofPrompt(0, 5, 0), ofFrozen(frozen, 14)}));
    item.segments.push_back(segmentOf(
        50, 9, 11, 0, c.vocab,
        {ofPrompt(1, 18, 0), ofPrompt(0, 4, 3), ofFrozen(frozen, 20), ofLive(0, rows, -6)}));
    spec.items.push_back(std::move(item));
  }
  // Of one item's activations less than half: the others are computed again.
  spec.activationBytes = static_cast<size_t>(20 * c.layers * (6 * c.hidden + 2 * c.ffn));
  return spec;
}

inline EngineOptions onDevice(std::shared_ptr<CudaStream> device) {
  EngineOptions options;
  options.cuda = std::move(device);
  options.kvType = KvType::kF32;
  options.int8Activations = false;
  options.cacheBytes = 1 << 20;
  options.maxBatchRows = 32;
  return options;
}

inline std::shared_ptr<Segment> frozenIn(World& world) {
  const auto frozen = world.segment(5);
  Append input = World::tokens(frozen, 20);
  for (int32_t& token : input.tokens) token %= world.engine.model().config.vocab;
  input.close = true;
  CHECK_EQ(world.sink->end(world.engine.submit(World::job({std::move(input)}))).failed, "");
  return frozen;
}

}  // namespace baton::test
