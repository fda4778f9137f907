// SPDX-License-Identifier: Apache-2.0
// Tables of the kernels for CUDA.
#include "cuda/ops.h"

#include "cuda/kernels.h"
#include "cuda/launch.cuh"

namespace baton {

const Ops kCudaOps{
    .isa = Isa::kCuda,
    .linear = linearCuda,
    .linearBf16 = linearBf16Cuda,
    .attend = attendCuda,
    .attendBf16 = nullptr,
    .merge = mergeCuda,
    .embed = embedCuda,
    .rmsnorm = rmsnormCuda,
    .addBias = addBiasCuda,
    .quantize = quantizeCuda,
    .rmsnormQuantize = rmsnormQuantizeCuda,
    .toBf16 = toBf16Cuda,
    .rope = ropeCuda,
    .kvStore = kvStoreCuda,
    .swiglu = swigluCuda,
    .geglu = gegluCuda,
    .dLinear = dLinearCuda,
    .dRmsnorm = dRmsnormCuda,
    .dSwiglu = dSwigluCuda,
    .dGeglu = dGegluCuda,
    .crossEntropy = crossEntropyCuda,
    .dAttendQuery = dAttendQueryCuda,
    .dAttendKey = dAttendKeyCuda,
    .squareSums = squareSumsCuda,
    .adamw = adamwCuda,
};

const BatonCudaKernels kCudaKernels{
    .layout = kCudaLayout,
    .ops = &kCudaOps,
    .kvAppend = kvAppendCuda,
    .attendSlots = attendSlotsCuda,
    .mergeStates = mergeStatesCuda,
    .sample = sampleCuda,
    .fewRows = fewRowsCuda,
    .dAttendDelta = dAttendDeltaCuda,
    .dAttendQueries = dAttendQueriesCuda,
    .dAttendKeys = dAttendKeysCuda,
    .dAttendTurn = dAttendTurnCuda,
    .dAttendGather = dAttendGatherCuda,
};

void cuda::launchOn(void* stream) {
  launchStream = static_cast<cudaStream_t>(stream);
}

}  // namespace baton
