// SPDX-License-Identifier: Apache-2.0
// Table of the kernels for AVX2, FMA, F16C and BMI2, which have no products of bfloat16: BF16
// weights meet float32 activations.
#include "kernels/variants.h"

namespace baton {

const Ops kAvx2Ops{
    Isa::kAvx2,          linearAvx2,       nullptr,        attendAvx2,       nullptr,
    mergeAvx2,           embedAvx2,        rmsnormAvx2,    addBiasAvx2,      quantizeAvx2,
    rmsnormQuantizeAvx2, toBf16Avx2,       ropeAvx2,       kvStoreAvx2,      swigluAvx2,
    gegluAvx2,           dLinearAvx2,      dRmsnormAvx2,   dSwigluAvx2,      dGegluAvx2,
    crossEntropyAvx2,    dAttendQueryAvx2, dAttendKeyAvx2, squareSumsScalar, adamwScalar,
};

}  // namespace baton
