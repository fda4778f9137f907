// SPDX-License-Identifier: Apache-2.0
// In place of test/native/emulation/cuda.h where tests run on a real device: of the emulation, what
// tests say to it. A device has orders and banks of its own.
#pragma once

namespace baton::emulation {

enum class Order { kForwards, kBackwards };
inline void setOrder(Order) {}
inline int takeBankConflicts() {
  return 0;
}

}  // namespace baton::emulation
