// SPDX-License-Identifier: Apache-2.0
#include "device/cuda_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>

#include "cuda/kernels.h"

namespace baton {
namespace {

Error libraryAbsent(const std::vector<std::string>& tried) {
  std::string list;
  for (const std::string& file : tried) list += (list.empty() ? "" : "; ") + file;
  return cudaUnavailable(
      "library-absent",
      "The CUDA library of Baton is not here; tried: " + list +
          ". Build it (in a checkout: `npm run cuda:build`), or name its file in "
          "BATON_CUDA_LIBRARY.",
      {{"tried", list}});
}

Error libraryBroken(const std::string& file, const std::string& why) {
  return cudaUnavailable("library-broken",
                         "The CUDA library " + file + " cannot be loaded: " + why +
                             ". Build it again, or install the one of this release.",
                         {{"library", file}, {"why", why}});
}

Error libraryVersion(const std::string& file, uint32_t found) {
  return cudaUnavailable("library-version",
                         "The CUDA library " + file + " has interface version " +
                             std::to_string(found) + ", this addon needs " +
                             std::to_string(BATON_CUDA_ABI) +
                             ": install or build both from the same release.",
                         {{"library", file},
                          {"version", static_cast<double>(found)},
                          {"needed", static_cast<double>(BATON_CUDA_ABI)}});
}

Error libraryLayout(const std::string& file) {
  return cudaUnavailable("library-version",
                         "The CUDA library " + file +
                             " was built from other sources than this addon: the arguments of its "
                             "kernels differ. Install or build both from the same release.",
                         {{"library", file}});
}

Error driverTooOld(int version, int needed) {
  return cudaUnavailable(
      "driver-too-old",
      "NVIDIA's driver is of CUDA " + cudaVersionText(version) + ", the CUDA library needs " +
          cudaVersionText(needed) + " or newer: update the driver, or use the device \"cpu\".",
      {{"driver", cudaVersionText(version)}, {"needed", cudaVersionText(needed)}});
}

std::string nameOf(const CudaDevice& device, size_t index) {
  return "CUDA device " + std::to_string(index) + " (" + device.name + ")";
}

Error deviceTooOld(const CudaDevice& device, size_t index, int needed) {
  return cudaUnavailable("device-too-old",
                         nameOf(device, index) + " has compute capability " +
                             capabilityText(device.capability) + ", at least " +
                             capabilityText(needed) +
                             " is needed: use a newer device, or the device \"cpu\".",
                         {{"index", static_cast<double>(index)},
                          {"name", device.name},
                          {"capability", capabilityText(device.capability)},
                          {"needed", capabilityText(needed)}});
}

Error deviceFailed(const CudaDevice& device, size_t index, const BatonCudaApi& api) {
  const std::string why = api.lastError();
  return cudaUnavailable(
      "device-failed",
      nameOf(device, index) + " does not run the CUDA library's code: " + why +
          ". See whether `nvidia-smi` shows it well and free, or use another one.",
      {{"index", static_cast<double>(index)}, {"name", device.name}, {"why", why}});
}

Error deviceAbsent(int index, const std::vector<CudaDevice>& devices) {
  std::string list;
  for (size_t i = 0; i < devices.size(); ++i) {
    list += (i == 0 ? "\"cuda:" : ", \"cuda:") + std::to_string(i) + "\" (" + devices[i].name + ")";
  }
  return cudaUnavailable(
      "device-absent",
      "There is no CUDA device " + std::to_string(index) + ": the driver shows " +
          std::to_string(devices.size()) + ", " + list +
          ". Name one of these, or use the device \"cpu\".",
      {{"index", static_cast<double>(index)}, {"devices", static_cast<double>(devices.size())}});
}

// Its table, or null with the problem noted.
const BatonCudaApi* load(const std::string& file, std::optional<Error>& problem) {
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    problem = libraryBroken(file, why == nullptr ? "no reason given" : why);
    return nullptr;
  }
  const auto entry = reinterpret_cast<BatonCudaEntry>(dlsym(library, BATON_CUDA_SYMBOL));
  const BatonCudaApi* api = entry == nullptr ? nullptr : entry();
  if (api == nullptr) {
    problem = libraryBroken(file, std::string("it gives no table (") + BATON_CUDA_SYMBOL + ")");
  } else if (api->abi != BATON_CUDA_ABI) {
    problem = libraryVersion(file, api->abi);
    api = nullptr;
  } else if (api->kernels == nullptr || api->kernels->layout != kCudaLayout) {
    problem = libraryLayout(file);
    api = nullptr;
  }
  if (api == nullptr) dlclose(library);
  return api;
}

void checkDevices(const BatonCudaApi& api, std::vector<CudaDevice>& devices) {
  for (size_t i = 0; i < devices.size(); ++i) {
    CudaDevice& device = devices[i];
    if (device.capability < api.capabilityNeeded) {
      device.problem = deviceTooOld(device, i, api.capabilityNeeded);
    } else if (api.deviceProbe(static_cast<int32_t>(i)) != kBatonCudaOk) {
      device.problem = deviceFailed(device, i, api);
    }
  }
}

}  // namespace

std::string folderOfThisCode() {
  Dl_info here{};
  if (dladdr(reinterpret_cast<const void*>(&folderOfThisCode), &here) == 0) return "";
  const std::string file = here.dli_fname == nullptr ? "" : here.dli_fname;
  const size_t slash = file.rfind('/');
  return slash == std::string::npos ? "./" : file.substr(0, slash + 1);
}

CudaPlaces cudaPlaces() {
  CudaPlaces places;
  const char* named = std::getenv("BATON_CUDA_LIBRARY");
  const bool asked = named != nullptr && *named != '\0';
  places.libraries.push_back(asked ? std::string(named) : folderOfThisCode() + kCudaLibrary);
  return places;
}

CudaReport findCuda(const CudaPlaces& places) {
  CudaReport report;
  CudaDriver driver = openCudaDriver(places.driver);
  report.driverVersion = driver.version;
  report.devices = std::move(driver.devices);
  report.problem = std::move(driver.problem);
  if (report.problem) return report;
  const std::string* found = nullptr;
  for (const std::string& file : places.libraries) {
    if (found == nullptr && access(file.c_str(), F_OK) == 0) found = &file;
  }
  if (found == nullptr) {
    report.problem = libraryAbsent(places.libraries);
    return report;
  }
  const BatonCudaApi* api = load(*found, report.problem);
  if (api == nullptr) return report;
  report.library = *found;
  if (report.driverVersion < api->driverNeeded) {
    report.problem = driverTooOld(report.driverVersion, api->driverNeeded);
    return report;
  }
  report.api = api;
  checkDevices(*api, report.devices);
  return report;
}

void requireCudaDevice(const CudaReport& report, int index) {
  if (report.problem) throw *report.problem;
  if (index < 0 || static_cast<size_t>(index) >= report.devices.size()) {
    throw deviceAbsent(index, report.devices);
  }
  const CudaDevice& device = report.devices[static_cast<size_t>(index)];
  if (device.problem) throw *device.problem;
}

}  // namespace baton
