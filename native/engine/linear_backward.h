// SPDX-License-Identifier: Apache-2.0
// Backward of a linear layer on all workers of a CPU.
#pragma once

#include "base/buffer.h"
#include "base/threads.h"
#include "kernels/ops.h"
#include "model/model.h"

namespace baton {

// dx[R, K] (+)= dy[R, N] W[N, K] on all workers. `scratch` grows to dLinearScratchBytes() a worker.
// `name` is what the trace calls it. `fast`: the forward may round activations, and this what it
// multiplies, to bfloat16 (dlinear.h); F32 and F16 weights are not rounded in either.
void linearBackward(const char* name, const Ops& ops, ThreadPool& threads, Buffer& scratch,
                    const Weight& weight, const float* dy, float* dx, int rows, bool accumulate,
                    bool fast);

}  // namespace baton
