// SPDX-License-Identifier: Apache-2.0
// Whether code of this library runs on a device at all: each thread folds the numbers of a row into
// one, and the host does the same.
#pragma once

#include "cuda/api.h"

namespace baton::cuda {

inline constexpr int kProbeThreads = 128;
inline constexpr int kProbeBlocks = 4;
inline constexpr int kProbeRows = kProbeThreads * kProbeBlocks;
inline constexpr int kProbeRounds = 16;

BatonCudaStatus deviceProbe(int32_t device);

}  // namespace baton::cuda
