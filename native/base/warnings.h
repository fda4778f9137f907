// SPDX-License-Identifier: Apache-2.0
// What went wrong without failing anything: a kernel that was replaced, a trace that ended early.
// Native code prints nothing, so warnings wait here, for the whole process, until TypeScript takes
// them and tells the user; each is told once, by whoever asks first.
#pragma once

#include <vector>

#include "base/error.h"

namespace baton {

// Stable across releases, as the codes of errors are.
namespace code {
inline constexpr const char* kKernelReplaced = "KERNEL_REPLACED";
inline constexpr const char* kTraceEnded = "TRACE_ENDED";
inline constexpr const char* kTierEnded = "TIER_ENDED";
}  // namespace code

// Any thread. Beyond 64 that nobody has taken, further ones are dropped.
void warn(Error warning);

// Those since the last call, oldest first.
std::vector<Error> takeWarnings();

}  // namespace baton
