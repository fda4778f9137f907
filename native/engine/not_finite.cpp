// SPDX-License-Identifier: Apache-2.0
// What becomes of a job whose rows are no numbers any more (number_watch.h).
#include <string>
#include <utility>

#include "engine/engine.h"

namespace baton {

// Rows of other jobs do not read these.
void Engine::failNotFinite() {
  for (const NotFinite& one : numbers_->take()) {
    size_t index = 0;  // of its run; planned_ has the same order
    while (one.row >= batch_.runs[index].batchRow + batch_.runs[index].count) ++index;
    const Run& run = batch_.runs[index];
    const int row = run.firstRow + one.row - run.batchRow;
    const std::string where = one.layer < 0 ? "" : " of layer " + std::to_string(one.layer);
    std::vector<Error::Fact> facts = {{"op", one.op}, {"row", static_cast<double>(row)}};
    if (one.layer >= 0) facts.emplace_back("layer", static_cast<double>(one.layer));
    fail(*planned_[index].job,
         Error(code::kNotFinite,
               "What \"" + one.op + "\"" + where + " computed for row " + std::to_string(row) +
                   " is no finite number. Check the model's weights and the prompts and soft rows "
                   "that the row reads; activations: \"float32\" and kvType: \"f32\" tell whether "
                   "a format's range is too small.",
               std::move(facts)));
  }
}

}  // namespace baton
