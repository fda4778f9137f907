// SPDX-License-Identifier: Apache-2.0
// References of dattend.h: one pair of a query and a row at a time.
#include <cmath>

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

float keyAt(const DAttendArgs& a, const StoredRow& row, int t) {
  return keyElement(a.kv, row.k, a.D, row.slot, t);
}

struct Pair {
  float p, ds;
};

Pair pairOf(const DAttendArgs& a, int i, const StoredRow& row) {
  float score = 0, dp = 0;
  for (int t = 0; t < a.D; ++t) {
    score += a.q[i][t] * keyAt(a, row, t);
    dp += a.dout[i][t] * valueElement(a.kv, row.v, a.D, row.slot, t);
  }
  const float p = std::exp(a.scale * score - a.lse[i]);
  return {p, p * (dp - a.delta[i]) * a.scale};
}

}  // namespace

void dAttendQueryScalar(const DAttendArgs& a) {
  for (int i = 0; i < a.Q; ++i) {
    for (int j = a.first == nullptr ? 0 : a.first[i]; j < a.visible[i]; ++j) {
      const StoredRow row = rowOf(a, j);
      const Pair pair = pairOf(a, i, row);
      for (int t = 0; t < a.D; ++t) a.dq[i][t] += pair.ds * keyAt(a, row, t);
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
        dk[t] += pair.ds * a.q[i][t];
        dv[t] += pair.p * a.dout[i][t];
      }
    }
  }
}

}  // namespace baton
