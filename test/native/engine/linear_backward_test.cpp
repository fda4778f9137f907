// SPDX-License-Identifier: Apache-2.0
// linearBackward() of linear_backward.h: who may round what it multiplies, and that workers
// share the columns and rows without a trace.
#include "engine/linear_backward.h"

#include <vector>

#include "check.h"
#include "kernels/support.h"
#include "quant/types.h"

using namespace baton;
using namespace baton::test;

namespace {

// What the last call was asked for. One worker: no other thread writes it.
bool asked = false;

void listen(const DLinearArgs& args, int, int, void*) {
  asked = args.bf16;
}

}  // namespace

TEST("linearBackward: bf16 is asked for where the forward is fast, but for F32 and F16 weights") {
  Ops ops = kScalarOps;
  ops.dLinear = listen;
  ThreadPool threads(1);
  Buffer scratch;
  std::vector<std::byte> bytes(quantRowBytes(quantType(DType::kF32), 256));
  std::vector<float> dy(1), dx(256);
  for (const QuantType& type : quantTypes()) {
    const Weight weight{bytes.data(), type.dtype, 1, 256};
    for (const bool fast : {false, true}) {
      linearBackward("test", ops, threads, scratch, weight, dy.data(), dx.data(), 1, false, fast);
      const bool exact = type.dtype == DType::kF32 || type.dtype == DType::kF16;
      expect(asked == (fast && !exact), __FILE__, __LINE__, type.name);
    }
  }
}

TEST("linearBackward: the same bits of two workers, in rows and columns of any number") {
  constexpr int kN = 40, kK = 160, kRows = 200;
  Random random(3);
  std::vector<float> w(size_t{kN} * kK), dy(size_t{kRows} * kN);
  random.fill(w);
  random.fill(dy);
  const Weight weight{w.data(), DType::kF32, kN, kK};
  for (const Ops* ops : availableOps()) {
    std::vector<float> whole(size_t{kRows} * kK), shared(whole.size());
    Buffer scratch(dLinearScratchBytes());
    ops->dLinear({w.data(), DType::kF32, kN, kK, dy.data(), kN, whole.data(), kK, kRows, false}, 0,
                 kK, scratch.data());
    ThreadPool threads(2);
    Buffer more;
    linearBackward("test", *ops, threads, more, weight, dy.data(), shared.data(), kRows, false,
                   false);
    CHECK(sameBits(shared.data(), whole.data(), whole.size()));
  }
}
