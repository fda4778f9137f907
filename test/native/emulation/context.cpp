// SPDX-License-Identifier: Apache-2.0
#include "emulation/context.h"

#include <cstdint>

#if defined(__x86_64__)
// What a function must keep is put on the stack that is left, and taken from the other one.
extern "C" void batonSwitchStack(void** from, void* to);
asm(R"(
.text
.type batonSwitchStack, @function
batonSwitchStack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size batonSwitchStack, . - batonSwitchStack
)");
#endif

namespace baton::emulation {

#if defined(__x86_64__)
void switchStack(Context* from, const Context* to) {
  batonSwitchStack(&from->top, to->top);
}

void prepareStack(Context& context, char* memory, size_t bytes, void (*begin)()) {
  constexpr int kRegisters = 6;
  auto** top = reinterpret_cast<void**>((reinterpret_cast<uintptr_t>(memory) + bytes) / 16 * 16);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(begin);
  for (int i = 0; i < kRegisters; ++i) *--top = nullptr;
  context.top = top;
}
#else
void switchStack(Context* from, const Context* to) {
  swapcontext(from, to);
}

void prepareStack(Context& context, char* memory, size_t bytes, void (*begin)()) {
  getcontext(&context);
  context.uc_stack.ss_sp = memory;
  context.uc_stack.ss_size = bytes;
  context.uc_link = nullptr;
  makecontext(&context, begin, 0);
}
#endif

}  // namespace baton::emulation
