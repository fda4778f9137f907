// SPDX-License-Identifier: Apache-2.0
// Qwen2 and Qwen2.5 (arXiv 2407.10671): llama with biases on Q, K and V.
#pragma once

#include "model/families/families.h"

namespace baton {

extern const Family kQwen2;

}  // namespace baton
