// SPDX-License-Identifier: Apache-2.0
// The operations of the CUDA library, as its table (api.h) gives them to the engine. Their
// arguments are C++ structs that both sides compile, so the two must agree in every size: `layout`
// says with which ones the library was built.
#pragma once

#include "cuda/attention.h"
#include "cuda/attention_backward.h"
#include "cuda/few_rows.h"
#include "cuda/sampling.h"
#include "kernels/ops.h"

namespace baton {

template <class... Structs>
constexpr uint32_t layoutOf() {
  uint32_t hash = 2166136261u;  // FNV-1a, a size at a time
  ((hash = (hash ^ static_cast<uint32_t>(sizeof(Structs))) * 16777619u), ...);
  return hash;
}

inline constexpr uint32_t kCudaLayout =
    layoutOf<Ops, LinearArgs, AttendArgs, MergeArgs, EmbedArgs, RmsNormArgs, AddBiasArgs,
             QuantizeArgs, RmsNormQuantizeArgs, ToBf16Args, RopeArgs, KvStoreArgs, GluArgs,
             KvAppendArgs, KvSlot, AttendItem, AttendRow, AttendSlotsArgs, StateList,
             MergeStatesArgs, DLinearArgs, DRmsNormArgs, DGluArgs, CrossEntropyArgs, AdamWArgs,
             DAttendArgs, DAttendDeltaArgs, DAttendItem, KeyUse, KeyPart, DAttendSlotsArgs,
             DAttendTurnArgs, KeyTarget, DAttendGatherArgs, SampleRow, SampleEdit, SampleArgs,
             FewRowsArgs>();

}  // namespace baton

struct BatonCudaKernels {
  uint32_t layout;        // baton::kCudaLayout
  const baton::Ops* ops;  // what is null in it there is no kernel for
  void (*kvAppend)(const baton::KvAppendArgs& args);
  void (*attendSlots)(const baton::AttendSlotsArgs& args, int item0, int item1);
  void (*mergeStates)(const baton::MergeStatesArgs& args, int r0, int r1);
  void (*sample)(const baton::SampleArgs& args, int r0, int r1);
  bool (*fewRows)(const baton::FewRowsArgs& args);
  // cuda/attention_backward.h
  void (*dAttendDelta)(const baton::DAttendDeltaArgs& args, int r0, int r1);
  void (*dAttendQueries)(const baton::DAttendSlotsArgs& args, int item0, int item1);
  void (*dAttendKeys)(const baton::DAttendSlotsArgs& args, int part0, int part1);
  void (*dAttendTurn)(const baton::DAttendTurnArgs& args, int r0, int r1);
  void (*dAttendGather)(const baton::DAttendGatherArgs& args, int target0, int target1);
};

namespace baton {
extern const BatonCudaKernels kCudaKernels;

namespace cuda {
// Where the calling thread's launches go from now on: a cudaStream_t.
void launchOn(void* stream);
}  // namespace cuda
}  // namespace baton
