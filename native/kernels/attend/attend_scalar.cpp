// SPDX-License-Identifier: Apache-2.0
// Reference of attend.h: one query at a time, in three passes.
#include <cmath>
#include <limits>

#include "kernels/attend/kv_element.h"
#include "kernels/variants.h"

namespace baton {
namespace {

const std::byte* blockOf(const AttendArgs& a, const std::byte* base, int row) {
  return base + static_cast<size_t>(a.blocks[row / kBlockRows]) * a.blockStride;
}

float rounded(float x) {
  return floatOfBfloat(bfloatOfFloat(x));
}

}  // namespace

void attendScalar(const AttendArgs& a) {
  for (int i = 0; i < a.Q; ++i) {
    const int visible = a.visible[i];
    const int first = a.first == nullptr ? 0 : a.first[i];
    float* s = a.scores + static_cast<size_t>(i) * kPieceRows;
    float* o = a.o + static_cast<size_t>(i) * a.D;
    float m = -std::numeric_limits<float>::infinity();
    // pass 1: s_j = scale * q . K_j, and the largest
    for (int j = first; j < visible; ++j) {
      const std::byte* k = blockOf(a, a.k, j);
      float dot = 0;
      for (int t = 0; t < a.D; ++t) dot += a.q[i][t] * keyElement(a.kv, k, a.D, j % 16, t);
      s[j] = a.scale * dot;
      m = s[j] > m ? s[j] : m;
    }
    // pass 2: e^(s_j - m) and their sum
    float d = 0;
    for (int j = first; j < visible; ++j) {
      s[j] = std::exp(s[j] - m);
      d += s[j];
    }
    // pass 3: o = sum_j e^(s_j - m) V_j
    for (int t = 0; t < a.D; ++t) o[t] = 0;
    for (int j = first; j < visible; ++j) {
      const std::byte* v = blockOf(a, a.v, j);
      for (int t = 0; t < a.D; ++t) o[t] += s[j] * valueElement(a.kv, v, a.D, j % 16, t);
    }
    a.m[i] = m;
    a.d[i] = d;
  }
}

void attendBf16Scalar(const AttendArgs& a) {
  for (int i = 0; i < a.Q; ++i) {
    const int visible = a.visible[i];
    const int first = a.first == nullptr ? 0 : a.first[i];
    float* s = a.scores + static_cast<size_t>(i) * kPieceRows;
    float* o = a.o + static_cast<size_t>(i) * a.D;
    float m = -std::numeric_limits<float>::infinity();
    for (int j = first; j < visible; ++j) {
      const std::byte* k = blockOf(a, a.k, j);
      float dot = 0;
      for (int t = 0; t < a.D; ++t)
        dot += rounded(a.q[i][t]) * rounded(kvStored(a.kv, k, t * kBlockRows + j % kBlockRows));
      s[j] = a.scale * kvScale(a.kv, k, a.D, j % kBlockRows) * dot;
      m = s[j] > m ? s[j] : m;
    }
    float d = 0;
    for (int t = 0; t < a.D; ++t) o[t] = 0;
    for (int j = first; j < visible; ++j) {
      const std::byte* v = blockOf(a, a.v, j);
      const float e = std::exp(s[j] - m);
      d += e;
      const float weight = rounded(e * kvScale(a.kv, v, a.D, j % kBlockRows));
      for (int t = 0; t < a.D; ++t)
        o[t] += weight * rounded(kvStored(a.kv, v, j % kBlockRows * a.D + t));
    }
    a.m[i] = m;
    a.d[i] = d;
  }
}

void mergeScalar(const MergeArgs& a) {
  const float m = *a.m > a.m2 ? *a.m : a.m2;
  if (m == -std::numeric_limits<float>::infinity()) {  // both empty
    for (int t = 0; t < a.D; ++t) a.o[t] = 0;
    *a.d = 0;
    return;
  }
  const float w1 = std::exp(*a.m - m);
  const float w2 = std::exp(a.m2 - m);
  // A side that is empty may hold anything in o, so it is left out instead of multiplied by 0.
  for (int t = 0; t < a.D; ++t) {
    const float first = w1 == 0 ? 0 : a.o[t] * w1;
    a.o[t] = w2 == 0 ? first : first + a.o2[t] * w2;
  }
  *a.d = (w1 == 0 ? 0 : *a.d * w1) + (w2 == 0 ? 0 : a.d2 * w2);
  *a.m = m;
}

}  // namespace baton
