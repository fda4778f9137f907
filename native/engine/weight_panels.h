// SPDX-License-Identifier: Apache-2.0
// The quantised weights of a model in the form that int8 kernels read (kernels/linear/panels.h),
// made once. The pages of the file that they were made of leave the memory of the process; who
// reads the rows of the file still (training, the scalar kernels) has them come back.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <unordered_map>

#include "base/buffer.h"
#include "base/threads.h"
#include "kernels/ops.h"
#include "model/model.h"

namespace baton {

class WeightPanels {
 public:
  // `cancel` is polled between weights: nonzero gives Error(ABORTED). Error(OUT_OF_MEMORY).
  WeightPanels(const Model& model, ThreadPool& threads, const std::atomic<int32_t>* cancel);

  // Null for a weight that was not packed.
  const std::byte* of(const Weight& weight) const;

 private:
  Buffer memory_;
  std::unordered_map<const void*, size_t> offsets_;  // in memory_, by Weight::data
};

// Null where `ops` read the rows of the file.
std::shared_ptr<const WeightPanels> packWeights(const Model& model, const Ops& ops,
                                                ThreadPool& threads,
                                                const std::atomic<int32_t>* cancel);

}  // namespace baton
