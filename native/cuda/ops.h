// SPDX-License-Identifier: Apache-2.0
// The same operations with the same arguments (kernels/ops.h) on another device. Pointers inside
// the arguments are the device's, the arguments themselves are read before the function returns,
// and the work is done in order on the stream of the calling thread (launch.cuh), later. Arrays
// begin where their numbers may (a float at 4 bytes); those that begin at 16 are read faster.
#pragma once

#include "kernels/ops.h"

namespace baton {

// Rows that a kernel for few takes. More are multiplied in tiles by tensor cores, which add up in
// another order: in bf16 and int8 arithmetic, too, a row has the same bits beside any other rows
// only with `invariant`, where tiles take any number of rows, or where memory does not suit tiles.
inline constexpr int kFewRows = 16;

// Panels, which int8 arithmetic reads, begin at 16 bytes. `scratch` is not looked at.
void linearCuda(const LinearArgs& args, int n0, int n1, void* scratch);
void linearBf16Cuda(const LinearArgs& args, int n0, int n1, void* scratch);
void linearInt8Cuda(const LinearArgs& args, int n0, int n1);  // what linear does where xq is given
// linearBf16 in tiles: K is a multiple of 32, xb and weight begin at 16 bytes.
void linearBf16TilesCuda(const LinearArgs& args, int n0, int n1);
// The same of int8 arithmetic: xq and the panels begin at 16 bytes.
void linearInt8TilesCuda(const LinearArgs& args, int n0, int n1);
void attendCuda(const AttendArgs& args);
void mergeCuda(const MergeArgs& args);
void embedCuda(const EmbedArgs& args, int r0, int r1);
void rmsnormCuda(const RmsNormArgs& args, int r0, int r1);
void addBiasCuda(const AddBiasArgs& args, int r0, int r1);
void quantizeCuda(const QuantizeArgs& args, int r0, int r1);
void rmsnormQuantizeCuda(const RmsNormQuantizeArgs& args, int r0, int r1);
void toBf16Cuda(const ToBf16Args& args, int r0, int r1);
void ropeCuda(const RopeArgs& args, int r0, int r1);
void kvStoreCuda(const KvStoreArgs& args, int r0, int r1);
void swigluCuda(const GluArgs& args, int r0, int r1);
void gegluCuda(const GluArgs& args, int r0, int r1);
void dLinearCuda(const DLinearArgs& args, int k0, int k1, void* scratch);
void dRmsnormCuda(const DRmsNormArgs& args, int r0, int r1);
void dSwigluCuda(const DGluArgs& args, int r0, int r1);
void dGegluCuda(const DGluArgs& args, int r0, int r1);
void crossEntropyCuda(const CrossEntropyArgs& args, int r0, int r1);
void dAttendQueryCuda(const DAttendArgs& args);
void dAttendKeyCuda(const DAttendArgs& args);
void squareSumsCuda(const AdamWArgs& args, int p0, int p1);
void adamwCuda(const AdamWArgs& args, int p0, int p1);

// What there is: an operation that is null has no kernel yet, so an engine cannot run on this table
// before it is complete.
extern const Ops kCudaOps;

}  // namespace baton
