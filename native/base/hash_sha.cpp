// SPDX-License-Identifier: Apache-2.0
// The compression function of SHA-256 with x86's SHA instructions (Intel SDM, volume 2: SHA256RNDS2
// and the two for the message schedule). They want the state as {a, b, e, f} and {c, d, g, h} and
// do two rounds at a time, with the round constants already added to the words.
#include "base/cpu.h"
#include "base/hash.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define BATON_SHA __attribute__((target("sha,sse4.1")))

namespace baton::sha256 {
namespace {

BATON_SHA __m128i loadBigEndian(const uint8_t* words) {
  const __m128i reversed = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  return _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)), reversed);
}

// w[t .. t + 3] of those 16, 12, 8 and 4 before.
BATON_SHA __m128i nextWords(__m128i w16, __m128i w12, __m128i w8, __m128i w4) {
  const __m128i w7 = _mm_alignr_epi8(w4, w8, 4);
  return _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w16, w12), w7), w4);
}

BATON_SHA void compressWithSha(State& state, const uint8_t* blocks, size_t count) {
  auto* const words = reinterpret_cast<__m128i*>(state.data());
  const __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128(words), 0xb1);
  const __m128i fehg = _mm_shuffle_epi32(_mm_loadu_si128(words + 1), 0xb1);
  __m128i abef = _mm_unpacklo_epi64(fehg, badc);  // the lowest lane is f
  __m128i cdgh = _mm_unpackhi_epi64(fehg, badc);
  for (; count > 0; --count, blocks += 64) {
    const __m128i abefBefore = abef, cdghBefore = cdgh;
    __m128i w[4];
    for (int i = 0; i < 4; ++i) w[i] = loadBigEndian(blocks + 16 * i);
    for (int t = 0; t < 64; t += 4) {
      const auto* const constants = reinterpret_cast<const __m128i*>(kRound + t);
      const __m128i added = _mm_add_epi32(w[0], _mm_load_si128(constants));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, added);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(added, 0x0e));
      const __m128i next = nextWords(w[0], w[1], w[2], w[3]);  // of the last rounds it goes unused
      w[0] = w[1], w[1] = w[2], w[2] = w[3], w[3] = next;
    }
    abef = _mm_add_epi32(abef, abefBefore);
    cdgh = _mm_add_epi32(cdgh, cdghBefore);
  }
  _mm_storeu_si128(words, _mm_shuffle_epi32(_mm_unpackhi_epi64(abef, cdgh), 0xb1));
  _mm_storeu_si128(words + 1, _mm_shuffle_epi32(_mm_unpacklo_epi64(abef, cdgh), 0xb1));
}

}  // namespace

Compress compressSha() {
  return cpuFeatures().sha ? compressWithSha : nullptr;
}

}  // namespace baton::sha256

#else

namespace baton::sha256 {
Compress compressSha() {
  return nullptr;
}
}  // namespace baton::sha256

#endif
