// SPDX-License-Identifier: Apache-2.0
// The rows of one forward. A row is a row: prefill, chunked prefill, decode and many chains at once
// differ only in the rows that stand here. Consecutive rows of one segment form a run and share a
// view.
#pragma once

#include <cstdint>
#include <vector>

#include "cache/segment.h"

namespace baton {

struct Run {
  const Segment* segment;  // where K and V go; room for firstRow + count rows is reserved
  const std::vector<SegmentRead>* reads;  // its view, in view order, before itself causally
  int firstRow;                           // index in the segment of the run's first row
  int count;                              // rows
  int batchRow;                           // index in the batch of the run's first row
  const int32_t* tokens;                  // [count], or null; read by Batch::add()
  const float* embeddings;                // [count, M] soft rows, or null
  const float* stored = nullptr;          // or these, in memory of the backend
};

struct Batch {
  std::vector<Run> runs;
  int rows = 0;                 // R
  std::vector<int32_t> tokens;  // [R], -1 for soft rows
  std::vector<int> logitRows;   // batch rows whose logits are wanted, ascending

  void clear() {
    runs.clear();
    tokens.clear();
    logitRows.clear();
    rows = 0;
  }
  void add(Run run) {
    run.batchRow = rows;
    rows += run.count;
    for (int row = 0; row < run.count; ++row) {
      tokens.push_back(run.tokens != nullptr ? run.tokens[row] : -1);
    }
    runs.push_back(run);
  }
};

}  // namespace baton
