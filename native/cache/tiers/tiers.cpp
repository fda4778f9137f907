// SPDX-License-Identifier: Apache-2.0
// The table, and opening what is asked for.
#include "base/error.h"
#include "cache/tiers/tier.h"

namespace baton {

const std::vector<const TierKind*>& tierKinds() {
  static const std::vector<const TierKind*> all{&kHostTier, &kDiskTier};
  return all;
}

std::vector<std::unique_ptr<Tier>> openTiers(const std::vector<TierSpec>& specs,
                                             const TierContent& content, const Policy& policy) {
  std::vector<std::unique_ptr<Tier>> tiers;
  for (const TierKind* kind : tierKinds()) {
    for (const TierSpec& spec : specs) {
      if (spec.name != kind->name) continue;
      if (spec.bytes < content.blockBytes) {
        throw Error(code::kOptionInvalid,
                    "the " + spec.name + " tier has " + std::to_string(spec.bytes) +
                        " bytes, less than one block of " + std::to_string(content.blockBytes) +
                        "; give it more, or leave it out",
                    {{"tier", spec.name},
                     {"bytes", double(spec.bytes)},
                     {"blockBytes", double(content.blockBytes)}});
      }
      tiers.push_back(std::make_unique<Tier>(spec.name, kind->open(spec, content), policy));
    }
  }
  return tiers;
}

}  // namespace baton
