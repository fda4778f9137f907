// SPDX-License-Identifier: Apache-2.0
// The CUDA library's table (cuda/api.h) over the emulated kernels, on one device whose memory is
// the process's own, but nobody's business: while neither a kernel nor a copy runs, it cannot be
// read or written, so that host code that follows a device's pointer dies on the spot. Fresh memory
// is full of NaN. A copy from or to pinned memory happens as late as it may: when its stream is
// waited for or is given something else, so that who does not wait for it finds other bytes.
#pragma once

#include <functional>

#include "cuda/api.h"

namespace baton::emulation {

struct EmulatedDevice {
  uint64_t totalBytes = uint64_t{1} << 28;  // as much as there is at most
  uint64_t usedBytes = 0;
  uint64_t launches = 0;  // groups of launches that were asked for their status
  uint64_t uploads = 0;
  uint64_t pinnedBytes = uint64_t{1} << 26;  // that the process may have pinned, still
  uint64_t underway = 0;                     // copies from and to pinned memory that are to happen
  uint64_t mostUnderway = 0;
  uint64_t freedUnderway = 0;  // of them, those whose pinned memory was freed before
  uint64_t bytesToHost = 0;
  // From the moment on at which so many groups of launches were made, the device is lost; 0: never.
  uint64_t lostAfter = 0;
  uint64_t lostAfterUploads = 0;  // the same of uploads
  bool lost = false;
  uint64_t graphs = 0;   // that were written down
  uint64_t replays = 0;  // and issued
  bool refusesGraphs = false;
  bool refusesLaunches = false;        // in a graph that is being written down
  std::function<void()> inGraph = {};  // called before each piece of work of one that runs
};

// A fresh one, for as long as this lives; one at a time. Everything on it is gone before it ends.
class EmulatedCuda {
 public:
  EmulatedCuda();
  ~EmulatedCuda();
  EmulatedCuda(const EmulatedCuda&) = delete;
  EmulatedCuda& operator=(const EmulatedCuda&) = delete;

  const BatonCudaApi& api() const;
  EmulatedDevice& device();  // while nothing else uses it
};

}  // namespace baton::emulation
