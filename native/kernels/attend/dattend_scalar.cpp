// SPDX-License-Identifier: Apache-2.0
// References of dattend.h: one pair of a query and a row at a time.
#include <cmath>

#include "base/half.h"
#include "kernels/attend/kv_element.h"
#include "kernels/variants.h"

namespace baton {
namespace {

// One row of the piece, and where its elements are.
struct StoredRow {
  const std::byte* k;
  const std::byte* v;
  int slot;
};

StoredRow rowOf(const DAttendArgs& a, int j) {
  const size_t at = static_cast<size_t>(a.blocks[j / kBlockRows]) * a.blockStride;
  return {a.k + at, a.v + at, j % kBlockRows};
}

// What `bf16` makes of a factor.
float factor(const DAttendArgs& a, float value) {
  return a.bf16 ? floatOfBfloat(bfloatOfFloat(value)) : value;
}

// A number of K or V without its row's scale, which only int8 has.
float stored(const DAttendArgs& a, const std::byte* base, int at) {
  return factor(a, kvStored(a.kv, base, at));
}

float keyAt(const DAttendArgs& a, const StoredRow& row, int t) {
  return stored(a, row.k, t * kBlockRows + row.slot);
}

struct Pair {
  float p, ds;
  float dsOfKey;  // what K is multiplied by, as it is stored
};

Pair pairOf(const DAttendArgs& a, int i, const StoredRow& row) {
  float score = 0, dp = 0;
  for (int t = 0; t < a.D; ++t) {
    score += factor(a, a.q[i][t]) * keyAt(a, row, t);
    dp += factor(a, a.dout[i][t]) * stored(a, row.v, row.slot * a.D + t);
  }
  const float keyScale = kvScale(a.kv, row.k, a.D, row.slot);
  score *= keyScale;
  dp *= kvScale(a.kv, row.v, a.D, row.slot);
  const float p = std::exp(a.scale * score - a.lse[i]);
  const float ds = p * (dp - a.delta[i]) * a.scale;
  return {factor(a, p), factor(a, ds), factor(a, ds * keyScale)};
}

}  // namespace

void dAttendQueryScalar(const DAttendArgs& a) {
  for (int i = 0; i < a.Q; ++i) {
    for (int j = a.first == nullptr ? 0 : a.first[i]; j < a.visible[i]; ++j) {
      const StoredRow row = rowOf(a, j);
      const Pair pair = pairOf(a, i, row);
      for (int t = 0; t < a.D; ++t) a.dq[i][t] += pair.dsOfKey * keyAt(a, row, t);
    }
  }
}

void dAttendKeyScalar(const DAttendArgs& a) {
  for (int i = 0; i < a.Q; ++i) {
    for (int j = a.first == nullptr ? 0 : a.first[i]; j < a.visible[i]; ++j) {
      const Pair pair = pairOf(a, i, rowOf(a, j));
      float* dk = a.dk + static_cast<size_t>(j) * a.ldk;
      float* dv = a.dv + static_cast<size_t>(j) * a.ldk;
      for (int t = 0; t < a.D; ++t) {
        dk[t] += pair.ds * factor(a, a.q[i][t]);
        dv[t] += pair.p * factor(a, a.dout[i][t]);
      }
    }
  }
}

}  // namespace baton
