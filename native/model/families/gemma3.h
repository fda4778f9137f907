// SPDX-License-Identifier: Apache-2.0
// Gemma 3 (arXiv 2503.19786): norms before and after attention and feed-forward, normed Q and K,
// GeGLU, scaled embeddings; five layers with a sliding window to one that reads everything.
#pragma once

#include "model/families/families.h"

namespace baton {

extern const Family kGemma3;

}  // namespace baton
