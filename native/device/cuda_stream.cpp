// SPDX-License-Identifier: Apache-2.0
#include "device/cuda_stream.h"

#include <cstring>
#include <utility>

#include "device/cuda_upload.h"

namespace baton {

CudaStream::CudaStream(const BatonCudaApi& api, int index) : api_(api), index_(index) {
  BatonCudaDevice info;
  check(api_.deviceInfo(index, &info));
  name_ = info.name;
  check(api_.streamCreate(index, &stream_));
  if (api_.hostAllocate(index, kStagingBytes, &staging_) != kBatonCudaOk) staging_ = nullptr;
}

CudaStream::~CudaStream() {
  static_cast<void>(api_.streamDestroy(stream_));  // waits for what was issued
  static_cast<void>(api_.hostFree(staging_));
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
  check(api_.copyToDevice(stream_, to, staged(from, bytes), bytes));
}

// Where `from` stands in pinned memory, so that its copy waits for nothing; or `from`. Needs
// mutex_.
const void* CudaStream::staged(const void* from, size_t bytes) {
  if (staging_ == nullptr || bytes == 0 || bytes > kStagingBytes / 2) return from;
  if (staged_ + bytes > kStagingBytes) waitForStaged();
  std::byte* const at = static_cast<std::byte*>(staging_) + staged_;
  std::memcpy(at, from, bytes);
  staged_ += (bytes + 63) / 64 * 64;
  return at;
}

void CudaStream::waitForStaged() {
  check(api_.streamSynchronize(stream_));
  staged_ = 0;
}

void CudaStream::download(void* to, const void* from, size_t bytes) {
  const std::lock_guard lock(mutex_);
  requireHere();
  check(api_.copyToHost(stream_, to, from, bytes));
  waitForStaged();
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

// Its copies are not in this order: they come after it as far as it goes now.
std::unique_ptr<Uploader> CudaStream::uploader(size_t size) {
  call([this](const BatonCudaApi& api) { return api.streamSynchronize(stream_); });
  if (std::unique_ptr<Uploader> pinned = pinnedUploader(*this, size)) return pinned;
  return Memory::uploader(size);
}

// ---- graphs

CudaStream::Graph::Graph(Graph&& other) noexcept
    : stream_(other.stream_), made_(std::exchange(other.made_, nullptr)) {}

CudaStream::Graph& CudaStream::Graph::operator=(Graph&& other) noexcept {
  std::swap(stream_, other.stream_);
  std::swap(made_, other.made_);
  return *this;
}

CudaStream::Graph::~Graph() {
  if (made_ == nullptr) return;
  const std::lock_guard lock(stream_->mutex_);
  // What a lost device says to it does not matter: both calls give back what is the host's.
  static_cast<void>(stream_->api_.streamSynchronize(stream_->stream_));
  static_cast<void>(stream_->api_.graphDestroy(made_));
}

CudaStream::Capture::Capture(CudaStream& stream) : stream_(stream) {
  const std::lock_guard lock(stream_.mutex_);
  stream_.requireHere();
  stream_.check(stream_.api_.captureBegin(stream_.stream_));
}

CudaStream::Capture::~Capture() {
  if (!open_) return;
  const std::lock_guard lock(stream_.mutex_);
  static_cast<void>(stream_.api_.captureEnd(stream_.stream_, nullptr));
}

CudaStream::Graph CudaStream::Capture::finish() {
  const std::lock_guard lock(stream_.mutex_);
  open_ = false;
  Graph graph;
  graph.stream_ = &stream_;
  const BatonCudaStatus status = stream_.api_.captureEnd(stream_.stream_, &graph.made_);
  if (status == kBatonCudaDeviceLost) stream_.fail(status);
  return graph;
}

void CudaStream::issue(const Graph& graph) {
  const std::lock_guard lock(mutex_);
  requireHere();
  check(api_.graphLaunch(stream_, graph.made_));
}

}  // namespace baton
