// SPDX-License-Identifier: Apache-2.0
// Time on a CUDA device: what is recorded becomes one graph, so that the host's work for a launch
// is no part of it, and events stand before and behind it. Where a graph cannot be made of it, the
// calls are issued one by one between the events. The stream is one of the library's, so that
// products go where an engine's go.
#pragma once

#include <memory>

#include "gpu/kernels/bench.h"

namespace baton::bench {

// Throws std::runtime_error with CUDA's words.
std::unique_ptr<Timer> cudaTimer(const BatonCudaApi& api, int device);

}  // namespace baton::bench
