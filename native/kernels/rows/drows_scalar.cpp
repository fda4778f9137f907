// SPDX-License-Identifier: Apache-2.0
// References of drows.h.
#include <cmath>

#include "kernels/rows.h"
#include "kernels/variants.h"

namespace baton {
namespace {

// act(g) and its derivative.
struct Activation {
  float value, slope;
};

// g s and s (1 + g (1 - s) inner), s = 1 / (1 + e^-x). Where s is 0 or 1 in float32 the last term
// is left out: `inner` of a large g may be infinite.
Activation gated(float g, float x, float inner) {
  const float s = 1.0f / (1.0f + std::exp(-x));
  const float turning = s * (1.0f - s);
  return {g * s, turning == 0 ? s : s + g * turning * inner};
}

Activation silu(float g) {
  return gated(g, g, 1.0f);
}

Activation gelu(float g) {
  const float twice = kGeluSlope * (g + kGeluCube * g * g * g);
  return gated(g, twice, kGeluSlope * (1.0f + 3.0f * kGeluCube * g * g));
}

void dGlu(const DGluArgs& a, int r0, int r1, Activation (*act)(float)) {
  const size_t end = static_cast<size_t>(r1) * a.F;
  for (size_t i = static_cast<size_t>(r0) * a.F; i < end; ++i) {
    const Activation gate = act(a.gate[i]);
    const float up = a.up[i], dout = a.dout[i];
    a.dgate[i] = dout * up * gate.slope;
    a.dup[i] = dout * gate.value;
  }
}

}  // namespace

void dRmsnormScalar(const DRmsNormArgs& a, int r0, int r1) {
  for (int r = r0; r < r1; ++r) {
    const size_t row = static_cast<size_t>(r) * a.M;
    const float* x = a.x + row;
    const float* dy = a.dy + row;
    float* dx = a.dx + row;
    float squares = 0, dot = 0;
    for (int i = 0; i < a.M; ++i) {
      squares += x[i] * x[i];
      dot += dy[i] * a.weight[i] * x[i];
    }
    const auto M = static_cast<float>(a.M);
    const float mean = squares / M + a.epsilon;
    const float scale = 1.0f / std::sqrt(mean);
    const float along = dot / M / mean;  // s^2 / M * sum, the share of x
    for (int i = 0; i < a.M; ++i) {
      const float value = scale * (a.weight[i] * dy[i] - along * x[i]);
      dx[i] = a.accumulate ? dx[i] + value : value;
    }
  }
}

void dSwigluScalar(const DGluArgs& a, int r0, int r1) {
  dGlu(a, r0, r1, silu);
}

void dGegluScalar(const DGluArgs& a, int r0, int r1) {
  dGlu(a, r0, r1, gelu);
}

}  // namespace baton
