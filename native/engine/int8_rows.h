// SPDX-License-Identifier: Apache-2.0
// Activations as int8 arithmetic reads them.
#pragma once

#include "device/memory.h"
#include "kernels/ops.h"

namespace baton {

struct Int8Rows {
  DeviceBuffer q;  // [R, K] int8
  DeviceBuffer d;  // [R, K / 32]
  DeviceBuffer s;  // [R, K / 32]

  explicit Int8Rows(Memory& memory) : q(memory), d(memory), s(memory) {}

  void ensure(size_t values) {
    q.ensure(values, "activations");
    d.ensure(values / kGroup * sizeof(float), "activations");
    s.ensure(values / kGroup * sizeof(float), "activations");
  }

  // Where rows x [.., K] go, from row `at` on.
  QuantizeArgs from(const float* x, int K, int at = 0) {
    const auto values = static_cast<size_t>(at) * static_cast<size_t>(K);
    const size_t groups = values / kGroup;
    return {x, q.as<int8_t>() + values, d.as<float>() + groups, s.as<float>() + groups, K};
  }
};

}  // namespace baton
