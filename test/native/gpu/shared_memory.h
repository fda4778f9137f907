// SPDX-License-Identifier: Apache-2.0
// Memory that host and device share, from which `new` takes in this program.
#pragma once

#include <string>

namespace baton::test {

// Whether there is any; without, `new` takes the host's.
bool isShared();
std::string whyNotShared();

}  // namespace baton::test
