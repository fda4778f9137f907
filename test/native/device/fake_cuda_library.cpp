// SPDX-License-Identifier: Apache-2.0
// Stands for libbaton_cuda.so: a table whose calls are those that loading it and choosing a device
// make.
#include <cstdio>

#include "cuda/api.h"
#include "cuda/kernels.h"
#include "device/fake_cuda.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED FakeCudaLibrary fakeCudaLibrary;
FakeCudaLibrary fakeCudaLibrary;

namespace {

BatonCudaStatus probe(int32_t device) {
  ++fakeCudaLibrary.probes;
  return device == fakeCudaLibrary.probeFails ? kBatonCudaNoKernel : kBatonCudaOk;
}

const char* matrixLibrary() {
  return "none: fake";
}

const char* lastError() {
  return "no kernel image is available";
}

BatonCudaStatus deviceInfo(int32_t device, BatonCudaDevice* info) {
  *info = {};
  std::snprintf(info->name, sizeof info->name, "Fake %d", device);
  return kBatonCudaOk;
}

BatonCudaStatus streamCreate(int32_t device, BatonCudaStream** stream) {
  fakeCudaLibrary.streamsOf = device;
  ++fakeCudaLibrary.streams;
  *stream = reinterpret_cast<BatonCudaStream*>(&fakeCudaLibrary);  // nobody follows it
  return kBatonCudaOk;
}

BatonCudaStatus streamDestroy(BatonCudaStream*) {
  --fakeCudaLibrary.streams;
  return kBatonCudaOk;
}

BatonCudaStatus hostAllocate(int32_t, uint64_t, void** memory) {
  *memory = nullptr;
  return kBatonCudaOutOfMemory;
}

BatonCudaStatus hostFree(void*) {
  return kBatonCudaOk;
}

}  // namespace

EXPORTED const BatonCudaApi* batonCudaApi(void) {
  static BatonCudaApi api;
  api = {};
  api.abi = fakeCudaLibrary.abi == 0 ? BATON_CUDA_ABI : fakeCudaLibrary.abi;
  api.driverNeeded = fakeCudaLibrary.driverNeeded;
  api.capabilityNeeded = fakeCudaLibrary.capabilityNeeded;
  api.lastError = lastError;
  api.deviceProbe = probe;
  api.matrixLibrary = matrixLibrary;
  api.deviceInfo = deviceInfo;
  api.streamCreate = streamCreate;
  api.streamDestroy = streamDestroy;
  api.hostAllocate = hostAllocate;
  api.hostFree = hostFree;
  static BatonCudaKernels kernels;
  kernels = {};
  kernels.layout = fakeCudaLibrary.otherLayout ? baton::kCudaLayout + 1 : baton::kCudaLayout;
  api.kernels = &kernels;
  return fakeCudaLibrary.noTable ? nullptr : &api;
}
