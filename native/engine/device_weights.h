// SPDX-License-Identifier: Apache-2.0
// A model's weights in the memory of a device, by role: vectors in float32, matrices as int8
// kernels read them (linear/panels.h) where those do, else as the file has them. The embedding and
// the head are rows of the file: the one is gathered from, the other multiplied exactly.
// They go there in pieces: while one is on its way the next is packed, or copied out of the file.
// What has been copied leaves the memory of this process, as far as it was the file's pages.
#pragma once

#include <unordered_map>
#include <vector>

#include "base/threads.h"
#include "device/memory.h"
#include "engine/load_watch.h"
#include "model/model.h"

namespace baton {

class DeviceWeights {
 public:
  // `int8`: activations meet integer weights as int8. `watch`, or null, is told of every piece of
  // about `pieceBytes`. `memory` and `threads` outlive it. Errors: ABORTED; OUT_OF_MEMORY with the
  // bytes of all weights, before any is copied.
  DeviceWeights(const Model& model, bool int8, Memory& memory, ThreadPool& threads,
                LoadWatch* watch, size_t pieceBytes = size_t{16} << 20);

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
  std::unique_ptr<Uploader> uploader() const;
  void sendMatrix(Uploader& uploader, const Matrix& matrix, std::byte* to, LoadWatch& watch);
  void sendRows(Uploader& uploader, const Weight& weight, std::byte* to, LoadWatch& watch);

  Memory& memory_;
  ThreadPool& threads_;
  const size_t pieceBytes_;
  ModelWeights weights_;
  std::vector<Vector> vectors_;
  std::vector<Matrix> matrices_;
  size_t bytes_ = 0;
  DeviceBuffer storage_;
  DeviceBuffer rows_;                                    // of what was packed
  std::unordered_map<const std::byte*, size_t> rowsAt_;  // in it, by panels
};

}  // namespace baton
