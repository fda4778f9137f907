// SPDX-License-Identifier: Apache-2.0
// Contracts of the backward row-wise ops: gradients with respect to what depends on live rows,
// never to a weight. Each works on rows [r0, r1), as rows.h does, and the bits of a row depend on
// that row alone.
//
// Rope is a rotation, so its backward is rope (rows.h) of the gradient at negated positions.
// Adding a bias hands the gradient on as it is.
#pragma once

namespace baton {

// y_i = x_i s w_i with s = (mean(x^2) + epsilon)^(-1/2), so
//   dx_i (+)= s w_i dy_i - x_i s^3 / M * sum_j dy_j w_j x_j.
struct DRmsNormArgs {
  const float* x;       // [R, M] what the forward read
  const float* weight;  // [M]
  const float* dy;      // [R, M]
  float* dx;            // [R, M]; may equal dy unless it accumulates
  int M;
  float epsilon;
  bool accumulate = false;  // dx += instead of dx =
};
using DRmsNormFn = void (*)(const DRmsNormArgs& args, int r0, int r1);

// out = act(gate) * up, so dup = dout * act(gate) and dgate = dout * up * act'(gate):
//   silu'(g) = s (1 + g (1 - s)),                                         s = 1 / (1 + e^-g);
//   gelu'(g) = s (1 + g (1 - s) kGeluSlope (1 + 3 kGeluCube g^2)),        s = 1 / (1 + e^-2z),
// with z and the constants of rows.h.
struct DGluArgs {
  const float* gate;  // [R, F] what the forward read
  const float* up;    // [R, F]
  const float* dout;  // [R, F]
  float* dgate;       // [R, F]; may equal gate, up or dout
  float* dup;         // [R, F]; the same, but not what dgate equals
  int F;
};
using DGluFn = void (*)(const DGluArgs& args, int r0, int r1);

}  // namespace baton
