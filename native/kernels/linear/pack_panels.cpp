// SPDX-License-Identifier: Apache-2.0
// Once for each weight, when a model is opened; read by the codec of its format.
#include <cstring>

#include "kernels/linear/panels.h"
#include "quant/k_groups.h"
#include "quant/types.h"

namespace baton {
namespace {

constexpr int kMostElements = 256;  // of a block

using Columns = const std::byte* [kPanelColumns];  // the same block of each
using Vectors = uint8_t[kPanelVectors][kPanelVectorBytes];

std::byte* packHalves(const Columns& at, size_t offset, std::byte* out) {
  for (const std::byte* block : at) {
    std::memcpy(out, block + offset, 2);
    out += 2;
  }
  return out;
}

void packScales(DType type, const Columns& at, std::byte* out) {
  if (type == DType::kQ6_K) {
    out = packHalves(at, offsetof(BlockQ6_K, d), out);
    for (size_t section = 0; section < 16; ++section) {
      for (const std::byte* block : at) *out++ = block[offsetof(BlockQ6_K, scales) + section];
    }
    return;
  }
  const bool isSuper = blockGroups(type) > 1;
  out = packHalves(at, 0, out);
  if (storesOffset(type) || isSuper) out = packHalves(at, 2, out);
  if (!isSuper) return;
  static_assert(offsetof(BlockQ4_K, scales) == offsetof(BlockQ5_K, scales));
  for (int g = 0; g < blockGroups(type); ++g, out += 2 * kPanelColumns) {
    for (int c = 0; c < kPanelColumns; ++c) {
      const auto* scales = reinterpret_cast<const uint8_t*>(at[c] + offsetof(BlockQ4_K, scales));
      const KGroup group = kGroupOf(scales, g);
      out[c] = static_cast<std::byte>(group.scale);
      out[kPanelColumns + c] = static_cast<std::byte>(group.min);
    }
  }
}

// quants: [16][kMostElements], of which group g.
void gather(const int8_t (*quants)[kMostElements], int g, int lowest, Vectors& vectors) {
  for (int c = 0; c < kPanelColumns; ++c) {
    for (int step = 0; step < 8; ++step) {
      std::memcpy(&vectors[2 * step + c / 8][c % 8 * 4], quants[c] + 32 * g + 4 * step, 4);
    }
  }
  if (lowest == 0) return;
  for (auto& vector : vectors) {
    for (uint8_t& value : vector) value = static_cast<uint8_t>(value - lowest);
  }
}

// `bits` of each quant from bit `from` on. Constants, so that the compiler makes vectors of it.
template <int from, int bits>
void packPlane(const Vectors& vectors, std::byte* out) {
  constexpr int kEach = 8 / bits, kMask = (1 << bits) - 1;
  for (int first = 0; first < kPanelVectors; first += kEach, out += kPanelVectorBytes) {
    uint8_t bytes[kPanelVectorBytes] = {};
    for (int i = 0; i < kEach; ++i) {
      for (int j = 0; j < kPanelVectorBytes; ++j) {
        const int part = vectors[first + i][j] >> from & kMask;
        bytes[j] = static_cast<uint8_t>(bytes[j] | part << (bits * i));
      }
    }
    std::memcpy(out, bytes, sizeof bytes);
  }
}

void packPlanes(const Planes& planes, const Vectors& vectors, std::byte* out) {
  if (planes.low == 8) return packPlane<0, 8>(vectors, out);
  packPlane<0, 4>(vectors, out);
  if (planes.high == 1) packPlane<4, 1>(vectors, out + planeBytes(4));
  if (planes.high == 2) packPlane<4, 2>(vectors, out + planeBytes(4));
}

void packBlock(const QuantType& type, const Columns& at, std::byte* out) {
  int8_t quants[kPanelColumns][kMostElements];
  float unused[kMostElements / kSection];
  for (int c = 0; c < kPanelColumns; ++c) {
    type.unpack(at[c], quants[c], unused, unused, static_cast<size_t>(type.blockElements));
  }
  packScales(type.dtype, at, out);
  out += panelScaleBytes(type.dtype);
  const Planes planes = planesOf(type.dtype);
  Vectors vectors;
  for (int g = 0; g < blockGroups(type.dtype); ++g, out += panelGroupBytes(type.dtype)) {
    gather(quants, g, type.dtype == DType::kQ6_K ? -32 : 0, vectors);
    packPlanes(planes, vectors, out);
  }
}

}  // namespace

void packPanels(DType dtype, const void* weight, int N, int K, int first, int last,
                std::byte* panels) {
  const QuantType& type = quantType(dtype);
  const auto* rows = static_cast<const std::byte*>(weight);
  const size_t stride = quantRowBytes(type, K);
  for (int panel = first; panel < last; ++panel) {
    std::byte* out = panels + static_cast<size_t>(panel) * panelBytes(dtype, K);
    Columns at;
    for (int c = 0; c < kPanelColumns; ++c) {
      const int n = kPanelColumns * panel + c;
      at[c] = rows + static_cast<size_t>(n < N ? n : N - 1) * stride;
    }
    for (int k = 0; k < K; k += type.blockElements, out += panelBlockBytes(dtype)) {
      packBlock(type, at, out);
      for (const std::byte*& block : at) block += type.blockBytes;
    }
  }
}

}  // namespace baton
