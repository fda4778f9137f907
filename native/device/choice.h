// SPDX-License-Identifier: Apache-2.0
// Which device a model is opened on: "cpu", "cuda" (the first), "cuda:1", or "auto", which takes
// the best that is known to be good. What is asked for by name is what it gets, or an error: there
// is no falling back in silence.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "device/cuda_library.h"
#include "device/cuda_stream.h"

namespace baton {

struct DeviceChoice {
  std::shared_ptr<CudaStream> cuda;  // null: the CPU
  std::string why;                   // one sentence for the user
};

// Index of the CUDA device that is asked for, -1 for others. Error(OPTION_INVALID) naming what
// there is.
int cudaIndexOf(const std::string& device);

// Errors: OPTION_INVALID, DEVICE_UNAVAILABLE with its reason, OUT_OF_MEMORY.
DeviceChoice chooseDevice(const std::string& device, const CudaPlaces& places);

// Why "auto" takes the CPU, on a machine with this of CUDA.
std::string whyCpu(const CudaReport& report);

}  // namespace baton
