// SPDX-License-Identifier: Apache-2.0
#include "gpu/kernels/cuda_timer.h"

#include <cuda_runtime.h>

#include <stdexcept>

#include "cuda/status.h"

namespace baton::bench {
namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

class CudaTimer : public Timer {
 public:
  CudaTimer(const BatonCudaApi& api, int device) : api_(api) {
    if (api_.streamCreate(device, &owned_) != kBatonCudaOk) {
      throw std::runtime_error(std::string("a stream: ") + api_.lastError());
    }
    stream_ = owned_->handle;
    check(cudaEventCreate(&begin_), "an event");
    check(cudaEventCreate(&end_), "an event");
  }
  ~CudaTimer() override {
    drop();
    static_cast<void>(cudaEventDestroy(begin_));
    static_cast<void>(cudaEventDestroy(end_));
    static_cast<void>(api_.streamDestroy(owned_));
  }
  CudaTimer(const CudaTimer&) = delete;
  CudaTimer& operator=(const CudaTimer&) = delete;

  void record(int calls, const Call& call) override {
    drop();
    calls_ = calls;
    call_ = call;
    static_cast<void>(api_.useStream(owned_));
    // Before anything is captured: what a kernel does once happens here.
    call_(0);
    check(cudaGetLastError(), "a launch");
    check(cudaStreamSynchronize(stream_), "a kernel");
    if (!capture()) drop();
  }

  double play() override {
    check(cudaEventRecord(begin_, stream_), "an event");
    if (graph_ != nullptr) {
      check(cudaGraphLaunch(graph_, stream_), "a graph");
    } else {
      static_cast<void>(api_.useStream(owned_));
      for (int i = 0; i < calls_; ++i) call_(i);
      check(cudaGetLastError(), "a launch");
    }
    check(cudaEventRecord(end_, stream_), "an event");
    check(cudaEventSynchronize(end_), "a kernel");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin_, end_), "an event");
    return 1e-3 * static_cast<double>(milliseconds);
  }

  const char* method() const override { return graph_ != nullptr ? "graph" : "launches"; }

 private:
  bool capture() {
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "a capture");
    for (int i = 0; i < calls_; ++i) call_(i);
    cudaGraph_t captured = nullptr;
    cudaError_t error = cudaStreamEndCapture(stream_, &captured);
    if (error == cudaSuccess) error = cudaGraphInstantiate(&graph_, captured, 0);
    if (captured != nullptr) static_cast<void>(cudaGraphDestroy(captured));
    if (error == cudaSuccess) return true;
    static_cast<void>(cudaGetLastError());
    graph_ = nullptr;
    return false;
  }

  void drop() {
    if (graph_ != nullptr) static_cast<void>(cudaGraphExecDestroy(graph_));
    graph_ = nullptr;
  }

  const BatonCudaApi& api_;
  BatonCudaStream* owned_ = nullptr;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
  cudaGraphExec_t graph_ = nullptr;
  int calls_ = 0;
  Call call_;
};

}  // namespace

std::unique_ptr<Timer> cudaTimer(const BatonCudaApi& api, int device) {
  return std::make_unique<CudaTimer>(api, device);
}

}  // namespace baton::bench
