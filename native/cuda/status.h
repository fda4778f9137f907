// SPDX-License-Identifier: Apache-2.0
// CUDA's errors as the table's (api.h). A call that failed leaves no error behind in CUDA's own
// per-thread state, where the next launch would take it for its own; an error that has spoilt the
// device cannot be cleared and is told as such by every call after it.
#pragma once

#include <cuda_runtime.h>

#include "cuda/api.h"
#include "cuda/gemm.h"

namespace baton::cuda {

// Of the calling thread.
const char* lastError();

// Keeps "<call>: <CUDA's words>" for lastError().
BatonCudaStatus failed(const char* call, cudaError_t error);

// Keeps "<call>: <what>".
BatonCudaStatus invalid(const char* call, const char* what);

inline BatonCudaStatus status(const char* call, cudaError_t error) {
  return error == cudaSuccess ? kBatonCudaOk : failed(call, error);
}

}  // namespace baton::cuda

struct BatonCudaStream {
  int device;
  cudaStream_t handle;
  baton::cuda::Gemm* gemm;  // null: there was no memory for it
  // What is written down for a graph goes here (graph.cpp), so that what others issue on `handle`
  // meanwhile stays out of it. Null before there was one.
  cudaStream_t capture = nullptr;
};
