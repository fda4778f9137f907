// SPDX-License-Identifier: Apache-2.0
// What a stream's work goes to while its thread writes down a graph.
#pragma once

#include "cuda/status.h"

namespace baton::cuda {

// The stream whose work the calling thread writes down, or null.
inline thread_local BatonCudaStream* capturing = nullptr;

// Where the calling thread's work on the stream goes.
inline cudaStream_t handleOf(const BatonCudaStream* stream) {
  return stream == capturing ? stream->capture : stream->handle;
}

// For what cannot be written down: it reads or writes the host, waits for the device, or is a
// graph.
inline BatonCudaStatus requireIssued(const char* call, const BatonCudaStream* stream) {
  return stream == capturing ? invalid(call, "a graph is being written down") : kBatonCudaOk;
}

}  // namespace baton::cuda
