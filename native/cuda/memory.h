// SPDX-License-Identifier: Apache-2.0
// Members of the table (api.h has what each promises).
#pragma once

#include "cuda/api.h"

namespace baton::cuda {

BatonCudaStatus streamCreate(int32_t device, BatonCudaStream** stream);
BatonCudaStatus streamSynchronize(BatonCudaStream* stream);
BatonCudaStatus streamDestroy(BatonCudaStream* stream);
BatonCudaStatus deviceAllocate(int32_t device, uint64_t bytes, void** memory);
BatonCudaStatus deviceFree(int32_t device, void* memory);
BatonCudaStatus hostAllocate(int32_t device, uint64_t bytes, void** memory);
BatonCudaStatus hostFree(void* memory);
BatonCudaStatus copyToDevice(BatonCudaStream* stream, void* to, const void* from, uint64_t bytes);
BatonCudaStatus copyToHost(BatonCudaStream* stream, void* to, const void* from, uint64_t bytes);
BatonCudaStatus copyOnDevice(BatonCudaStream* stream, void* to, const void* from, uint64_t bytes);
BatonCudaStatus fillBytes(BatonCudaStream* stream, void* to, uint8_t value, uint64_t bytes);
BatonCudaStatus useStream(BatonCudaStream* stream);
BatonCudaStatus launchStatus(BatonCudaStream* stream);
BatonCudaStatus captureBegin(BatonCudaStream* stream);
BatonCudaStatus captureEnd(BatonCudaStream* stream, BatonCudaGraph** graph);
BatonCudaStatus graphLaunch(BatonCudaStream* stream, BatonCudaGraph* graph);
BatonCudaStatus graphDestroy(BatonCudaGraph* graph);

}  // namespace baton::cuda
