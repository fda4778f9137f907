// SPDX-License-Identifier: Apache-2.0
// Everything that can be in the way of a CUDA device, and what is said of it. The driver and the
// library of most tests are fakes (fake_cuda.h); the last two tests have this machine's own.
#include "device/cuda_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <fstream>

#include "check.h"
#include "device/fakes.h"

using namespace baton;
using namespace baton::test;

namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The report's problem is of this reason and says these things, the remedy among them.
void checkProblem(const std::optional<Error>& problem, const std::string& reason,
                  const std::vector<std::string>& parts) {
  REQUIRE(problem.has_value());
  CHECK_EQ(std::string(problem->code()), std::string("DEVICE_UNAVAILABLE"));
  CHECK_EQ(factOf(*problem, "device"), std::string("cuda"));
  CHECK_EQ(factOf(*problem, "reason"), reason);
  for (const std::string& part : parts) {
    expect(has(problem->what(), part), __FILE__, __LINE__, part + " is not in " + problem->what());
  }
}

}  // namespace

TEST("cuda: a driver, a device and the library are found, and a kernel is run on each device") {
  Fakes fakes;
  fakes.driver.devices = 2;
  const CudaReport report = findCuda(fakes.places);
  CHECK(!report.problem);
  CHECK(report.api != nullptr);
  CHECK_EQ(report.driverVersion, 13000);
  CHECK_EQ(report.library, fakes.places.libraries[0]);
  REQUIRE(report.devices.size() == 2);
  CHECK_EQ(report.devices[1].name, std::string("Fake 1"));
  CHECK_EQ(report.devices[1].capability, 90);
  CHECK_EQ(report.devices[1].memoryBytes, uint64_t{80} << 30);
  CHECK_EQ(fakes.library.probes, 2);
  requireCudaDevice(report, 0);
  requireCudaDevice(report, 1);
}

TEST("cuda: no driver") {
  Fakes fakes;
  fakes.places.driver = folderOfThisCode() + "no-such-driver.so";
  const CudaReport report = findCuda(fakes.places);
  checkProblem(report.problem, "no-driver",
               {"no-such-driver.so cannot be opened", "Install NVIDIA's driver", "\"cpu\""});
  CHECK(report.api == nullptr);
  CHECK(report.library.empty());
  CHECK_THROWS("DEVICE_UNAVAILABLE", requireCudaDevice(report, 0));
}

TEST("cuda: a driver that does not answer, or is none") {
  Fakes fakes;
  fakes.driver.initResult = 803;
  checkProblem(findCuda(fakes.places).problem, "driver-failed",
               {"cuInit", "driver combination (803)", "nvidia-smi", "restarted"});
  fakes.driver.initResult = 999;
  checkProblem(findCuda(fakes.places).problem, "driver-failed", {"unknown error (999)"});
  fakes.driver = {};
  fakes.driver.deviceResult = 101;
  const CudaReport half = findCuda(fakes.places);
  checkProblem(half.problem, "driver-failed", {"cuDeviceGet", "(101)"});
  CHECK(half.devices.empty());
  fakes.places.driver = fakes.places.libraries[0];
  checkProblem(findCuda(fakes.places).problem, "driver-failed", {"cuInit", "no such function"});
}

TEST("cuda: a driver without a device") {
  Fakes fakes;
  fakes.driver.devices = 0;
  checkProblem(findCuda(fakes.places).problem, "no-device", {"CUDA 13.0", "shows no device"});
  fakes.driver.initResult = 100;
  setenv("CUDA_VISIBLE_DEVICES", "7", 1);
  const CudaReport report = findCuda(fakes.places);
  unsetenv("CUDA_VISIBLE_DEVICES");
  checkProblem(report.problem, "no-device", {"CUDA_VISIBLE_DEVICES=\"7\"", "nvidia-smi -L"});
  CHECK_EQ(fakes.library.probes, 0);
}

TEST("cuda: the library is absent, none at all, without a table, or of another version") {
  Fakes fakes;
  const std::string real = fakes.places.libraries[0];
  fakes.places.libraries = {"/no/such/one.so", "/no/other.so"};
  checkProblem(findCuda(fakes.places).problem, "library-absent",
               {"/no/such/one.so; /no/other.so", "BATON_CUDA_LIBRARY"});
  CHECK_EQ(findCuda(fakes.places).devices.size(), 1);
  fakes.places.libraries = {"/no/such/one.so", "/proc/self/maps"};
  checkProblem(findCuda(fakes.places).problem, "library-broken", {"/proc/self/maps", "Build it"});
  fakes.places.libraries = {fakes.places.driver};
  checkProblem(findCuda(fakes.places).problem, "library-broken", {"no table (batonCudaApi)"});
  fakes.places.libraries = {"/no/such/one.so", real};
  CHECK(!findCuda(fakes.places).problem);
  fakes.library.noTable = true;
  checkProblem(findCuda(fakes.places).problem, "library-broken", {"no table"});
  fakes.library = {};
  fakes.library.abi = BATON_CUDA_ABI + 6;
  const CudaReport report = findCuda(fakes.places);
  checkProblem(report.problem, "library-version",
               {"interface version " + std::to_string(BATON_CUDA_ABI + 6),
                "needs " + std::to_string(BATON_CUDA_ABI), "same release"});
  CHECK(report.api == nullptr);
  fakes.library = {};
  fakes.library.otherLayout = true;
  checkProblem(findCuda(fakes.places).problem, "library-version",
               {"arguments of its kernels", "same release"});
  CHECK_EQ(fakes.library.probes, 0);
}

TEST("cuda: a driver that is too old for the library") {
  Fakes fakes;
  fakes.driver.version = 12040;
  const CudaReport report = findCuda(fakes.places);
  checkProblem(report.problem, "driver-too-old", {"CUDA 12.4", "needs 13.0", "update the driver"});
  CHECK(report.api == nullptr);
  CHECK_EQ(fakes.library.probes, 0);
  fakes.driver.version = 13020;
  CHECK(!findCuda(fakes.places).problem);
}

TEST("cuda: a device that is too old, one that does not run our code, one that is not there") {
  Fakes fakes;
  fakes.driver.capabilityMajor = 7;
  fakes.driver.capabilityMinor = 5;
  const CudaReport old = findCuda(fakes.places);
  CHECK(!old.problem);
  REQUIRE(old.devices.size() == 1);
  checkProblem(old.devices[0].problem, "device-too-old",
               {"device 0 (Fake 0)", "capability 7.5", "at least 8.0"});
  CHECK_EQ(fakes.library.probes, 0);
  CHECK_THROWS("DEVICE_UNAVAILABLE", requireCudaDevice(old, 0));

  fakes.driver = {};
  fakes.driver.devices = 2;
  fakes.library.probeFails = 1;
  const CudaReport half = findCuda(fakes.places);
  REQUIRE(half.devices.size() == 2);
  checkProblem(half.devices[1].problem, "device-failed", {"Fake 1", "no kernel image"});
  requireCudaDevice(half, 0);
  CHECK_THROWS("DEVICE_UNAVAILABLE", requireCudaDevice(half, 1));
  for (const int index : {2, -1}) {
    try {
      requireCudaDevice(half, index);
      CHECK(false);
    } catch (const Error& error) {
      checkProblem(error, "device-absent",
                   {"CUDA device " + std::to_string(index), "shows 2",
                    "\"cuda:0\" (Fake 0), \"cuda:1\" (Fake 1)", "\"cpu\""});
    }
  }
}

TEST("cuda: the library is looked for beside this code, or where BATON_CUDA_LIBRARY says") {
  unsetenv("BATON_CUDA_LIBRARY");
  const CudaPlaces beside = cudaPlaces();
  CHECK_EQ(beside.driver, std::string("libcuda.so.1"));
  REQUIRE(beside.libraries.size() == 1);
  CHECK_EQ(beside.libraries[0], folderOfThisCode() + "libbaton_cuda.so");
  CHECK(std::ifstream(folderOfThisCode() + "libbaton_fake_cuda_driver.so").good());
  setenv("BATON_CUDA_LIBRARY", "/some/where.so", 1);
  const CudaPlaces named = cudaPlaces();
  unsetenv("BATON_CUDA_LIBRARY");
  REQUIRE(named.libraries.size() == 1);
  CHECK_EQ(named.libraries[0], std::string("/some/where.so"));
}

TEST("cuda: this machine is told as it is") {
  void* driver = dlopen(kCudaDriver, RTLD_NOW | RTLD_LOCAL);
  const CudaReport report = findCuda(cudaPlaces());
  if (driver == nullptr) {
    checkProblem(report.problem, "no-driver", {"libcuda.so.1 cannot be opened"});
    CHECK_EQ(report.driverVersion, 0);
    CHECK(report.devices.empty());
  } else {
    CHECK(report.problem.has_value() || !report.devices.empty());
    if (report.problem) CHECK(factOf(*report.problem, "reason") != "no-driver");
  }
}
