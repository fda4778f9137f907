// SPDX-License-Identifier: Apache-2.0
// A model's weights in the memory of a device, by role: vectors in float32, matrices as int8
// kernels read them (linear/panels.h) where those do, else as the file has them. The embedding and
// the head are rows of the file: the one is gathered from, the other multiplied exactly.
// What has been copied leaves the memory of this process, as far as it was the file's pages.
#pragma once

#include <atomic>
#include <unordered_map>
#include <vector>

#include "base/threads.h"
#include "device/memory.h"
#include "model/model.h"

namespace baton {

class DeviceWeights {
 public:
  // `int8`: activations meet integer weights as int8. `cancel` is polled between weights: nonzero
  // gives Error(ABORTED). Error(OUT_OF_MEMORY) with the bytes of all weights, before any is copied.
  DeviceWeights(const Model& model, bool int8, Memory& memory, ThreadPool& threads,
                const std::atomic<int32_t>* cancel);

  const ModelWeights& weights() const { return weights_; }
  size_t bytes() const { return bytes_; }

  // Rows of the file, too, of what was packed: backward multiplies exact weights. Once; does
  // nothing after. Error(OUT_OF_MEMORY).
  void addRows(const Model& model);
  // Of a weight of weights(), once they were added.
  const void* rowsOf(const Weight& weight) const;

 private:
  struct Vector {
    const float** place;
    int count;
  };
  struct Matrix {
    Weight* weight;
    bool packed;
  };

  void collect(const ModelConfig& config, bool int8);
  size_t place(size_t bytes);
  size_t sizeOf(const Matrix& matrix) const;
  void copy(const Model& model, const Matrix& matrix, std::byte* to, ThreadPool& threads);

  Memory& memory_;
  ModelWeights weights_;
  std::vector<Vector> vectors_;
  std::vector<Matrix> matrices_;
  size_t bytes_ = 0;
  DeviceBuffer storage_;
  DeviceBuffer rows_;                                    // of what was packed
  std::unordered_map<const std::byte*, size_t> rowsAt_;  // in it, by panels
  std::vector<std::byte> staging_;  // panels of one weight, while they are made
};

}  // namespace baton
