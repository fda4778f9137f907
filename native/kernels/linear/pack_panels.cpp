// SPDX-License-Identifier: Apache-2.0
// Once for each weight, when a model is opened; read by the codec of its format.
#include <cstring>

#include "kernels/linear/panels.h"
#include "quant/k_groups.h"

namespace baton {
namespace {

using Columns = const std::byte* [kPanelColumns];  // the same block of each

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

uint32_t load(const std::byte* at) {
  uint32_t bytes;
  std::memcpy(&bytes, at, sizeof bytes);
  return bytes;
}

// The low bits of elements 4 p .. 4 p + 3 of group g, a byte each, with other bits above them.
template <DType type>
uint32_t lowBits(const std::byte* block, int g, int p) {
  if constexpr (type == DType::kQ8_0) {
    return load(block + offsetof(BlockQ8_0, q) + 4 * p);
  } else if constexpr (type == DType::kQ6_K) {
    const std::byte* low = block + offsetof(BlockQ6_K, low) + 64 * (g / 4) + 32 * (g % 2);
    return load(low + 4 * p) >> (g % 4 / 2 * 4);
  } else if constexpr (blockGroups(type) > 1) {
    const std::byte* low = block + blockBytes(type) - 128 + 32 * (g / 2);
    return load(low + 4 * p) >> (g % 2 * 4);
  } else {
    const std::byte* low = block + blockBytes(type) - 16;
    return load(low + p % 4 * 4) >> (p / 4 * 4);
  }
}

// The same of the bits above the lowest four.
template <DType type>
uint32_t highBits(const std::byte* block, int g, int p) {
  if constexpr (type == DType::kQ6_K) {
    return load(block + offsetof(BlockQ6_K, high) + 32 * (g / 4) + 4 * p) >> (g % 4 * 2);
  } else if constexpr (type == DType::kQ5_K) {
    return load(block + offsetof(BlockQ5_K, high) + 4 * p) >> g;
  } else {
    const uint32_t four = load(block + blockBytes(type) - 20) >> (4 * p) & 15;
    return four * 0x00204081;  // bit i goes to bit 8 i, among others
  }
}

template <DType type, int bits, uint32_t (*bitsOf)(const std::byte*, int, int)>
void packPlane(const Columns& at, int g, std::byte* out) {
  constexpr int kEach = 8 / bits;
  constexpr uint32_t kMask = 0x01010101u * ((1 << bits) - 1);
  for (int first = 0; first < kPanelVectors; first += kEach, out += kPanelVectorBytes) {
    uint32_t bytes[kPanelVectorBytes / 4] = {};
    for (int i = 0; i < kEach; ++i) {
      const int v = first + i;
      for (int c = 0; c < 8; ++c) {
        bytes[c] |= (bitsOf(at[v % 2 * 8 + c], g, v / 2) & kMask) << (bits * i);
      }
    }
    std::memcpy(out, bytes, sizeof bytes);
  }
}

template <DType type>
void packBlock(const Columns& at, std::byte* out) {
  constexpr Planes kPlanes = planesOf(type);
  packScales(type, at, out);
  out += panelScaleBytes(type);
  for (int g = 0; g < blockGroups(type); ++g, out += panelGroupBytes(type)) {
    packPlane<type, kPlanes.low, lowBits<type>>(at, g, out);
    if constexpr (kPlanes.high > 0) {
      packPlane<type, kPlanes.high, highBits<type>>(at, g, out + planeBytes(kPlanes.low));
    }
  }
}

template <DType type>
void packPanel(Columns& at, int K, std::byte* out) {
  for (int k = 0; k < K; k += 32 * blockGroups(type), out += panelBlockBytes(type)) {
    packBlock<type>(at, out);
    for (const std::byte*& block : at) block += blockBytes(type);
  }
}

}  // namespace

void packPanels(DType type, const void* weight, int N, int K, int first, int last,
                std::byte* panels) {
  const auto* rows = static_cast<const std::byte*>(weight);
  for (int panel = first; panel < last; ++panel) {
    std::byte* out = panels + static_cast<size_t>(panel) * panelBytes(type, K);
    Columns at;
    for (int c = 0; c < kPanelColumns; ++c) {
      const int n = kPanelColumns * panel + c;
      at[c] = rows + static_cast<size_t>(n < N ? n : N - 1) * rowBytes(type, K);
    }
    withType(type, [&](auto known) {
      constexpr DType kType = decltype(known)::value;
      if constexpr (isInteger(kType)) packPanel<kType>(at, K, out);
    });
  }
}

}  // namespace baton
