// SPDX-License-Identifier: Apache-2.0
// NVIDIA's driver, opened when somebody asks and never linked: a machine without one loads the
// addon like any other. It is asked only what is needed to say whether the CUDA library
// (cuda_library.h) can run here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace baton {

// Stable across releases, as those of base/error.h are.
namespace code {
inline constexpr const char* kDeviceUnavailable = "DEVICE_UNAVAILABLE";
}  // namespace code

inline constexpr const char* kCudaDriver = "libcuda.so.1";

struct CudaDevice {
  std::string name;
  int capability;        // 90 for 9.0
  uint64_t memoryBytes;  // of the whole device
  std::optional<Error> problem;
};

struct CudaDriver {
  int version = 0;  // of CUDA, as the driver counts: 13000 for 13.0; 0: unknown
  std::vector<CudaDevice> devices;
  std::optional<Error> problem;  // why there are no devices
};

// Errors are DEVICE_UNAVAILABLE with a fact "reason": no-driver, driver-failed, no-device. What was
// opened stays open.
CudaDriver openCudaDriver(const std::string& file = kCudaDriver);

// DEVICE_UNAVAILABLE, with the facts device and reason before the others.
Error cudaUnavailable(const char* reason, std::string message, std::vector<Error::Fact> facts);

// "13.0" of 13000.
std::string cudaVersionText(int version);

// "9.0" of 90.
std::string capabilityText(int capability);

}  // namespace baton
