// SPDX-License-Identifier: Apache-2.0
// The driver's interface is C with stable names and numbers; those used here are declared here,
// because its header comes with CUDA's compiler, which building the addon does not need.
#include "device/cuda_driver.h"

#include <dlfcn.h>

#include <cstdlib>

namespace baton {
namespace {

using Result = int;
constexpr Result kSuccess = 0;
constexpr Result kNoDevice = 100;
constexpr int kCapabilityMajor = 75;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
constexpr int kCapabilityMinor = 76;

struct Functions {
  Result (*init)(unsigned flags);
  Result (*driverVersion)(int* version);
  Result (*deviceCount)(int* count);
  Result (*device)(int* device, int ordinal);
  Result (*name)(char* name, int length, int device);
  Result (*attribute)(int* value, int attribute, int device);
  Result (*memory)(size_t* bytes, int device);
  Result (*errorText)(Result error, const char** text);
};

template <class Function>
bool find(void* driver, const char* symbol, Function& function) {
  function = reinterpret_cast<Function>(dlsym(driver, symbol));
  return function != nullptr;
}

// The name of the first function that the driver lacks, or null.
const char* findAll(void* driver, Functions& f) {
  if (!find(driver, "cuInit", f.init)) return "cuInit";
  if (!find(driver, "cuDriverGetVersion", f.driverVersion)) return "cuDriverGetVersion";
  if (!find(driver, "cuDeviceGetCount", f.deviceCount)) return "cuDeviceGetCount";
  if (!find(driver, "cuDeviceGet", f.device)) return "cuDeviceGet";
  if (!find(driver, "cuDeviceGetName", f.name)) return "cuDeviceGetName";
  if (!find(driver, "cuDeviceGetAttribute", f.attribute)) return "cuDeviceGetAttribute";
  if (!find(driver, "cuDeviceTotalMem_v2", f.memory)) return "cuDeviceTotalMem_v2";
  if (!find(driver, "cuGetErrorString", f.errorText)) return "cuGetErrorString";
  return nullptr;
}

Error noDriver(const std::string& file, const std::string& why) {
  return cudaUnavailable("no-driver",
                         "No NVIDIA driver is here: " + file + " cannot be opened (" + why +
                             "). Install NVIDIA's driver (in a container: run it with NVIDIA's "
                             "container runtime), or use the device \"cpu\".",
                         {{"file", file}, {"why", why}});
}

Error driverFailed(const std::string& file, const std::string& call, const std::string& why) {
  return cudaUnavailable("driver-failed",
                         "NVIDIA's driver (" + file + ") failed in " + call + ": " + why +
                             ". See whether `nvidia-smi` works; after an update of the driver the "
                             "machine must be restarted.",
                         {{"file", file}, {"call", call}, {"why", why}});
}

Error noDevice(int version) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  std::string message = "NVIDIA's driver (CUDA " + cudaVersionText(version) + ") shows no device";
  std::vector<Error::Fact> facts{{"driver", cudaVersionText(version)}};
  if (visible != nullptr) {
    message += std::string(" with CUDA_VISIBLE_DEVICES=\"") + visible + "\"";
    facts.push_back({"CUDA_VISIBLE_DEVICES", std::string(visible)});
  }
  return cudaUnavailable("no-device",
                         message + ". See what `nvidia-smi -L` lists, or use the device \"cpu\".",
                         std::move(facts));
}

std::string textOf(const Functions& f, Result error) {
  const char* text = nullptr;
  const bool known = f.errorText(error, &text) == kSuccess && text != nullptr;
  return (known ? std::string(text) : "unknown error") + " (" + std::to_string(error) + ")";
}

// The first call that failed, or null; `device` is whole when none did.
const char* readDevice(const Functions& f, int ordinal, CudaDevice& device, Result& error) {
  int handle = 0, major = 0, minor = 0;
  size_t bytes = 0;
  char name[256] = "";
  if ((error = f.device(&handle, ordinal)) != kSuccess) return "cuDeviceGet";
  if ((error = f.name(name, sizeof name, handle)) != kSuccess) return "cuDeviceGetName";
  error = f.attribute(&major, kCapabilityMajor, handle);
  if (error == kSuccess) error = f.attribute(&minor, kCapabilityMinor, handle);
  if (error != kSuccess) return "cuDeviceGetAttribute";
  if ((error = f.memory(&bytes, handle)) != kSuccess) return "cuDeviceTotalMem_v2";
  device.name = name;
  device.capability = major * 10 + minor;
  device.memoryBytes = bytes;
  return nullptr;
}

}  // namespace

Error cudaUnavailable(const char* reason, std::string message, std::vector<Error::Fact> facts) {
  facts.insert(facts.begin(), {{"device", std::string("cuda")}, {"reason", std::string(reason)}});
  return Error(code::kDeviceUnavailable, std::move(message), std::move(facts));
}

std::string cudaVersionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string capabilityText(int capability) {
  return std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

CudaDriver openCudaDriver(const std::string& file) {
  CudaDriver driver;
  void* opened = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (opened == nullptr) {
    const char* why = dlerror();
    driver.problem = noDriver(file, why == nullptr ? "no reason given" : why);
    return driver;
  }
  Functions f{};
  if (const char* missing = findAll(opened, f)) {
    driver.problem = driverFailed(file, missing, "it has no such function");
    return driver;
  }
  // Answers before and without cuInit.
  if (f.driverVersion(&driver.version) != kSuccess) driver.version = 0;
  Result error = f.init(0);
  int count = 0;
  if (error == kSuccess) error = f.deviceCount(&count);
  if (error != kSuccess && error != kNoDevice) {
    driver.problem = driverFailed(file, "cuInit", textOf(f, error));
    return driver;
  }
  for (int i = 0; i < count && !driver.problem; ++i) {
    CudaDevice device{};
    if (const char* call = readDevice(f, i, device, error)) {
      driver.problem = driverFailed(file, call, textOf(f, error));
    }
    driver.devices.push_back(std::move(device));
  }
  if (driver.problem) driver.devices.clear();
  if (!driver.problem && count == 0) driver.problem = noDevice(driver.version);
  return driver;
}

}  // namespace baton
