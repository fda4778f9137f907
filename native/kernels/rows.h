// SPDX-License-Identifier: Apache-2.0
// Contracts of the row-wise ops. Each works on rows [r0, r1) of its arguments, so the engine splits
// rows over workers; the bits of a row depend on that row alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace baton {

// out[r] = row tokens[r] of the embedding table, dequantised to float32, times scale.
struct EmbedArgs {
  const void* table;  // [V, M] of DType `type`, begins where one of its blocks may
  DType type;
  int M;
  const int32_t* tokens;  // [R]; a negative id leaves out[r] as it is (a soft row)
  float* out;             // [R, M]
  float scale = 1.0f;
};
using EmbedFn = void (*)(const EmbedArgs& args, int r0, int r1);

// RMSNorm (arXiv 1910.07467): y = x / sqrt(mean(x^2) + epsilon) * weight.
struct RmsNormArgs {
  const float* x;       // [R, M]
  const float* weight;  // [M]
  float* y;             // [R, M]; may equal x unless it accumulates
  int M;
  float epsilon;
  bool accumulate = false;  // y += instead of y =
};
using RmsNormFn = void (*)(const RmsNormArgs& args, int r0, int r1);

// y[r] += bias.
struct AddBiasArgs {
  const float* bias;  // [N]
  float* y;           // [R, N]
  int N;
};
using AddBiasFn = void (*)(const AddBiasArgs& args, int r0, int r1);

// Groups of 32 to int8: d = max|x| / 127, q = round to nearest even(x * (127 / max|x|)), |q| <=
// 127, s = d * sum(q). A group below 1e-30 is zero and has d = 0. Every table gives the same bits.
struct QuantizeArgs {
  const float* x;  // [R, K]
  int8_t* q;       // [R, K]
  float* d;        // [R, K / 32]
  float* s;        // [R, K / 32]
  int K;           // multiple of 32
};
using QuantizeFn = void (*)(const QuantizeArgs& args, int r0, int r1);

// rmsnorm and quantize of its rows in one, with the bits that one after the other would give.
struct RmsNormQuantizeArgs {
  const float* x;       // [R, M]
  const float* weight;  // [M]
  float* y;             // [R, M] the normed rows, or null where nobody reads them; may equal x
  int8_t* q;            // [R, M]
  float* d;             // [R, M / 32]
  float* s;             // [R, M / 32]
  int M;                // multiple of 32
  float epsilon;
};
using RmsNormQuantizeFn = void (*)(const RmsNormQuantizeArgs& args, int r0, int r1);

// To bfloat16, to nearest even; subnormal numbers are kept, NaN stays NaN. Every table gives the
// same bits.
struct ToBf16Args {
  const float* x;  // [R, K]
  uint16_t* out;   // [R, K]
  int K;           // multiple of 32
};
using ToBf16Fn = void (*)(const ToBf16Args& args, int r0, int r1);

enum class RopePairing : uint8_t {
  kAdjacent,  // pairs (2i, 2i + 1): llama family in GGUF order
  kHalves,    // pairs (i, i + D/2): Hugging Face order
};

// Rotary embedding (arXiv 2104.09864): pair i of a head at position p turns by p * theta_i.
// `cos`/`sin` hold positions 0 .. P-1; a negative position turns the other way.
struct RopeArgs {
  const float* x;  // [R, heads, D], row stride ldx
  int ldx;
  float* out;  // [R, heads, D], row stride ldo; may equal x
  int ldo;
  int heads, D;              // D is a multiple of 16
  const float* cos;          // [P, D / 2]
  const float* sin;          // [P, D / 2]
  const int32_t* positions;  // [R], |p| < P
  RopePairing pairing;
};
using RopeFn = void (*)(const RopeArgs& args, int r0, int r1);

// Writes K (already rotated) and V of new rows into their pool blocks in the layout of attend.h.
// int8: of each row and head  scale = float16(min(max |x| / 127, 65504)),  quant = x / scale to the
// nearest integer, halves to even, kept within 127; a row that holds NaN has a scale of NaN.
struct KvStoreArgs {
  const float* k;  // [R, G, D], row stride ldk
  int ldk;
  const float* v;  // [R, G, D], row stride ldv
  int ldv;
  int G, D;  // D is a multiple of 16
  KvType kv;
  std::byte* kBase;      // K of this layer, kv head 0, block 0
  std::byte* vBase;      // V of this layer, kv head 0, block 0
  size_t headStride;     // bytes from one kv head to the next
  size_t blockStride;    // bytes from one block to the next
  const int32_t* block;  // [R]
  const int32_t* slot;   // [R] row inside the block, 0 .. 15
};
using KvStoreFn = void (*)(const KvStoreArgs& args, int r0, int r1);

// Gated units (arXiv 2002.05202). SwiGLU: out = silu(gate) * up, silu(g) = g / (1 + e^-g).
// GeGLU: out = gelu(gate) * up with the tanh form of GELU (arXiv 1606.08415, section 2):
//   gelu(g) = g / 2 * (1 + tanh(z)) = g / (1 + e^-2z),  z = sqrt(2 / pi) * (g + 0.044715 g^3).
struct GluArgs {
  const float* gate;  // [R, F]
  const float* up;    // [R, F]
  float* out;         // [R, F]; may equal gate
  int F;
};
using GluFn = void (*)(const GluArgs& args, int r0, int r1);

// 2 sqrt(2 / pi) and the factor of g^3 in GeGLU.
inline constexpr float kGeluSlope = 1.5957691216f;
inline constexpr float kGeluCube = 0.044715f;

}  // namespace baton
