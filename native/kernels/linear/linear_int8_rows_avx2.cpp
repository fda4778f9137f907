// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/int8_rows_256.h"
#include "kernels/linear/parts_avx2.h"

namespace baton {
namespace {

struct DotMaddubs {  // 16-bit pairs, which fit, then 32 bits
  static __m256i unsignedBySigned(__m256i u, __m256i s) {
    return _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1));
  }
};

}  // namespace

void linearInt8RowsAvx2(const LinearArgs& a, int n0, int n1) {
  if (blockGroups(a.type) > 1) {
    linearInt8BlocksAvx2(a, n0, n1);
  } else {
    int8Rows<DotMaddubs, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1>(
        a, n0, n1);
  }
}

}  // namespace baton
