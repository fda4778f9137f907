// SPDX-License-Identifier: Apache-2.0
// Graphs of the table (api.h), by capture of a stream of their own.
#include "cuda/graph.h"

#include <new>

#include "cuda/memory.h"

struct BatonCudaGraph {
  int device;
  cudaGraphExec_t handle;
};

namespace baton::cuda {
namespace {

cudaError_t createStream(cudaStream_t* stream) {
  return *stream != nullptr ? cudaSuccess
                            : cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking);
}

}  // namespace

BatonCudaStatus captureBegin(BatonCudaStream* stream) {
  const char* const call = "captureBegin";
  if (stream == nullptr) return invalid(call, "no stream");
  if (capturing != nullptr) return invalid(call, "this thread writes down a graph already");
  cudaError_t error = cudaSetDevice(stream->device);
  if (error == cudaSuccess) error = createStream(&stream->capture);
  // An allocation meanwhile, by this thread, would be a mistake and ends the capture as one.
  if (error == cudaSuccess) {
    error = cudaStreamBeginCapture(stream->capture, cudaStreamCaptureModeThreadLocal);
  }
  if (error != cudaSuccess) return failed(call, error);
  capturing = stream;
  return kBatonCudaOk;
}

BatonCudaStatus captureEnd(BatonCudaStream* stream, BatonCudaGraph** graph) {
  const char* const call = "captureEnd";
  if (graph != nullptr) *graph = nullptr;
  if (stream == nullptr || stream != capturing) return invalid(call, "it was not begun");
  capturing = nullptr;
  cudaGraph_t written = nullptr;
  cudaError_t error = cudaStreamEndCapture(stream->capture, &written);
  cudaGraphExec_t made = nullptr;
  if (error == cudaSuccess && graph != nullptr) error = cudaGraphInstantiate(&made, written, 0);
  if (written != nullptr) static_cast<void>(cudaGraphDestroy(written));
  if (error != cudaSuccess) return failed(call, error);
  if (graph == nullptr) return kBatonCudaOk;
  *graph = new (std::nothrow) BatonCudaGraph{stream->device, made};
  if (*graph != nullptr) return kBatonCudaOk;
  static_cast<void>(cudaGraphExecDestroy(made));
  return failed(call, cudaErrorMemoryAllocation);
}

BatonCudaStatus graphLaunch(BatonCudaStream* stream, BatonCudaGraph* graph) {
  const char* const call = "graphLaunch";
  if (stream == nullptr || graph == nullptr) return invalid(call, "a null pointer");
  if (const BatonCudaStatus bad = requireIssued(call, stream)) return bad;
  const cudaError_t error = cudaSetDevice(stream->device);
  if (error != cudaSuccess) return failed(call, error);
  return status(call, cudaGraphLaunch(graph->handle, stream->handle));
}

BatonCudaStatus graphDestroy(BatonCudaGraph* graph) {
  if (graph == nullptr) return kBatonCudaOk;
  cudaError_t error = cudaSetDevice(graph->device);
  if (error == cudaSuccess) error = cudaGraphExecDestroy(graph->handle);
  delete graph;
  return status("graphDestroy", error);
}

}  // namespace baton::cuda
