// SPDX-License-Identifier: Apache-2.0
// The launches of a forward, written down once for every shape of a small batch and issued at once
// whenever a batch of that shape comes (cuda.md: one CUDA graph per batch bucket). Where a token is
// decoded, hundreds of launches take the host longer than the device needs for them.
//
// Two batches have one shape where all launches have the same arguments. Lists are on the device at
// places that hang on the shape alone: each has room for a few more entries than it has (listRoom),
// so that a shape lasts while contexts grow. Items beyond those that there are have no rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <vector>

#include "device/cuda_stream.h"

namespace baton {

// Most rows of a batch that is worth it: one of more keeps the device longer than its launches keep
// the host. To be measured on a GPU.
inline constexpr int kMostGraphRows = 64;

// At least n, in four steps to the double of it.
size_t listRoom(size_t n);

struct StepShape {
  std::vector<int64_t> sizes;
  std::vector<const void*> places;  // of what may move between steps
  bool operator==(const StepShape&) const = default;
};

class StepGraphs {
 public:
  static constexpr size_t kMost = 32;

  struct Step {
    StepShape shape;
    bool seen = false;  // a batch of it has been issued
    CudaStream::Graph graph;
    bool refused = false;  // there is no graph of it
  };

  // That of the shape. The one that was not asked for the longest makes room for a new one.
  Step& of(const StepShape& shape);

 private:
  std::list<Step> steps_;  // the last that was asked for first
};

}  // namespace baton
