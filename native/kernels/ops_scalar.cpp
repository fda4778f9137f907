// SPDX-License-Identifier: Apache-2.0
// Table of the kernels for portable C++, the reference of the others.
#include "kernels/variants.h"

namespace baton {

const Ops kScalarOps{
    Isa::kScalar,          linearScalar,       linearBf16Scalar, attendScalar,     attendBf16Scalar,
    mergeScalar,           embedScalar,        rmsnormScalar,    addBiasScalar,    quantizeScalar,
    rmsnormQuantizeScalar, toBf16Scalar,       ropeScalar,       kvStoreScalar,    swigluScalar,
    gegluScalar,           dLinearScalar,      dRmsnormScalar,   dSwigluScalar,    dGegluScalar,
    crossEntropyScalar,    dAttendQueryScalar, dAttendKeyScalar, squareSumsScalar, adamwScalar,
};

}  // namespace baton
