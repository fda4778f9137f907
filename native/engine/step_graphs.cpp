// SPDX-License-Identifier: Apache-2.0
#include "engine/step_graphs.h"

#include <algorithm>
#include <bit>

namespace baton {

size_t listRoom(size_t n) {
  if (n <= 4) return n;
  const size_t step = std::bit_floor(n - 1) / 4;
  return (n + step - 1) / step * step;
}

StepGraphs::Step& StepGraphs::of(const StepShape& shape) {
  const auto found = std::find_if(steps_.begin(), steps_.end(),
                                  [&](const Step& step) { return step.shape == shape; });
  if (found != steps_.end()) {
    steps_.splice(steps_.begin(), steps_, found);
  } else {
    if (steps_.size() == kMost) steps_.pop_back();
    steps_.emplace_front();
    steps_.front().shape = shape;
  }
  return steps_.front();
}

}  // namespace baton
