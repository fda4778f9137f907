// SPDX-License-Identifier: Apache-2.0
// Table of the kernels for AVX-512 with the tiles of AMX (int8, bf16): linear layers of many rows
// are theirs, those in bf16 arithmetic of few as well, and dX in bfloat16.
#include "kernels/variants.h"

namespace baton {

const Ops kAmxOps{
    Isa::kAmx,           linearAmx,          linearBf16Amx,    attendAvx512,     attendBf16Amx,
    mergeAvx2,           embedAvx2,          rmsnormAvx2,      addBiasAvx2,      quantizeAvx2,
    rmsnormQuantizeAvx2, toBf16Avx2,         ropeAvx2,         kvStoreAvx2,      swigluAvx2,
    gegluAvx2,           dLinearAmx,         dRmsnormAvx2,     dSwigluAvx2,      dGegluAvx2,
    crossEntropyAvx2,    dAttendQueryAvx512, dAttendKeyAvx512, squareSumsScalar, adamwScalar,
};

}  // namespace baton
