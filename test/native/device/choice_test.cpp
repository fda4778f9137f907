// SPDX-License-Identifier: Apache-2.0
// On which device a model is opened, and what is said of it. Driver and library are fakes.
#include "device/choice.h"

#include "check.h"
#include "device/fakes.h"

using namespace baton;
using namespace baton::test;

namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// What choosing it throws: its reason, of OPTION_INVALID the value.
std::string refusal(const std::string& device, const Fakes& fakes, const std::string& part) {
  try {
    chooseDevice(device, fakes.places);
  } catch (const Error& error) {
    expect(has(error.what(), part), __FILE__, __LINE__, part + " is not in " + error.what());
    const bool invalid = error.code() == std::string("OPTION_INVALID");
    return error.code() + (" " + factOf(error, invalid ? "value" : "reason"));
  }
  return "(none)";
}

}  // namespace

TEST("device: what names a device, and what does not") {
  CHECK_EQ(cudaIndexOf("auto"), -1);
  CHECK_EQ(cudaIndexOf("cpu"), -1);
  CHECK_EQ(cudaIndexOf("cuda"), 0);
  CHECK_EQ(cudaIndexOf("cuda:0"), 0);
  CHECK_EQ(cudaIndexOf("cuda:12"), 12);
  const Fakes fakes;
  for (const char* wrong :
       {"gpu", "", "CUDA", "cuda:", "cuda:-1", "cuda:1x", "cuda:12345", "cuda1"}) {
    CHECK_EQ(refusal(wrong, fakes, "\"auto\", \"cpu\", \"cuda\", or one like \"cuda:1\""),
             std::string("OPTION_INVALID ") + wrong);
  }
}

TEST("device: the CPU touches neither driver nor library, whether asked for or chosen") {
  Fakes fakes;
  const DeviceChoice asked = chooseDevice("cpu", fakes.places);
  CHECK(asked.cuda == nullptr);
  CHECK_EQ(asked.why, std::string("device: \"cpu\" asks for it."));
  const DeviceChoice chosen = chooseDevice("auto", fakes.places);
  CHECK(chosen.cuda == nullptr);
  CHECK(has(chosen.why, "not been measured"));
  CHECK(has(chosen.why, "device: \"cuda\""));
  CHECK_EQ(fakes.library.probes, 0);
}

TEST("device: a CUDA device that is asked for is the one that is taken") {
  Fakes fakes;
  fakes.driver.devices = 2;
  for (const auto& [device, index] : {std::pair{"cuda", 0}, {"cuda:0", 0}, {"cuda:1", 1}}) {
    const DeviceChoice choice = chooseDevice(device, fakes.places);
    REQUIRE(choice.cuda != nullptr);
    CHECK_EQ(choice.cuda->id(), "cuda:" + std::to_string(index));
    CHECK_EQ(choice.cuda->name(), "Fake " + std::to_string(index));
    CHECK_EQ(fakes.library.streamsOf, index);
    CHECK_EQ(fakes.library.streams, 1);
    CHECK(has(choice.why, "\"" + std::string(device) + "\" asks for it"));
  }
  CHECK_EQ(fakes.library.streams, 0);
}

TEST("device: whatever is in the way of one that is asked for is an error, never another device") {
  Fakes fakes;
  CHECK_EQ(refusal("cuda:3", fakes, "\"cuda:0\" (Fake 0)"), "DEVICE_UNAVAILABLE device-absent");
  fakes.driver.capabilityMajor = 7;
  CHECK_EQ(refusal("cuda", fakes, "at least 8.0"), "DEVICE_UNAVAILABLE device-too-old");
  fakes.driver = {};
  fakes.driver.version = 12040;
  CHECK_EQ(refusal("cuda", fakes, "update the driver"), "DEVICE_UNAVAILABLE driver-too-old");
  fakes.driver = {};
  fakes.driver.devices = 0;
  CHECK_EQ(refusal("cuda", fakes, "shows no device"), "DEVICE_UNAVAILABLE no-device");
  fakes.driver = {};
  fakes.library.abi = BATON_CUDA_ABI + 1;
  CHECK_EQ(refusal("cuda", fakes, "same release"), "DEVICE_UNAVAILABLE library-version");
  fakes.library = {};
  fakes.places.libraries = {"/no/such/one.so"};
  CHECK_EQ(refusal("cuda", fakes, "BATON_CUDA_LIBRARY"), "DEVICE_UNAVAILABLE library-absent");
  fakes.places.driver = "/no/such/driver.so";
  CHECK_EQ(refusal("cuda", fakes, "Install NVIDIA's driver"), "DEVICE_UNAVAILABLE no-driver");
  CHECK_EQ(fakes.library.streams, 0);
}

TEST(
    "device: why \"auto\" takes the CPU is what is in the way of CUDA, or that nobody measured "
    "it") {
  Fakes fakes;
  CHECK(has(whyCpu(findCuda(fakes.places)), "not been measured"));
  fakes.driver.capabilityMajor = 7;
  CHECK(has(whyCpu(findCuda(fakes.places)), "at least 8.0"));
  fakes.driver = {};
  fakes.driver.devices = 2;
  fakes.library.probeFails = 0;  // the other one works
  CHECK(has(whyCpu(findCuda(fakes.places)), "not been measured"));
  fakes.places.driver = "/no/such/driver.so";
  CHECK(has(whyCpu(findCuda(fakes.places)), "Install NVIDIA's driver"));
}
