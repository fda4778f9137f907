// SPDX-License-Identifier: Apache-2.0
// What tiles of sixteen columns end with. All local: included by instruction-set files only.
#pragma once

#include <immintrin.h>

namespace baton {
namespace {

// y[0 .. columns) (+)= values; more than sixteen columns are sixteen.
inline void storeRow512(float* y, __m512 values, int columns, bool accumulate) {
  const __mmask16 mask = static_cast<__mmask16>((1u << (columns < 16 ? columns : 16)) - 1);
  if (accumulate) values = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y), values);
  _mm512_mask_storeu_ps(y, mask, values);
}

}  // namespace
}  // namespace baton
