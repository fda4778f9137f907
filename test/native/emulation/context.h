// SPDX-License-Identifier: Apache-2.0
// Where a stack was left, and how to go on there. There are thousands of switches in a launch, so
// on x86-64 one is a few instructions: swapcontext asks the operating system each time.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace baton::emulation {

#if defined(__x86_64__)
struct Context {
  void* top = nullptr;
};
#else
using Context = ucontext_t;
#endif

// Comes back when somebody switches to `from`.
void switchStack(Context* from, const Context* to);

// `begin` is entered as if it had been called, and never returns.
void prepareStack(Context& context, char* memory, size_t bytes, void (*begin)());

}  // namespace baton::emulation
