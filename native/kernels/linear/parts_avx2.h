// SPDX-License-Identifier: Apache-2.0
// The paths that linearAvx2 chooses from. All compute columns [n0, n1) as LinearFn does.
#pragma once

#include "kernels/linear/linear.h"

namespace baton {

// Panels of 16 columns, dequantised to float32; bits of a row do not depend on R.
void linearFloatPanelsAvx2(const LinearArgs& args, int n0, int n1, void* scratch);
// Panels of 16 columns as they were packed (panels.h); bits of a row do not depend on R.
void linearInt8PanelsAvx2(const LinearArgs& args, int n0, int n1, void* scratch);
// Straight from the file layout, a few rows at a time; for few rows.
void linearFloatRowsAvx2(const LinearArgs& args, int n0, int n1);

}  // namespace baton
