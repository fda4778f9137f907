// SPDX-License-Identifier: Apache-2.0
// Qwen3 (arXiv 2505.09388): llama with an RMSNorm on every head of Q and K before the rotation.
#pragma once

#include "model/families/families.h"

namespace baton {

extern const Family kQwen3;

}  // namespace baton
