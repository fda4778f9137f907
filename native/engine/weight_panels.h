// SPDX-License-Identifier: Apache-2.0
// The quantised weights of a model in the form that int8 kernels read (kernels/linear/panels.h),
// made once. The pages of the file that they were made of leave the memory of the process; who
// reads the rows of the file still (training, the scalar kernels) has them come back.
#pragma once

#include <cstddef>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/buffer.h"
#include "base/threads.h"
#include "engine/load_watch.h"
#include "kernels/ops.h"
#include "model/model.h"

namespace baton {

class WeightPanels {
 public:
  // `watch`, or null, is told of every piece of about `pieceBytes`.
  // Errors: OUT_OF_MEMORY, ABORTED.
  WeightPanels(const Model& model, ThreadPool& threads, LoadWatch* watch,
               size_t pieceBytes = size_t{16} << 20);

  // Null for a weight that was not packed.
  const std::byte* of(const Weight& weight) const;

 private:
  Buffer memory_;
  std::unordered_map<const void*, size_t> offsets_;  // in memory_, by Weight::data
};

// Null where `ops` read the rows of the file.
std::shared_ptr<const WeightPanels> packWeights(const Model& model, const Ops& ops,
                                                ThreadPool& threads, LoadWatch* watch);

// Bytes of a weight's rows in the file.
size_t rowsBytes(const Weight& weight);

// Some of a weight's panels, one behind the other.
struct PanelPiece {
  int first, count;
  size_t at, bytes;  // where they begin among all panels of the weight, and how long they are
  size_t rowsBytes;  // of the rows that they are made of
};

// All of them in order, in pieces of at most `bytes` or of one panel.
std::vector<PanelPiece> panelPieces(const Weight& weight, size_t bytes);

void packPiece(const Weight& weight, const PanelPiece& piece, ThreadPool& threads, std::byte* to);

}  // namespace baton
