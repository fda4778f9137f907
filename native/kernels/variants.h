// SPDX-License-Identifier: Apache-2.0
// Every kernel of every instruction set by name, for the tables in ops_*.cpp. Declarations only.
#pragma once

#include "kernels/ops.h"

namespace baton {

#define BATON_DECLARE_KERNELS(isa)                                         \
  void linear##isa(const LinearArgs& args, int n0, int n1, void* scratch); \
  void attend##isa(const AttendArgs& args);                                \
  void merge##isa(const MergeArgs& args);                                  \
  void embed##isa(const EmbedArgs& args, int r0, int r1);                  \
  void rmsnorm##isa(const RmsNormArgs& args, int r0, int r1);              \
  void quantize##isa(const QuantizeArgs& args, int r0, int r1);            \
  void rope##isa(const RopeArgs& args, int r0, int r1);                    \
  void kvStore##isa(const KvStoreArgs& args, int r0, int r1);              \
  void swiglu##isa(const SwigluArgs& args, int r0, int r1);

BATON_DECLARE_KERNELS(Scalar)
BATON_DECLARE_KERNELS(Avx2)
BATON_DECLARE_KERNELS(Avx512)

#undef BATON_DECLARE_KERNELS

}  // namespace baton
