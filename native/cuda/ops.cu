// SPDX-License-Identifier: Apache-2.0
// Table of the kernels for CUDA.
#include "cuda/ops.h"

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
    .dAttendQuery = nullptr,
    .dAttendKey = nullptr,
};

}  // namespace baton
