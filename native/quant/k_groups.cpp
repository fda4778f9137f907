// SPDX-License-Identifier: Apache-2.0
#include "quant/k_groups.h"

#include "base/half.h"
#include "quant/blockwise.h"

namespace baton {
namespace {

constexpr int kGroups = 8;
constexpr int kMostScale = 63;

void packScales(const KGroup* groups, uint8_t* s) {
  for (int g = 0; g < 4; ++g) {
    const KGroup &first = groups[g], &second = groups[g + 4];
    s[g] = static_cast<uint8_t>(first.scale | second.scale >> 4 << 6);
    s[g + 4] = static_cast<uint8_t>(first.min | second.min >> 4 << 6);
    s[g + 8] = static_cast<uint8_t>((second.scale & 15) | (second.min & 15) << 4);
  }
}

}  // namespace

KQuants quantizeKGroups(const float* w, int most) {
  float step[kGroups], depth[kGroups];  // of a group: size of a step, distance below zero
  for (int g = 0; g < kGroups; ++g) {
    const auto [low, high] = std::minmax_element(w + 32 * g, w + 32 * (g + 1));
    depth[g] = std::max(0.0f, -*low);
    step[g] = (std::max(0.0f, *high) + depth[g]) / static_cast<float>(most);
  }
  KQuants out{};
  out.d = halfOfFloat(*std::max_element(step, step + kGroups) / kMostScale);
  out.dmin = halfOfFloat(*std::max_element(depth, depth + kGroups) / kMostScale);
  const float d = floatOfHalf(out.d), dmin = floatOfHalf(out.dmin);
  KGroup groups[kGroups];
  for (int g = 0; g < kGroups; ++g) {
    groups[g].scale = d == 0 ? 0 : roundedWithin(step[g] / d, 0, kMostScale);
    groups[g].min = dmin == 0 ? 0 : roundedWithin(depth[g] / dmin, 0, kMostScale);
    const float size = d * static_cast<float>(groups[g].scale);
    const float floor = dmin * static_cast<float>(groups[g].min);
    for (int i = 32 * g; i < 32 * (g + 1); ++i) {
      out.q[i] =
          static_cast<uint8_t>(size == 0 ? 0 : roundedWithin((w[i] + floor) / size, 0, most));
    }
  }
  packScales(groups, out.scales);
  return out;
}

}  // namespace baton
