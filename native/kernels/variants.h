// SPDX-License-Identifier: Apache-2.0
// Every kernel of every instruction set by name, for the tables in ops_*.cpp. Declarations only.
#pragma once

#include "kernels/ops.h"

namespace baton {

void linearScalar(const LinearArgs& args, int n0, int n1, void* scratch);
void linearBf16Scalar(const LinearArgs& args, int n0, int n1, void* scratch);
void attendScalar(const AttendArgs& args);
void attendBf16Scalar(const AttendArgs& args);
void mergeScalar(const MergeArgs& args);
void embedScalar(const EmbedArgs& args, int r0, int r1);
void rmsnormScalar(const RmsNormArgs& args, int r0, int r1);
void addBiasScalar(const AddBiasArgs& args, int r0, int r1);
void quantizeScalar(const QuantizeArgs& args, int r0, int r1);
void rmsnormQuantizeScalar(const RmsNormQuantizeArgs& args, int r0, int r1);
void toBf16Scalar(const ToBf16Args& args, int r0, int r1);
void ropeScalar(const RopeArgs& args, int r0, int r1);
void kvStoreScalar(const KvStoreArgs& args, int r0, int r1);
void swigluScalar(const GluArgs& args, int r0, int r1);
void gegluScalar(const GluArgs& args, int r0, int r1);
void dLinearScalar(const DLinearArgs& args, int k0, int k1, void* scratch);
void dRmsnormScalar(const DRmsNormArgs& args, int r0, int r1);
void dSwigluScalar(const DGluArgs& args, int r0, int r1);
void dGegluScalar(const DGluArgs& args, int r0, int r1);
void crossEntropyScalar(const CrossEntropyArgs& args, int r0, int r1);
void dAttendQueryScalar(const DAttendArgs& args);
void dAttendKeyScalar(const DAttendArgs& args);
// Of every table: an update is a thousandth of a step.
void squareSumsScalar(const AdamWArgs& args, int p0, int p1);
void adamwScalar(const AdamWArgs& args, int p0, int p1);

#if defined(__x86_64__)
void linearAvx2(const LinearArgs& args, int n0, int n1, void* scratch);
void attendAvx2(const AttendArgs& args);
void mergeAvx2(const MergeArgs& args);
void embedAvx2(const EmbedArgs& args, int r0, int r1);
void rmsnormAvx2(const RmsNormArgs& args, int r0, int r1);
void addBiasAvx2(const AddBiasArgs& args, int r0, int r1);
void quantizeAvx2(const QuantizeArgs& args, int r0, int r1);
void rmsnormQuantizeAvx2(const RmsNormQuantizeArgs& args, int r0, int r1);
void toBf16Avx2(const ToBf16Args& args, int r0, int r1);
void ropeAvx2(const RopeArgs& args, int r0, int r1);
void kvStoreAvx2(const KvStoreArgs& args, int r0, int r1);
void swigluAvx2(const GluArgs& args, int r0, int r1);
void gegluAvx2(const GluArgs& args, int r0, int r1);
void dLinearAvx2(const DLinearArgs& args, int k0, int k1, void* scratch);
void dRmsnormAvx2(const DRmsNormArgs& args, int r0, int r1);
void dSwigluAvx2(const DGluArgs& args, int r0, int r1);
void dGegluAvx2(const DGluArgs& args, int r0, int r1);
void crossEntropyAvx2(const CrossEntropyArgs& args, int r0, int r1);
void dAttendQueryAvx2(const DAttendArgs& args);
void dAttendKeyAvx2(const DAttendArgs& args);

// The rest of this table is AVX2's: ops_avx512.cpp.
void linearAvx512(const LinearArgs& args, int n0, int n1, void* scratch);
void linearBf16Avx512(const LinearArgs& args, int n0, int n1, void* scratch);
void attendAvx512(const AttendArgs& args);
void attendBf16Avx512(const AttendArgs& args);
void dLinearAvx512(const DLinearArgs& args, int k0, int k1, void* scratch);
void dAttendQueryAvx512(const DAttendArgs& args);
void dAttendKeyAvx512(const DAttendArgs& args);
void dAttendQueryBf16Avx512(const DAttendArgs& args);
void dAttendKeyBf16Avx512(const DAttendArgs& args);

// The rest of this table is that of AVX-512: ops_amx.cpp.
void linearAmx(const LinearArgs& args, int n0, int n1, void* scratch);
void attendBf16Amx(const AttendArgs& args);
void linearBf16Amx(const LinearArgs& args, int n0, int n1, void* scratch);
void dLinearAmx(const DLinearArgs& args, int k0, int k1, void* scratch);
#endif

}  // namespace baton
