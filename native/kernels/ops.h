// SPDX-License-Identifier: Apache-2.0
// The table of kernels that the engine runs on. One table per instruction set, each complete; the
// scalar one is the slow, obvious reference and stays for ever. Kernels do not allocate, throw, log
// or read globals.
#pragma once

#include "kernels/attend/attend.h"
#include "kernels/attend/dattend.h"
#include "kernels/drows.h"
#include "kernels/linear/dlinear.h"
#include "kernels/linear/linear.h"
#include "kernels/loss/cross_entropy.h"
#include "kernels/optimizer/adamw.h"
#include "kernels/rows.h"

namespace baton {

enum class Isa : uint8_t { kScalar, kAvx2, kAvx512, kAmx, kCuda };

struct Ops {
  Isa isa;
  LinearFn linear;
  LinearFn linearBf16;  // null where the instruction set has no products of bfloat16
  AttendFn attend;
  AttendFn attendBf16;  // null likewise
  MergeFn merge;
  EmbedFn embed;
  RmsNormFn rmsnorm;
  AddBiasFn addBias;
  QuantizeFn quantize;
  RmsNormQuantizeFn rmsnormQuantize;
  ToBf16Fn toBf16;
  RopeFn rope;
  KvStoreFn kvStore;
  GluFn swiglu;
  GluFn geglu;
  // Backward ops, d<forward>.
  DLinearFn dLinear;
  DRmsNormFn dRmsnorm;
  DGluFn dSwiglu;
  DGluFn dGeglu;
  CrossEntropyFn crossEntropy;
  DAttendFn dAttendQuery;
  DAttendFn dAttendKey;
  // An update of what is trained.
  AdamWFn squareSums;
  AdamWFn adamw;
};

extern const Ops kScalarOps;
#if defined(__x86_64__)
extern const Ops kAvx2Ops;
extern const Ops kAvx512Ops;
extern const Ops kAmxOps;
#endif

}  // namespace baton
