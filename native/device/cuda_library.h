// SPDX-License-Identifier: Apache-2.0
// The CUDA library (cuda/api.h), found and loaded at run time. In this order: the driver, because
// without one nothing else matters; the library that BATON_CUDA_LIBRARY names, else the one beside
// this code; the version of its table; the driver's version; each device's compute capability; a
// kernel on it. Whatever is in the way is an error of its own, and nothing is chosen in silence.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cuda/api.h"
#include "device/cuda_driver.h"

namespace baton {

inline constexpr const char* kCudaLibrary = "libbaton_cuda.so";

struct CudaPlaces {
  std::string driver = kCudaDriver;
  std::vector<std::string> libraries;  // the first that exists is taken
};

// As the user's environment and this code's own place have them.
CudaPlaces cudaPlaces();

// The folder of the file that this code was loaded from, the addon or a program, with a slash.
std::string folderOfThisCode();

struct CudaReport {
  int driverVersion = 0;            // 13000 for 13.0; 0: none, or unknown
  std::vector<CudaDevice> devices;  // as the driver lists them; `problem`: why one cannot be used
  std::string library;              // the file that was loaded; empty: none
  const BatonCudaApi* api = nullptr;
  std::optional<Error> problem;  // the first thing that is in the way of every device
};

// Errors are DEVICE_UNAVAILABLE with a fact "reason": those of cuda_driver.h, library-absent,
// library-broken, library-version, driver-too-old; of a device device-too-old, device-failed.
// `api` is null where `problem` is set. What was loaded stays loaded.
CudaReport findCuda(const CudaPlaces& places);

// Throws what is in the way of this device; reason device-absent where there is none of this index.
void requireCudaDevice(const CudaReport& report, int index);

}  // namespace baton
