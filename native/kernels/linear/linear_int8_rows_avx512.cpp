// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/int8_rows_256.h"
#include "kernels/linear/parts_avx512.h"

namespace baton {
namespace {

// 256 bits, because a group of 32 is as wide, and reading W is the limit.
struct DotVnni {
  static __m256i unsignedBySigned(__m256i u, __m256i s) {
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), u, s);
  }
};

}  // namespace

void linearInt8RowsAvx512(const LinearArgs& a, int n0, int n1) {
  int8Rows<DotVnni, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1>(a, n0, n1);
}

}  // namespace baton
