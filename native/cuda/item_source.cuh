// SPDX-License-Identifier: Apache-2.0
// Queries of an item of attention.h for a block of threads of attend.cuh.
#pragma once

#include "cuda/attend.cuh"
#include "cuda/attention.h"

namespace baton::cuda {

// Queries first .. of an item for one kv head: the heads of the group of its first row, then those
// of the next.
struct ItemSource {
  const AttendSlotsArgs& a;
  const AttendItem item;
  const int kvHead;
  int first;

  __device__ int group() const { return a.H / a.G; }
  __device__ int rowOf(int i) const { return (first + i) / group(); }
  __device__ size_t headOf(int i) const {
    return static_cast<size_t>(kvHead * group() + (first + i) % group());
  }
  // Of a row of it.
  __device__ const AttendRow& sharedRow(int row) const { return a.rows[item.queryRow + row]; }
  __device__ int queryOf(int row) const {
    return item.shared == 0 ? item.queryRow + row : sharedRow(row).query;
  }
  __device__ int positionOf(int row) const {
    return item.shared == 0 ? item.position + row : sharedRow(row).position;
  }
  __device__ int stateOf(int row) const {
    return item.shared == 0 ? item.state + row : sharedRow(row).state;
  }
  __device__ const float* query(int i) const {
    if (rowOf(i) >= item.rows) return nullptr;
    const auto row = static_cast<size_t>(queryOf(rowOf(i)));
    return a.q + (row * static_cast<size_t>(a.H) + headOf(i)) * static_cast<size_t>(a.D);
  }
  __device__ int slots() const { return item.slotEnd - item.slotBegin; }
  __device__ RowRange range(int s, int i) const {
    const int row = rowOf(i);
    if (row >= item.rows) return {0, 0};
    const KvSlot slot = a.slots[item.slotBegin + s];
    if (slot.causal == 0 && a.window == 0) return {0, slot.rows};
    const int own = positionOf(row) - slot.position;  // where its own row would be
    int end = slot.rows;
    if (slot.causal != 0) end = own + 1 < end ? own + 1 : end;
    const int begin = own - a.window + 1;
    return {a.window != 0 && begin > 0 ? begin : 0, end};
  }
  __device__ size_t offset(int s) const {
    return static_cast<size_t>(kvHead) * a.headStride +
           static_cast<size_t>(a.slots[item.slotBegin + s].block) * a.blockStride;
  }
  __device__ const std::byte* key(int s) const { return a.k + offset(s); }
  __device__ const std::byte* value(int s) const { return a.v + offset(s); }
  __device__ size_t stateAt(int i) const {
    return static_cast<size_t>(stateOf(rowOf(i))) * static_cast<size_t>(a.H) + headOf(i);
  }
  __device__ void store(int i, int t, float o, float m, float d) const {
    const size_t at = stateAt(i);
    const size_t number = at * static_cast<size_t>(a.D) + static_cast<size_t>(t);
    if (item.whole == 0) {
      a.o[number] = o;
    } else {
      a.out[number] = d == 0 ? 0.0f : o * (1.0f / d);
    }
    if (t == 0) storeSum(at, m, d);
  }
  __device__ void storeSum(size_t at, float m, float d) const {
    if (item.whole == 0) {
      a.m[at] = m, a.d[at] = d;
    } else if (a.lse != nullptr) {
      a.lse[at] = d == 0 ? kNothing : m + logf(d);
    }
  }
};

}  // namespace baton::cuda
