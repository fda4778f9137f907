// SPDX-License-Identifier: Apache-2.0
// The shapes of the GPU benchmark, read from bench/gpu/shapes.json, which the peers in Python read,
// too. `tiny` ones are for runs whose times mean nothing: every path, few rows.
#pragma once

#include <string>
#include <vector>

#include "base/dtype.h"

namespace baton::bench {

// Stages that each read all of the trunk, a prompt of their own and themselves causally. The rows
// of `own` are new, all others are cached.
struct ViewShape {
  std::string name;
  int heads, kvHeads, dim;
  KvType kv;
  int trunk, stages, prompt, own;

  int rows() const { return stages * own; }
  int cached() const { return trunk + stages * prompt; }
  double pairs() const {  // of a new row and a row that it reads
    return stages * (double(own) * (trunk + prompt) + double(own) * (own + 1) / 2);
  }
};

struct GpuShapes {
  size_t copyBytes;
  int gemm;
  int columns, depth;  // of a linear
  std::vector<int> linearRows;
  int heads, kvHeads, dim;  // of an append
  std::vector<int> appendRows;
  int normColumns;
  std::vector<int> normRows;
  int vocab;
  std::vector<int> sampleRows;
  std::vector<ViewShape> attention, backward;
  std::vector<ViewShape> sharing;  // rows that decode behind one trunk, of which both are varied
};

// Throws std::runtime_error naming what is missing.
GpuShapes readShapes(const std::string& file);

GpuShapes tinyShapes(GpuShapes shapes);

}  // namespace baton::bench
