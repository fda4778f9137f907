// SPDX-License-Identifier: Apache-2.0
#include "device/cuda_stream.h"

namespace baton {

CudaStream::CudaStream(const BatonCudaApi& api, int index) : api_(api), index_(index) {
  BatonCudaDevice info;
  check(api_.deviceInfo(index, &info));
  name_ = info.name;
  check(api_.streamCreate(index, &stream_));
}

CudaStream::~CudaStream() {
  static_cast<void>(api_.streamDestroy(stream_));  // waits for what was issued
}

// ---- what went wrong

Error CudaStream::lostError() const {
  return cudaUnavailable("device-lost",
                         "CUDA device " + std::to_string(index_) + " (" + name_ +
                             ") is lost: nothing runs on it any more in this process. Restart the "
                             "process, and see what `nvidia-smi` says of the device.",
                         {{"index", double(index_)}, {"name", name_}});
}

void CudaStream::requireHere() const {
  if (lost_) throw lostError();
}

void CudaStream::check(BatonCudaStatus status) {
  if (status != kBatonCudaOk) fail(status);
}

void CudaStream::fail(BatonCudaStatus status) {
  const std::string why = api_.lastError();
  if (status == kBatonCudaDeviceLost) {
    lost_ = true;
    throw lostError();
  }
  if (status == kBatonCudaOutOfMemory) failMemory(0, "its own work");
  throw cudaUnavailable("device-failed",
                        "CUDA device " + std::to_string(index_) + " (" + name_ +
                            ") does not do what it was asked: " + why +
                            ". Please report this with the output of `baton doctor --json`.",
                        {{"index", double(index_)}, {"name", name_}, {"why", why}});
}

void CudaStream::failMemory(size_t bytes, const char* what) {
  BatonCudaDevice info;
  const double free = api_.deviceInfo(index_, &info) == kBatonCudaOk ? double(info.freeBytes) : 0;
  throw Error(code::kOutOfMemory,
              "CUDA device " + std::to_string(index_) + " (" + name_ + ") has " +
                  std::to_string(static_cast<uint64_t>(free)) + " bytes free and " +
                  std::to_string(bytes) + " are needed for " + what +
                  "; lower cacheBytes or maxBatchRows, run fewer chains at once, or take a smaller "
                  "model",
              {{"device", id()}, {"needed", double(bytes)}, {"free", free}});
}

// ---- memory

std::byte* CudaStream::allocate(size_t bytes, const char* what) {
  const std::lock_guard lock(mutex_);
  requireHere();
  if (bytes == 0) return nullptr;
  void* memory = nullptr;
  const BatonCudaStatus status = api_.deviceAllocate(index_, bytes, &memory);
  if (status == kBatonCudaOutOfMemory) failMemory(bytes, what);
  check(status);
  return static_cast<std::byte*>(memory);
}

void CudaStream::release(std::byte* memory) noexcept {
  if (memory == nullptr || lost_) return;
  const std::lock_guard lock(mutex_);
  if (api_.deviceFree(index_, memory) == kBatonCudaDeviceLost) lost_ = true;
}

void CudaStream::begin() {
  requireHere();
  check(api_.useStream(stream_));
}

void CudaStream::upload(void* to, const void* from, size_t bytes) {
  const std::lock_guard lock(mutex_);
  requireHere();
  check(api_.copyToDevice(stream_, to, from, bytes));
}

void CudaStream::download(void* to, const void* from, size_t bytes) {
  const std::lock_guard lock(mutex_);
  requireHere();
  check(api_.copyToHost(stream_, to, from, bytes));
  check(api_.streamSynchronize(stream_));
}

void CudaStream::copy(void* to, const void* from, size_t bytes) {
  const std::lock_guard lock(mutex_);
  requireHere();
  check(api_.copyOnDevice(stream_, to, from, bytes));
}

void CudaStream::fill(void* to, uint8_t value, size_t bytes) {
  const std::lock_guard lock(mutex_);
  requireHere();
  check(api_.fillBytes(stream_, to, value, bytes));
}

}  // namespace baton
