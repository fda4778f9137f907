// SPDX-License-Identifier: Apache-2.0
// What the CUDA library gives to the addon: one exported function, `batonCudaApi`, that returns one
// table of C functions. The law of the table: `abi` is its first field for ever and says what the
// rest is, so that a library of another version is told by its number before anything else of it
// is read; whatever changes in the table changes BATON_CUDA_ABI.
//
// Every call gives a status, and what went wrong as text of the calling thread (`lastError`).
// Nothing prints, throws or ends the process. Any thread may call; two threads may not use one
// stream at the same time. Sizes are bytes.
#pragma once

#include <stdint.h>

#define BATON_CUDA_ABI 5u
#define BATON_CUDA_SYMBOL "batonCudaApi"

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t BatonCudaStatus;
enum {
  kBatonCudaOk = 0,
  kBatonCudaInvalid = 1,      // an argument: no such device, a null pointer
  kBatonCudaOutOfMemory = 2,  // of the device, or of memory that can be pinned; others go on
  kBatonCudaNoDriver = 3,     // absent, or older than the table's `driverNeeded`
  kBatonCudaNoDevice = 4,
  kBatonCudaNoKernel = 5,    // the library has no code for this device
  kBatonCudaDeviceLost = 6,  // for the rest of the process: nothing runs on this device any more
  kBatonCudaFailed = 7,      // anything else: lastError() has CUDA's own words
};

typedef struct BatonCudaDevice {
  char name[256];
  int32_t capability;  // 90 for 9.0
  int32_t multiprocessors;
  uint64_t totalBytes;
  uint64_t freeBytes;  // at the moment of the call
} BatonCudaDevice;

typedef struct BatonCudaStream BatonCudaStream;    // an order of work on one device
typedef struct BatonCudaGraph BatonCudaGraph;      // work that is issued as one
typedef struct BatonCudaKernels BatonCudaKernels;  // kernels.h

typedef struct BatonCudaApi {
  uint32_t abi;
  int32_t driverNeeded;      // as cuDriverGetVersion counts: 13000 for CUDA 13.0
  int32_t capabilityNeeded;  // 80 for 8.0

  // Of the calling thread's last call that failed, "" before one did. Valid until its next failure.
  const char* (*lastError)(void);

  BatonCudaStatus (*deviceCount)(int32_t* count);
  BatonCudaStatus (*deviceInfo)(int32_t device, BatonCudaDevice* info);
  // Runs a kernel there and compares what it wrote: whether this library works on this device.
  BatonCudaStatus (*deviceProbe)(int32_t device);
  // What makes products of many rows of BF16 weights: "cuBLASLt 13.0.2", or "none" and why, where
  // this library's own kernels do. Opens it.
  const char* (*matrixLibrary)(void);

  BatonCudaStatus (*streamCreate)(int32_t device, BatonCudaStream** stream);
  BatonCudaStatus (*streamSynchronize)(BatonCudaStream* stream);
  BatonCudaStatus (*streamDestroy)(BatonCudaStream* stream);  // after what was issued; null is fine

  BatonCudaStatus (*deviceAllocate)(int32_t device, uint64_t bytes, void** memory);
  BatonCudaStatus (*deviceFree)(int32_t device, void* memory);  // null is fine
  // Pinned: copies from and to it run beside the caller. Freed from any device.
  BatonCudaStatus (*hostAllocate)(int32_t device, uint64_t bytes, void** memory);
  BatonCudaStatus (*hostFree)(void* memory);  // null is fine

  // Issued on the stream. Host memory that is not pinned is read or written before the call ends;
  // pinned memory stays untouched until the stream has come there.
  BatonCudaStatus (*copyToDevice)(BatonCudaStream* stream, void* to, const void* from,
                                  uint64_t bytes);
  BatonCudaStatus (*copyToHost)(BatonCudaStream* stream, void* to, const void* from,
                                uint64_t bytes);
  BatonCudaStatus (*copyOnDevice)(BatonCudaStream* stream, void* to, const void* from,
                                  uint64_t bytes);
  BatonCudaStatus (*fillBytes)(BatonCudaStream* stream, void* to, uint8_t value, uint64_t bytes);

  // Operations. They say nothing themselves: they are issued on the stream that the calling thread
  // named last, and `launchStatus` tells what went wrong since it was asked last, as far as that is
  // known yet; what shows later is told by the next call that waits.
  const BatonCudaKernels* kernels;
  BatonCudaStatus (*useStream)(BatonCudaStream* stream);
  BatonCudaStatus (*launchStatus)(BatonCudaStream* stream);

  // What the calling thread issues on the stream between the two (operations, copies inside the
  // device, fills) is written down with its arguments, and not done; what other threads issue there
  // is done as ever. Nothing else may be asked of the stream by this thread meanwhile. An end that
  // fails ends it, too, and leaves the stream as it was before the beginning; `graph` null: what
  // was written down is forgotten.
  BatonCudaStatus (*captureBegin)(BatonCudaStream* stream);
  BatonCudaStatus (*captureEnd)(BatonCudaStream* stream, BatonCudaGraph** graph);
  // Issues all that was written down, as often as wanted.
  BatonCudaStatus (*graphLaunch)(BatonCudaStream* stream, BatonCudaGraph* graph);
  BatonCudaStatus (*graphDestroy)(BatonCudaGraph* graph);  // that is not on its way; null is fine
} BatonCudaApi;

// Never null, and valid for as long as the library is loaded.
typedef const BatonCudaApi* (*BatonCudaEntry)(void);

#ifdef __cplusplus
}
#endif
