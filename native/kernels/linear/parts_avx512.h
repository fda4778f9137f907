// SPDX-License-Identifier: Apache-2.0
// The paths that linearAvx512 and linearAmx choose from. All compute columns [n0, n1) as LinearFn
// does.
#pragma once

#include "kernels/linear/linear.h"

namespace baton {

// Panels of 16 columns, dequantised to float32; bits of a row do not depend on R.
void linearFloatPanelsAvx512(const LinearArgs& args, int n0, int n1, void* scratch);
// Two panels of 16 columns at a time, as they were packed (panels.h); bits of a row do not depend
// on R.
void linearInt8PanelsAvx512(const LinearArgs& args, int n0, int n1, void* scratch);
// The same bits by AMX, for sixteen rows and more.
void linearInt8PanelsAmx(const LinearArgs& args, int n0, int n1, void* scratch);

}  // namespace baton
