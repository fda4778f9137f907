// SPDX-License-Identifier: Apache-2.0
// Streams, memory and copies of the table (api.h). Everything names its device, because CUDA's
// current device is a state of the thread that may have been set by anybody.
#include <new>

#include "cuda/graph.h"
#include "cuda/kernels.h"
#include "cuda/memory.h"
#include "cuda/status.h"

namespace baton::cuda {
namespace {

BatonCudaStatus use(const char* call, int32_t device) {
  return status(call, cudaSetDevice(device));
}

BatonCudaStatus copy(const char* call, BatonCudaStream* stream, void* to, const void* from,
                     uint64_t bytes, cudaMemcpyKind kind) {
  if (stream == nullptr) return invalid(call, "no stream");
  if (kind != cudaMemcpyDeviceToDevice) {
    if (const BatonCudaStatus bad = requireIssued(call, stream)) return bad;
  }
  if (bytes == 0) return kBatonCudaOk;
  if (to == nullptr || from == nullptr) return invalid(call, "a null pointer");
  if (const BatonCudaStatus bad = use(call, stream->device)) return bad;
  return status(call, cudaMemcpyAsync(to, from, bytes, kind, handleOf(stream)));
}

// Null where there is none left, which is no error: less memory is a slower product.
void* allocateWorkspace(int device, size_t bytes) {
  void* memory = nullptr;
  if (cudaSetDevice(device) != cudaSuccess || cudaMalloc(&memory, bytes) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return nullptr;
  }
  return memory;
}

void releaseWorkspace(int device, void* memory) {
  static_cast<void>(deviceFree(device, memory));
}

}  // namespace

BatonCudaStatus streamCreate(int32_t device, BatonCudaStream** stream) {
  if (stream == nullptr) return invalid("streamCreate", "a null pointer");
  *stream = nullptr;
  if (const BatonCudaStatus bad = use("streamCreate", device)) return bad;
  cudaStream_t handle = nullptr;
  const cudaError_t error = cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking);
  if (error != cudaSuccess) return failed("streamCreate", error);
  auto* gemm = new (std::nothrow) Gemm(device, handle, {allocateWorkspace, releaseWorkspace});
  *stream = new (std::nothrow) BatonCudaStream{device, handle, gemm};
  if (*stream != nullptr) return kBatonCudaOk;
  delete gemm;
  cudaStreamDestroy(handle);
  return failed("streamCreate", cudaErrorMemoryAllocation);
}

BatonCudaStatus streamSynchronize(BatonCudaStream* stream) {
  if (stream == nullptr) return invalid("streamSynchronize", "no stream");
  if (const BatonCudaStatus bad = requireIssued("streamSynchronize", stream)) return bad;
  if (const BatonCudaStatus bad = use("streamSynchronize", stream->device)) return bad;
  return status("streamSynchronize", cudaStreamSynchronize(stream->handle));
}

BatonCudaStatus streamDestroy(BatonCudaStream* stream) {
  if (stream == nullptr) return kBatonCudaOk;
  const cudaStream_t handle = stream->handle, capture = stream->capture;
  BatonCudaStatus done = use("streamDestroy", stream->device);
  if (done == kBatonCudaOk) done = status("streamDestroy", cudaStreamSynchronize(handle));
  if (launchGemm == stream->gemm) launchGemm = nullptr;
  delete stream->gemm;
  delete stream;
  if (capture != nullptr) static_cast<void>(cudaStreamDestroy(capture));
  const BatonCudaStatus gone = status("streamDestroy", cudaStreamDestroy(handle));
  return done != kBatonCudaOk ? done : gone;
}

BatonCudaStatus deviceAllocate(int32_t device, uint64_t bytes, void** memory) {
  if (memory == nullptr) return invalid("deviceAllocate", "a null pointer");
  *memory = nullptr;
  if (const BatonCudaStatus bad = use("deviceAllocate", device)) return bad;
  return bytes == 0 ? kBatonCudaOk : status("deviceAllocate", cudaMalloc(memory, bytes));
}

BatonCudaStatus deviceFree(int32_t device, void* memory) {
  if (memory == nullptr) return kBatonCudaOk;
  if (const BatonCudaStatus bad = use("deviceFree", device)) return bad;
  return status("deviceFree", cudaFree(memory));
}

BatonCudaStatus hostAllocate(int32_t device, uint64_t bytes, void** memory) {
  if (memory == nullptr) return invalid("hostAllocate", "a null pointer");
  *memory = nullptr;
  if (const BatonCudaStatus bad = use("hostAllocate", device)) return bad;
  if (bytes == 0) return kBatonCudaOk;
  return status("hostAllocate", cudaHostAlloc(memory, bytes, cudaHostAllocPortable));
}

BatonCudaStatus hostFree(void* memory) {
  return memory == nullptr ? kBatonCudaOk : status("hostFree", cudaFreeHost(memory));
}

BatonCudaStatus copyToDevice(BatonCudaStream* stream, void* to, const void* from, uint64_t bytes) {
  return copy("copyToDevice", stream, to, from, bytes, cudaMemcpyHostToDevice);
}

BatonCudaStatus copyToHost(BatonCudaStream* stream, void* to, const void* from, uint64_t bytes) {
  return copy("copyToHost", stream, to, from, bytes, cudaMemcpyDeviceToHost);
}

BatonCudaStatus copyOnDevice(BatonCudaStream* stream, void* to, const void* from, uint64_t bytes) {
  return copy("copyOnDevice", stream, to, from, bytes, cudaMemcpyDeviceToDevice);
}

BatonCudaStatus fillBytes(BatonCudaStream* stream, void* to, uint8_t value, uint64_t bytes) {
  if (stream == nullptr) return invalid("fillBytes", "no stream");
  if (bytes == 0) return kBatonCudaOk;
  if (to == nullptr) return invalid("fillBytes", "a null pointer");
  if (const BatonCudaStatus bad = use("fillBytes", stream->device)) return bad;
  return status("fillBytes", cudaMemsetAsync(to, value, bytes, handleOf(stream)));
}

BatonCudaStatus useStream(BatonCudaStream* stream) {
  if (stream == nullptr) return invalid("useStream", "no stream");
  if (const BatonCudaStatus bad = use("useStream", stream->device)) return bad;
  launchOn(handleOf(stream));
  launchGemm = stream->gemm;
  if (launchGemm != nullptr) launchGemm->issueOn(handleOf(stream));
  return kBatonCudaOk;
}

BatonCudaStatus launchStatus(BatonCudaStream* stream) {
  if (stream == nullptr) return invalid("launchStatus", "no stream");
  return status("a launch", cudaGetLastError());
}

}  // namespace baton::cuda
