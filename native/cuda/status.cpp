// SPDX-License-Identifier: Apache-2.0
#include "cuda/status.h"

#include <stdio.h>

namespace baton::cuda {
namespace {

thread_local char text[512];

BatonCudaStatus statusOf(cudaError_t error) {
  switch (error) {
    case cudaErrorInvalidValue:
    case cudaErrorInvalidDevice:
      return kBatonCudaInvalid;
    case cudaErrorMemoryAllocation:
      return kBatonCudaOutOfMemory;
    case cudaErrorInsufficientDriver:
    case cudaErrorStubLibrary:
    case cudaErrorSystemDriverMismatch:
      return kBatonCudaNoDriver;
    case cudaErrorNoDevice:
      return kBatonCudaNoDevice;
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorInvalidKernelImage:
    case cudaErrorJitCompilerNotFound:
      return kBatonCudaNoKernel;
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorIllegalInstruction:
    case cudaErrorHardwareStackError:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorDevicesUnavailable:
    case cudaErrorContextIsDestroyed:
      return kBatonCudaDeviceLost;
    default:
      return kBatonCudaFailed;
  }
}

}  // namespace

const char* lastError() {
  return text;
}

BatonCudaStatus failed(const char* call, cudaError_t error) {
  snprintf(text, sizeof text, "%s: %s (%s, %d)", call, cudaGetErrorString(error),
           cudaGetErrorName(error), static_cast<int>(error));
  (void)cudaGetLastError();
  return statusOf(error);
}

BatonCudaStatus invalid(const char* call, const char* what) {
  snprintf(text, sizeof text, "%s: %s", call, what);
  return kBatonCudaInvalid;
}

}  // namespace baton::cuda
