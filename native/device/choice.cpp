// SPDX-License-Identifier: Apache-2.0
#include "device/choice.h"

#include <cstdlib>

namespace baton {
namespace {

constexpr const char* kCuda = "cuda";
constexpr size_t kMostDigits = 4;

// No GPU has run it yet: until one has, and was measured, nobody gets it who did not ask.
constexpr const char* kUnmeasured =
    "\"auto\" takes the CPU, because models on CUDA devices have not been measured yet; device: "
    "\"cuda\" asks for one.";

}  // namespace

int cudaIndexOf(const std::string& device) {
  if (device == "auto" || device == "cpu") return -1;
  if (device == kCuda) return 0;
  const std::string start = std::string(kCuda) + ":";
  const std::string digits = device.rfind(start, 0) == 0 ? device.substr(start.size()) : "";
  if (!digits.empty() && digits.size() <= kMostDigits &&
      digits.find_first_not_of("0123456789") == std::string::npos) {
    return std::atoi(digits.c_str());
  }
  throw Error(code::kOptionInvalid,
              "device is \"" + device +
                  "\"; it must be \"auto\", \"cpu\", \"cuda\", or one like \"cuda:1\"",
              {{"option", "device"}, {"value", device}});
}

DeviceChoice chooseDevice(const std::string& device, const CudaPlaces& places) {
  const int index = cudaIndexOf(device);
  const std::string asked = "device: \"" + device + "\" asks for it.";
  if (index < 0) return {nullptr, device == "cpu" ? asked : kUnmeasured};
  const CudaReport report = findCuda(places);
  requireCudaDevice(report, index);
  return {std::make_shared<CudaStream>(*report.api, index), asked};
}

std::string whyCpu(const CudaReport& report) {
  if (report.problem) return report.problem->what();
  const CudaDevice* wrong = nullptr;
  for (const CudaDevice& device : report.devices) {
    if (!device.problem) return kUnmeasured;
    if (wrong == nullptr) wrong = &device;
  }
  return wrong == nullptr ? kUnmeasured : wrong->problem->what();
}

}  // namespace baton
