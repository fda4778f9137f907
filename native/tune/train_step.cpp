// SPDX-License-Identifier: Apache-2.0
#include "tune/train_step.h"

#include <algorithm>

#include "base/trace.h"

namespace baton {
namespace {

constexpr const char* kGradients = "the gradients of a training step";

// Rows of logits [rows, V] that are held at a time: the head is read once for them, so as many as
// dLinear takes together, if they are not too large.
constexpr int kLeastLogitRows = 64, kMostLogitRows = kDLinearRows;
constexpr int kLogitBytes = 24 << 20;

int logitRowsOf(const ModelConfig& config) {
  const int fit = kLogitBytes / (config.vocab * static_cast<int>(sizeof(float)));
  return std::clamp(fit, kLeastLogitRows, kMostLogitRows);
}

int rowsOf(const TrainItem& item) {
  int rows = 0;
  for (const TrainSegment& segment : item.segments) rows += static_cast<int>(segment.tokens.size());
  return rows;
}

int labelsOf(const TrainItem& item) {
  int labels = 0;
  for (const TrainSegment& segment : item.segments) {
    for (const int32_t label : segment.labels) labels += label >= 0 ? 1 : 0;
  }
  return labels;
}

// Bytes that a row leaves on a tape for one layer, besides the layer's input.
size_t activationBytes(const ModelConfig& c) {
  const int width = c.heads * c.headDim;
  // q and kIn of families with norms of heads, attended, lse, the streams, gate and up.
  return sizeof(float) * static_cast<size_t>(3 * width + c.kvHeads * c.headDim + c.heads +
                                             3 * c.hidden + 2 * c.ffn);
}

size_t inputBytes(const ModelConfig& c) {
  return sizeof(float) * static_cast<size_t>(c.layers) * static_cast<size_t>(c.hidden);
}

// Positions that rotary tables must hold.
int positionLimit(const TrainStepSpec& spec, const ModelConfig& config) {
  int limit = 1;
  const auto reach = [&limit](int start, int rows, int shift) {
    limit =
        std::max(limit, std::max(std::abs(start), std::abs(start + rows)) + std::abs(shift) + 1);
  };
  for (const TrainPrompt& prompt : spec.prompts)
    reach(prompt.start, spec.rowsOf(prompt, config.hidden), 0);
  for (const TrainItem& item : spec.items) {
    for (const TrainSegment& segment : item.segments) {
      const int rows = static_cast<int>(segment.tokens.size());
      reach(segment.start, rows, 0);
      for (const TrainRead& read : segment.reads) reach(segment.start, rows, read.shift);
    }
  }
  return limit;
}

}  // namespace

Memory& TrainStep::memory() const {
  return workspace_->forward->backend().memory();
}

std::optional<EventBody> TrainStep::run(const WorkPlace& place) {
  const trace::Scope scope("train step", "items", static_cast<int64_t>(spec_.items.size()));
  const ModelConfig& config = place.model->config;
  std::unique_lock<std::mutex> held;
  if (spec_.trained != nullptr) held = std::unique_lock(spec_.trained->mutex());
  prepareWorkspace(place);
  result_.losses.assign(spec_.items.size(), 0.0);
  Pass prompts = makePrompts(place);
  if (prompts.batch.rows > 0 && !forward(place, prompts)) return std::nullopt;
  std::vector<KvGradient> gradients;
  for (const auto& segment : prompts.segments) {
    const Run& run = prompts.batch.runs[gradients.size()];
    const size_t bytes = matrixBytes(config.layers * run.count, config.kvHeads * config.headDim);
    KvGradient& gradient = gradients.emplace_back(segment.get(), run.count, memory());
    for (DeviceBuffer* sum : {&gradient.dk, &gradient.dv}) {
      sum->ensure(bytes, "the gradients of a prompt");
      memory().fill(sum->data(), 0, bytes);
    }
  }
  for (size_t begin = 0; begin < spec_.items.size();) {
    const size_t end = groupEnd(config, begin);
    const Pass group = makeGroup(place, prompts, begin, end);
    begin = end;
    if (group.batch.rows == 0) continue;
    if (!forward(place, group) || !score(place, group)) return std::nullopt;
    std::vector<KvGradient> none;
    if (spec_.gradient && !backward(place, group, gradients, none, false)) return std::nullopt;
  }
  if (spec_.gradient && prompts.batch.rows > 0) {
    DeviceBuffer& dx = workspace_->room->dx;
    memory().fill(dx.data(), 0, matrixBytes(prompts.batch.rows, config.hidden));
    std::vector<KvGradient> none;
    if (!backward(place, prompts, none, gradients, true)) return std::nullopt;
  }
  if (spec_.gradient) giveGradients(config, prompts);
  result_.totalMs = std::chrono::duration<double, std::milli>(Clock::now() - submitted_).count();
  return EventBody(std::move(result_));
}

// To the host, or to where the next update finds them.
void TrainStep::giveGradients(const ModelConfig& config, const Pass& prompts) {
  using Kind = TrainedPrompts::Kind;
  TrainedPrompts* trained = spec_.trained.get();
  if (trained != nullptr && !spec_.accumulate) {
    for (size_t i = 0; i < trained->count(); ++i)
      memory().fill(trained->at(Kind::kGradient, i), 0, trained->numbers(i) * sizeof(float));
  }
  for (size_t i = 0; i < spec_.prompts.size(); ++i) {
    const Run& run = prompts.batch.runs[i];
    const size_t bytes = matrixBytes(run.count, config.hidden);
    const std::byte* from = workspace_->room->dx.data() + matrixBytes(run.batchRow, config.hidden);
    const int index = spec_.prompts[i].trained;
    if (index < 0) {
      std::vector<float>& rows = result_.gradients.emplace_back(bytes / sizeof(float));
      memory().download(rows.data(), from, bytes);
      continue;
    }
    float* sum = trained->at(Kind::kGradient, static_cast<size_t>(index));
    if (spec_.accumulate) {
      const auto numbers = static_cast<int>(bytes / sizeof(float));
      workspace_->forward->backend().addBias({reinterpret_cast<const float*>(from), sum, numbers},
                                             1);
    } else {
      memory().copy(sum, from, bytes);
    }
  }
}

// ---- room
// ------------------------------------------------------------------------------------------------------

void TrainStep::prepareWorkspace(const WorkPlace& place) {
  const ModelConfig& config = place.model->config;
  int rows = 0;
  for (const TrainPrompt& prompt : spec_.prompts) rows += spec_.rowsOf(prompt, config.hidden);
  for (size_t begin = 0; begin < spec_.items.size();) {
    const size_t end = groupEnd(config, begin);
    int group = 0;
    for (; begin < end; ++begin) group += rowsOf(spec_.items[begin]);
    rows = std::max(rows, group);
  }
  TrainWorkspace& w = *workspace_;
  if (w.forward == nullptr || w.forward->options().maxRows < rows) {
    w.layers.reset();
    w.forward.reset();
    ForwardOptions options = place.serving.options();
    options.maxRows = rows;
    options.logitRows = logitRowsOf(config);
    w.forward = place.serving.another(options);
    w.layers = std::make_unique<LayerBackward>(place.model, w.forward->backend());
    if (!w.room) w.room.emplace(memory());
  }
  w.forward->growPositions(positionLimit(spec_, config));
  w.room->dx.ensure(matrixBytes(rows, config.hidden), kGradients);
}

// Items from `begin` that go side by side: as many as leave all of their activations within the
// budget, and at least one.
size_t TrainStep::groupEnd(const ModelConfig& config, size_t begin) const {
  const size_t perRow =
      inputBytes(config) + activationBytes(config) * static_cast<size_t>(config.layers);
  size_t bytes = 0;
  size_t end = begin;
  while (end < spec_.items.size()) {
    bytes += static_cast<size_t>(rowsOf(spec_.items[end])) * perRow;
    if (end > begin && spec_.gradient && bytes > spec_.activationBytes) break;
    ++end;
  }
  return end;
}

void TrainStep::setTape(const ModelConfig& config, Pass& pass, Tape& tape) const {
  if (!spec_.gradient) return;
  const auto rows = static_cast<size_t>(std::max(pass.batch.rows, 1));
  const size_t inputs = rows * inputBytes(config);
  const size_t left = spec_.activationBytes > inputs ? spec_.activationBytes - inputs : 0;
  const size_t layers = left / (rows * activationBytes(config));
  tape.keptLayers = static_cast<int>(std::min(layers, static_cast<size_t>(config.layers)));
  pass.tape = &tape;
}

// ---- passes
// ----------------------------------------------------------------------------------------------------

void TrainStep::addRun(const WorkPlace& place, Pass& pass, SegmentSpec spec, Run run) const {
  pass.reads.push_back(std::make_unique<std::vector<SegmentRead>>(spec.reads));
  auto segment = std::make_shared<Segment>(place.pool, std::move(spec), place.scope);
  segment->reserve(run.count);
  run.segment = segment.get();
  run.reads = pass.reads.back().get();
  pass.segments.push_back(std::move(segment));
  pass.batch.add(run);
}

TrainStep::Pass TrainStep::makePrompts(const WorkPlace& place) const {
  Pass pass;
  for (const TrainPrompt& prompt : spec_.prompts) {
    Run run{};
    run.count = spec_.rowsOf(prompt, place.model->config.hidden);
    if (prompt.trained < 0) {
      run.embeddings = prompt.rows.data();
    } else {
      run.stored =
          spec_.trained->at(TrainedPrompts::Kind::kValues, static_cast<size_t>(prompt.trained));
    }
    addRun(place, pass, {SegmentKind::kPrompt, prompt.start, {}}, run);
  }
  setTape(place.model->config, pass, workspace_->room->promptTape);
  return pass;
}

TrainStep::Pass TrainStep::makeGroup(const WorkPlace& place, const Pass& prompts, size_t begin,
                                     size_t end) const {
  Pass pass;
  for (size_t index = begin; index < end; ++index) {
    const TrainItem& item = spec_.items[index];
    const float scale = item.scale / static_cast<float>(std::max(labelsOf(item), 1));
    const size_t first = pass.segments.size();
    for (const TrainSegment& segment : item.segments) {
      std::vector<SegmentRead> reads;
      for (const TrainRead& read : segment.reads) {
        const auto& from = read.segment != nullptr ? read.segment
                           : read.prompt >= 0
                               ? prompts.segments[static_cast<size_t>(read.prompt)]
                               : pass.segments[first + static_cast<size_t>(read.live)];
        reads.push_back({from, read.rows, read.shift});
      }
      for (size_t row = 0; row < segment.labels.size(); ++row) {
        if (segment.labels[row] < 0) continue;
        pass.batch.logitRows.push_back(pass.batch.rows + static_cast<int>(row));
        pass.labels.push_back({index, segment.labels[row], scale});
      }
      Run run{};
      run.count = static_cast<int>(segment.tokens.size());
      run.tokens = segment.tokens.data();
      addRun(place, pass, {segment.kind, segment.start, std::move(reads)}, run);
    }
  }
  setTape(place.model->config, pass, workspace_->room->itemTape);
  return pass;
}

bool TrainStep::forward(const WorkPlace& place, const Pass& pass) {
  result_.rowsComputed += pass.batch.rows;
  return workspace_->forward->run(pass.batch, pass.tape, place.goOn);
}

// Losses of the labelled rows, and from them dx of the last layer's output.
bool TrainStep::score(const WorkPlace& place, const Pass& pass) {
  const trace::Scope scope("score", "labels", static_cast<int64_t>(pass.labels.size()));
  const ModelConfig& config = place.model->config;
  Forward& forward = *workspace_->forward;
  TrainWorkspace::Room& room = *workspace_->room;
  const auto total = static_cast<int>(pass.labels.size());
  room.dfinal.ensure(matrixBytes(total, config.hidden), kGradients);
  const int most = logitRowsOf(config);
  for (int first = 0; first < total; first += most) {
    if (!place.goOn()) return false;
    const int count = std::min(most, total - first);
    int32_t labels[kMostLogitRows];
    float scales[kMostLogitRows], losses[kMostLogitRows];
    for (int i = 0; i < count; ++i) {
      labels[i] = pass.labels[static_cast<size_t>(first + i)].token;
      scales[i] = pass.labels[static_cast<size_t>(first + i)].scale;
    }
    forward.score(
        first, count,
        {labels, spec_.gradient ? scales : nullptr, losses,
         reinterpret_cast<float*>(room.dfinal.data() + matrixBytes(first, config.hidden))});
    for (int i = 0; i < count; ++i)
      result_.losses[pass.labels[static_cast<size_t>(first + i)].item] += double(losses[i]);
  }
  if (!spec_.gradient) return true;
  float* dfinal = room.dfinal.as<float>();
  Backend& backend = forward.backend();
  backend.rmsnormBackward({pass.tape->output.as<float>(), backend.weights().outputNorm, dfinal,
                           dfinal, config.hidden, config.normEpsilon},
                          total);
  memory().fill(room.dx.data(), 0, matrixBytes(pass.batch.rows, config.hidden));
  for (int i = 0, next; i < total; i = next) {
    const auto rowOf = [&](int label) { return pass.batch.logitRows[static_cast<size_t>(label)]; };
    for (next = i + 1; next < total && rowOf(next) == rowOf(next - 1) + 1;) ++next;
    memory().copy(room.dx.data() + matrixBytes(rowOf(i), config.hidden),
                  room.dfinal.data() + matrixBytes(i, config.hidden),
                  matrixBytes(next - i, config.hidden));
  }
  return true;
}

// From dx of the last layer's output to that of the first one's input, if anybody wants it.
bool TrainStep::backward(const WorkPlace& place, const Pass& pass, std::vector<KvGradient>& outside,
                         const std::vector<KvGradient>& incoming, bool toInput) {
  const trace::Scope scope("backward", "batch rows", pass.batch.rows);
  TrainWorkspace& w = *workspace_;
  w.forward->prepare(pass.batch);
  w.layers->plan(pass.batch, outside, incoming);
  const int layers = place.model->config.layers;
  const int firstKept = layers - pass.tape->keptLayers;
  for (int layer = layers - 1; layer >= 0; --layer) {
    if (!place.goOn()) return false;
    const float* input = pass.tape->layerInput[static_cast<size_t>(layer)].as<float>();
    const LayerActivations* kept = &w.room->recomputed;
    if (layer >= firstKept) {
      kept = &pass.tape->kept[static_cast<size_t>(layer - firstKept)];
    } else {
      w.forward->recompute(layer, input, w.room->recomputed);
    }
    // Tokens have no gradient: below the first layer only prompts want theirs.
    w.layers->run(layer, input, *kept, w.room->dx.as<float>(), layer > 0 || toInput);
  }
  return true;
}

}  // namespace baton
