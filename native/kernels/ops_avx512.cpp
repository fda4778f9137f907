// SPDX-License-Identifier: Apache-2.0
// Table of the kernels for AVX-512 F, BW, DQ, VL, VNNI and BF16. Row-wise ops,
// forward and backward, take a few percent of a step and are bound by memory, so AVX2's serve; any
// CPU with AVX-512 runs them.
#include "kernels/variants.h"

namespace baton {

const Ops kAvx512Ops{
    Isa::kAvx512,        linearAvx512,       linearBf16Avx512, attendAvx512,     attendBf16Avx512,
    mergeAvx2,           embedAvx2,          rmsnormAvx2,      addBiasAvx2,      quantizeAvx2,
    rmsnormQuantizeAvx2, toBf16Avx2,         ropeAvx2,         kvStoreAvx2,      swigluAvx2,
    gegluAvx2,           dLinearAvx512,      dRmsnormAvx2,     dSwigluAvx2,      dGegluAvx2,
    crossEntropyAvx2,    dAttendQueryAvx512, dAttendKeyAvx512, squareSumsScalar, adamwScalar,
};

}  // namespace baton
