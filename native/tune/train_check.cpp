// SPDX-License-Identifier: Apache-2.0
// What a training step must satisfy before the engine thread sees it. TypeScript has explained
// friendlier errors before; these protect.
#include <cstdlib>
#include <string>

#include "tune/train_step.h"

namespace baton {
namespace {

Error invalid(std::string message) {
  return Error(code::kOptionInvalid, std::move(message));
}

void checkToken(int32_t token, int vocab, const char* what) {
  if (token >= 0 && token < vocab) return;
  throw invalid(std::string(what) + " " + std::to_string(token) + " is outside the vocabulary of " +
                std::to_string(vocab));
}

// The rows that a read may name; its frozen segment must be whole and of this pool.
int rowsBehind(const TrainRead& read, const TrainItem& item, size_t reader,
               const TrainStepSpec& spec, const Model& model, const Pool& pool) {
  const int named =
      (read.segment != nullptr ? 1 : 0) + (read.prompt >= 0 ? 1 : 0) + (read.live >= 0 ? 1 : 0);
  if (named != 1) throw invalid("a read of a training step names one of segment, prompt and live");
  if (read.segment != nullptr) {
    if (read.segment->pool().get() != &pool)
      throw invalid("a training step can only read segments of its own model");
    if (read.segment->appending())
      throw invalid("a training step reads a segment that a job still writes");
    return read.segment->rows();
  }
  if (read.prompt >= 0) {
    if (static_cast<size_t>(read.prompt) >= spec.prompts.size())
      throw invalid("a read names prompt " + std::to_string(read.prompt) + " of " +
                    std::to_string(spec.prompts.size()));
    return spec.rowsOf(spec.prompts[static_cast<size_t>(read.prompt)], model.config.hidden);
  }
  if (static_cast<size_t>(read.live) >= reader)
    throw invalid("live segment " + std::to_string(reader) + " reads live segment " +
                  std::to_string(read.live) + ", which does not come before it");
  return static_cast<int>(item.segments[static_cast<size_t>(read.live)].tokens.size());
}

void checkPlace(int start, int rows, const ModelConfig& config) {
  if (std::abs(start) <= config.contextLength && start + rows <= config.contextLength) return;
  throw Error(code::kContextLimit,
              "rows of a training step reach position " + std::to_string(start + rows) +
                  " and the model's context has " + std::to_string(config.contextLength),
              {{"needed", double(start) + rows}, {"limit", double(config.contextLength)}});
}

void checkSegment(const TrainStepSpec& spec, const TrainItem& item, size_t index,
                  const Model& model, const Pool& pool) {
  const TrainSegment& segment = item.segments[index];
  const ModelConfig& config = model.config;
  if (segment.tokens.empty()) throw invalid("a live segment of a training step has no rows");
  if (segment.labels.size() != segment.tokens.size())
    throw invalid("a live segment has " + std::to_string(segment.tokens.size()) + " rows and " +
                  std::to_string(segment.labels.size()) + " labels");
  for (const int32_t token : segment.tokens) checkToken(token, config.vocab, "token id");
  for (const int32_t label : segment.labels) {
    if (label != -1) checkToken(label, config.vocab, "label");
  }
  checkPlace(segment.start, static_cast<int>(segment.tokens.size()), config);
  for (const TrainRead& read : segment.reads) {
    const int rows = rowsBehind(read, item, index, spec, model, pool);
    if (read.rows < 0 || read.rows > rows || std::abs(read.shift) > 4 * config.contextLength)
      throw invalid("a live segment reads " + std::to_string(read.rows) + " rows of one that has " +
                    std::to_string(rows) + ", with shift " + std::to_string(read.shift));
  }
}

// Rows of its own or trained ones, each of these once: gradients of two would be one's.
void checkPrompts(const TrainStepSpec& spec, const ModelConfig& config, const Pool& pool) {
  const TrainedPrompts* trained = spec.trained.get();
  if (trained != nullptr) trained->requireOn(pool);
  std::vector<bool> named(trained == nullptr ? 0 : trained->count());
  for (const TrainPrompt& prompt : spec.prompts) {
    size_t numbers = prompt.rows.size();
    if (prompt.trained >= 0) {
      const auto index = static_cast<size_t>(prompt.trained);
      if (index >= named.size() || named[index])
        throw invalid("a prompt of a training step is number " + std::to_string(index) + " of " +
                      std::to_string(named.size()) + " trained ones, or is named twice");
      named[index] = true;
      numbers = trained->numbers(index);
    }
    if (numbers == 0 || numbers % static_cast<size_t>(config.hidden) != 0)
      throw invalid("a prompt holds " + std::to_string(numbers) +
                    " numbers, which are no rows of " + std::to_string(config.hidden));
    checkPlace(prompt.start, spec.rowsOf(prompt, config.hidden), config);
  }
}

}  // namespace

int TrainStepSpec::rowsOf(const TrainPrompt& prompt, int hidden) const {
  const size_t numbers = prompt.trained < 0 ? prompt.rows.size()
                                            : trained->numbers(static_cast<size_t>(prompt.trained));
  return static_cast<int>(numbers / static_cast<size_t>(hidden));
}

void checkTrainStep(const TrainStepSpec& spec, const Model& model, const Pool& pool) {
  if (spec.items.empty()) throw invalid("a training step needs at least one item");
  checkPrompts(spec, model.config, pool);
  for (const TrainItem& item : spec.items) {
    if (item.segments.empty()) throw invalid("an item of a training step has no live segment");
    for (size_t i = 0; i < item.segments.size(); ++i) checkSegment(spec, item, i, model, pool);
  }
}

}  // namespace baton
