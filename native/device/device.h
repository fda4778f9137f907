// SPDX-License-Identifier: Apache-2.0
// A device is memory, threads and a table of kernels. The CPU's table is chosen once per process
// from what CPU and OS allow, capped by BATON_ISA=scalar|avx2|avx512.
#pragma once

#include <string>
#include <vector>

#include "kernels/ops.h"

namespace baton {

const char* isaName(Isa isa);

struct KernelCheck {
  std::string op;
  Isa isa;
  double error;  // largest relative error against the scalar reference
  bool ok;
};

// The table in use. An unknown BATON_ISA value is an Error(OPTION_INVALID) naming the allowed ones.
const Ops& cpuOps();

// Tables that this machine can run, scalar first.
std::vector<const Ops*> availableOps();

// Runs every kernel of `ops` against the scalar reference on small fixed data.
std::vector<KernelCheck> selfTest(const Ops& ops);

}  // namespace baton
