// SPDX-License-Identifier: Apache-2.0
// BATON_UNROLL before a loop over an array of registers. Without it GCC unrolls too late to see
// that the array needs no memory, and stores every accumulator in every step: a factor of two to
// three.
#pragma once

#if defined(__clang__)
#define BATON_UNROLL _Pragma("unroll")
#else
#define BATON_UNROLL _Pragma("GCC unroll 16")
#endif
