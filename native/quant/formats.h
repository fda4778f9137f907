// SPDX-License-Identifier: Apache-2.0
// The rows of the table in types.cpp, one per format, each defined in its own file.
#pragma once

#include "quant/types.h"

namespace baton {

extern const QuantType kQuantF32;
extern const QuantType kQuantF16;
extern const QuantType kQuantBF16;
extern const QuantType kQuantQ8_0;
extern const QuantType kQuantQ4_0;
extern const QuantType kQuantQ4_1;
extern const QuantType kQuantQ5_0;
extern const QuantType kQuantQ5_1;
extern const QuantType kQuantQ4_K;
extern const QuantType kQuantQ5_K;
extern const QuantType kQuantQ6_K;

}  // namespace baton
