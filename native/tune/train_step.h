// SPDX-License-Identifier: Apache-2.0
// One training step: forward of the live rows of some items, cross entropy on their labelled rows,
// backward to the rows of the trained prompts (method.md, part 3). Frozen KV is read where it lies.
//
// A prompt reads nothing but itself, so its rows run forward once, before the items, and backward
// once, after them: meanwhile the gradients of its K and V are summed over all that read them.
// Items do not read each other; they go in groups, side by side without padding, as large as the
// budget for activations allows.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "engine/forward.h"
#include "engine/work.h"
#include "tune/layer_backward.h"
#include "tune/trained_prompts.h"

namespace baton {

struct TrainRead {
  std::shared_ptr<Segment> segment;  // frozen, or
  int prompt = -1;                   // index in the step's prompts, or
  int live = -1;                     // index in the item's segments, an earlier one
  int rows = 0;
  int shift = 0;
};

struct TrainSegment {
  SegmentKind kind = SegmentKind::kOutput;
  int start = 0;
  std::vector<int32_t> tokens;
  std::vector<int32_t> labels;  // [tokens], -1: not scored
  std::vector<TrainRead> reads;
};

struct TrainItem {
  std::vector<TrainSegment> segments;
  float scale = 1;  // of the item's mean loss in the step's
};

struct TrainPrompt {
  int start = 0;
  std::vector<float> rows;  // [n, M], and the gradient comes back with the event; or
  int trained = -1;         // index in the step's trained prompts
};

struct TrainStepSpec {
  std::vector<TrainPrompt> prompts;
  std::vector<TrainItem> items;
  bool gradient = true;
  // Of prompts that name one of these the rows are its values, and the gradient stays there: of all
  // of them it takes the place of what was there, or, where it accumulates, is added.
  std::shared_ptr<TrainedPrompts> trained = {};
  bool accumulate = false;
  size_t activationBytes = 0;  // most bytes of activations to hold; the rest is computed twice

  int rowsOf(const TrainPrompt& prompt, int hidden) const;
};

// Throws OPTION_INVALID for what would make a kernel leave its memory (token or label outside of
// the vocabulary, a read of something that is not there), CONTEXT_LIMIT for positions beyond it.
void checkTrainStep(const TrainStepSpec& spec, const Model& model, const Pool& pool);

// Memory that the steps of a model share, as one has the shape of the other. Engine thread.
struct TrainWorkspace {
  std::unique_ptr<Forward> forward;
  std::unique_ptr<LayerBackward> layers;
  struct Room {
    explicit Room(Memory& memory)
        : promptTape(memory), itemTape(memory), recomputed(memory), dfinal(memory), dx(memory) {}
    Tape promptTape, itemTape;
    LayerActivations recomputed;
    DeviceBuffer dfinal;  // [labels, M]
    DeviceBuffer dx;      // [R, M]
  };
  std::optional<Room> room;
};

class TrainStep : public Work {
 public:
  // `spec` has been checked.
  TrainStep(TrainStepSpec spec, std::shared_ptr<TrainWorkspace> workspace)
      : spec_(std::move(spec)), workspace_(std::move(workspace)), submitted_(Clock::now()) {}

  std::optional<EventBody> run(const WorkPlace& place) override;

 private:
  struct Label {
    size_t item;
    int32_t token;
    float scale;
  };
  // A batch that has run, with what backward needs of it. Its segments own blocks for its K and V.
  struct Pass {
    std::vector<std::shared_ptr<Segment>> segments;
    std::vector<std::unique_ptr<std::vector<SegmentRead>>> reads;  // of each; runs point here
    Batch batch;
    std::vector<Label> labels;  // as batch.logitRows
    Tape* tape = nullptr;
  };

  Memory& memory() const;
  void prepareWorkspace(const WorkPlace& place);
  size_t groupEnd(const ModelConfig& config, size_t begin) const;
  void setTape(const ModelConfig& config, Pass& pass, Tape& tape) const;
  Pass makePrompts(const WorkPlace& place) const;
  Pass makeGroup(const WorkPlace& place, const Pass& prompts, size_t begin, size_t end) const;
  void addRun(const WorkPlace& place, Pass& pass, SegmentSpec spec, Run run) const;
  bool forward(const WorkPlace& place, const Pass& pass);
  bool score(const WorkPlace& place, const Pass& pass);
  bool backward(const WorkPlace& place, const Pass& pass, std::vector<KvGradient>& outside,
                const std::vector<KvGradient>& incoming, bool toInput);
  void giveGradients(const ModelConfig& config, const Pass& prompts);

  TrainStepSpec spec_;
  std::shared_ptr<TrainWorkspace> workspace_;
  Clock::time_point submitted_;
  TrainedEvent result_;
};

}  // namespace baton
