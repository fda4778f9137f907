// SPDX-License-Identifier: Apache-2.0
// int8 arithmetic of linear.h in tiles, for more than kFewRows rows or with `invariant` (ops.h).
#pragma once

#include "kernels/linear/linear.h"

namespace baton {

// xq and the panels begin at 16 bytes.
void linearInt8TilesCuda(const LinearArgs& args, int n0, int n1);

}  // namespace baton
