// SPDX-License-Identifier: Apache-2.0
#include "device/cuda_upload.h"

#include "device/cuda_stream.h"

namespace baton {
namespace {

struct Half {
  void* memory = nullptr;
  BatonCudaStream* stream = nullptr;
  bool underway = false;
};

class PinnedUploader : public Uploader {
 public:
  PinnedUploader(CudaStream& device, size_t size) : Uploader(size), device_(device) {}
  ~PinnedUploader() override {
    const BatonCudaApi& api = device_.api();
    for (Half& half : halves_) {
      static_cast<void>(api.streamDestroy(half.stream));  // waits for what is on its way
      static_cast<void>(api.hostFree(half.memory));
    }
  }

  // False: refused.
  bool open() {
    for (Half& half : halves_) {
      if (!had([&](const BatonCudaApi& api) {
            return api.hostAllocate(device_.index(), size(), &half.memory);
          }) ||
          !had([&](const BatonCudaApi& api) {
            return api.streamCreate(device_.index(), &half.stream);
          })) {
        return false;
      }
    }
    return true;
  }

  std::byte* room() override {
    wait(halves_[next_]);
    return static_cast<std::byte*>(halves_[next_].memory);
  }

  void send(void* to, size_t bytes) override {
    Half& half = halves_[next_];
    next_ = 1 - next_;
    half.underway = true;
    device_.call([&](const BatonCudaApi& api) {
      return api.copyToDevice(half.stream, to, half.memory, bytes);
    });
  }

  void finish() override {
    for (Half& half : halves_) wait(half);
  }

 private:
  // Whether the device gave what it was asked for; a device that is lost throws.
  template <class Fn>
  bool had(const Fn& fn) {
    BatonCudaStatus status = kBatonCudaOk;
    device_.call([&](const BatonCudaApi& api) {
      status = fn(api);
      return status == kBatonCudaDeviceLost ? status : kBatonCudaOk;
    });
    return status == kBatonCudaOk;
  }

  void wait(Half& half) {
    if (!half.underway) return;
    device_.call([&](const BatonCudaApi& api) { return api.streamSynchronize(half.stream); });
    half.underway = false;
  }

  CudaStream& device_;
  Half halves_[2];
  int next_ = 0;
};

}  // namespace

std::unique_ptr<Uploader> pinnedUploader(CudaStream& device, size_t size) {
  auto made = std::make_unique<PinnedUploader>(device, size);
  return made->open() ? std::move(made) : nullptr;
}

}  // namespace baton
