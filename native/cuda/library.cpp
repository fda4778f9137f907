// SPDX-License-Identifier: Apache-2.0
// The table of the CUDA library (api.h), and the one symbol that it exports.
#include <cuda_runtime.h>
#include <stdio.h>

#include "cuda/api.h"
#include "cuda/cublaslt.h"
#include "cuda/kernels.h"
#include "cuda/memory.h"
#include "cuda/probe.h"
#include "cuda/status.h"

namespace baton::cuda {
namespace {

// CUDA runs a program on any driver of its major version.
constexpr int32_t kDriverNeeded = CUDART_VERSION / 1000 * 1000;

BatonCudaStatus deviceCount(int32_t* count) {
  if (count == nullptr) return invalid("deviceCount", "a null pointer");
  *count = 0;
  return status("deviceCount", cudaGetDeviceCount(count));
}

BatonCudaStatus deviceInfo(int32_t device, BatonCudaDevice* info) {
  if (info == nullptr) return invalid("deviceInfo", "a null pointer");
  *info = {};
  cudaDeviceProp found{};
  cudaError_t error = cudaGetDeviceProperties(&found, device);
  if (error == cudaSuccess) error = cudaSetDevice(device);
  size_t free = 0;
  size_t total = 0;
  if (error == cudaSuccess) error = cudaMemGetInfo(&free, &total);
  if (error != cudaSuccess) return failed("deviceInfo", error);
  snprintf(info->name, sizeof info->name, "%s", found.name);
  info->capability = found.major * 10 + found.minor;
  info->multiprocessors = found.multiProcessorCount;
  info->totalBytes = total;
  info->freeBytes = free;
  return kBatonCudaOk;
}

const BatonCudaApi kApi = {
    .abi = BATON_CUDA_ABI,
    .driverNeeded = kDriverNeeded,
    .capabilityNeeded = BATON_CUDA_CAPABILITY,
    .lastError = lastError,
    .deviceCount = deviceCount,
    .deviceInfo = deviceInfo,
    .deviceProbe = deviceProbe,
    .matrixLibrary = cublasLtText,
    .streamCreate = streamCreate,
    .streamSynchronize = streamSynchronize,
    .streamDestroy = streamDestroy,
    .deviceAllocate = deviceAllocate,
    .deviceFree = deviceFree,
    .hostAllocate = hostAllocate,
    .hostFree = hostFree,
    .copyToDevice = copyToDevice,
    .copyToHost = copyToHost,
    .copyOnDevice = copyOnDevice,
    .fillBytes = fillBytes,
    .kernels = &kCudaKernels,
    .useStream = useStream,
    .launchStatus = launchStatus,
    .captureBegin = captureBegin,
    .captureEnd = captureEnd,
    .graphLaunch = graphLaunch,
    .graphDestroy = graphDestroy,
};

}  // namespace
}  // namespace baton::cuda

extern "C" __attribute__((visibility("default"))) const BatonCudaApi* batonCudaApi(void) {
  return &baton::cuda::kApi;
}
