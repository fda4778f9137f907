// SPDX-License-Identifier: Apache-2.0
// One CUDA device as an engine has it: its memory, and one order of everything that is done there,
// so that a copy sees what was issued before it and nobody waits for more than he needs.
//
// A device that is lost stays so: from then on every call throws DEVICE_UNAVAILABLE with the reason
// device-lost and touches nothing, and giving memory back does nothing.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "cuda/api.h"
#include "cuda/kernels.h"
#include "device/cuda_driver.h"
#include "device/memory.h"

namespace baton {

class CudaStream : public Memory {
 public:
  // `api` outlives it. Throws DEVICE_UNAVAILABLE (device-failed), OUT_OF_MEMORY.
  CudaStream(const BatonCudaApi& api, int index);
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  int index() const { return index_; }
  const std::string& name() const { return name_; }
  std::string id() const { return "cuda:" + std::to_string(index_); }
  bool lost() const { return lost_; }

  // fn(const BatonCudaKernels&) issues operations; they are done after what was issued before.
  template <class Fn>
  void issue(const Fn& fn) {
    const std::lock_guard lock(mutex_);
    begin();
    fn(*api_.kernels);
    check(api_.launchStatus(stream_));
  }

  // fn(const BatonCudaApi&) makes a call of the table for this device, outside of its order, and
  // gives its status; throws as every call here does.
  template <class Fn>
  void call(const Fn& fn) {
    const std::lock_guard lock(mutex_);
    requireHere();
    check(fn(api_));
  }
  const BatonCudaApi& api() const { return api_; }

  bool onHost() const override { return false; }
  std::byte* allocate(size_t bytes, const char* what) override;
  void release(std::byte* memory) noexcept override;
  // All of it at once: there is no address space without memory here.
  std::byte* reserve(size_t bytes, const char* what) override { return allocate(bytes, what); }
  void unreserve(std::byte* memory, size_t) noexcept override { release(memory); }

  void upload(void* to, const void* from, size_t bytes) override;
  void download(void* to, const void* from, size_t bytes) override;  // waits
  void copy(void* to, const void* from, size_t bytes) override;
  void fill(void* to, uint8_t value, size_t bytes) override;
  std::unique_ptr<Uploader> uploader(size_t size) override;  // waits for what was issued

  // Work that was written down and can be issued as one.
  class Graph {
   public:
    Graph() = default;  // empty
    ~Graph();           // what was issued of it may still be on its way
    Graph(Graph&& other) noexcept;
    Graph& operator=(Graph&& other) noexcept;
    Graph(const Graph&) = delete;
    explicit operator bool() const { return made_ != nullptr; }

   private:
    friend CudaStream;
    CudaStream* stream_ = nullptr;
    BatonCudaGraph* made_ = nullptr;
  };

  // While it lives, what the calling thread issues here, copies and fills is written down instead
  // of being done. Other threads go on; this one may neither upload, download nor allocate.
  class Capture {
   public:
    explicit Capture(CudaStream& stream);
    ~Capture();  // forgets it, where finish() was not called
    Capture(const Capture&) = delete;
    // Empty: CUDA does not make one graph of this, and nothing has been done.
    Graph finish();

   private:
    CudaStream& stream_;
    bool open_ = true;
  };

  void issue(const Graph& graph);

 private:
  // Small uploads, as every step has them, go by way of pinned memory: copied from there they
  // neither wait for what was issued before nor keep the caller.
  static constexpr size_t kStagingBytes = size_t{1} << 20;
  const void* staged(const void* from, size_t bytes);
  void waitForStaged();

  void begin();  // needs mutex_, as all below
  void check(BatonCudaStatus status);
  void requireHere() const;
  [[noreturn]] void fail(BatonCudaStatus status);
  [[noreturn]] void failMemory(size_t bytes, const char* what);
  Error lostError() const;

  const BatonCudaApi& api_;
  const int index_;
  std::string name_;
  std::mutex mutex_;  // over the stream
  BatonCudaStream* stream_ = nullptr;
  std::atomic<bool> lost_{false};
  void* staging_ = nullptr;  // pinned, or null: there is none
  size_t staged_ = 0;        // bytes of it that copies may be reading
};

}  // namespace baton
