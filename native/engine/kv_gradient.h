// SPDX-License-Identifier: Apache-2.0
// Gradients of all layers' K and V of a live segment, in the frame that K was stored in, summed
// over its readers; in the memory that the backward runs in.
#pragma once

#include "cache/segment.h"
#include "device/memory.h"

namespace baton {

struct KvGradient {
  const Segment* segment;
  int rows;
  DeviceBuffer dk;  // [L, rows, G * D]
  DeviceBuffer dv;  // [L, rows, G * D]

  KvGradient(const Segment* of, int count, Memory& memory)
      : segment(of), rows(count), dk(memory), dv(memory) {}
};

}  // namespace baton
