// SPDX-License-Identifier: Apache-2.0
// Stands for libcuda.so.1: the functions that native/device/cuda_driver.cpp asks for.
#include <cstddef>
#include <cstdio>

#include "device/fake_cuda.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED FakeCudaDriver fakeCudaDriver;
FakeCudaDriver fakeCudaDriver;

EXPORTED int cuInit(unsigned) {
  return fakeCudaDriver.initResult;
}

EXPORTED int cuDriverGetVersion(int* version) {
  *version = fakeCudaDriver.version;
  return 0;
}

EXPORTED int cuDeviceGetCount(int* count) {
  *count = fakeCudaDriver.countResult == 0 ? fakeCudaDriver.devices : 0;
  return fakeCudaDriver.countResult;
}

EXPORTED int cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return fakeCudaDriver.deviceResult;
}

EXPORTED int cuDeviceGetName(char* name, int length, int device) {
  std::snprintf(name, static_cast<size_t>(length), "Fake %d", device);
  return 0;
}

EXPORTED int cuDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == 75 ? fakeCudaDriver.capabilityMajor : fakeCudaDriver.capabilityMinor;
  return attribute == 75 || attribute == 76 ? 0 : 1;
}

EXPORTED int cuDeviceTotalMem_v2(size_t* bytes, int) {
  *bytes = size_t{80} << 30;
  return 0;
}

EXPORTED int cuGetErrorString(int error, const char** text) {
  if (error != 803) return 1;
  *text = "system has unsupported display driver / cuda driver combination";
  return 0;
}
