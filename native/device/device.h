// SPDX-License-Identifier: Apache-2.0
// A device is memory, threads and a table of kernels. The CPU's table is chosen once per process
// from what CPU and OS allow, capped by BATON_ISA=scalar|avx2|avx512|amx, and every kernel of it is
// checked against its scalar reference before anything runs on it: where one is wrong, on this
// machine or by this compiler, the next lower table's takes its place and the user is warned.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/ops.h"

namespace baton {

const char* isaName(Isa isa);

// A member of Ops that is replaced by itself.
struct KernelSlot {
  const char* name;  // as in Ops
  bool (*same)(const Ops& a, const Ops& b);
  void (*take)(Ops& to, const Ops& from);
};
std::span<const KernelSlot> kernelSlots();

struct KernelCheck {
  const KernelSlot* kernel;
  std::string op;  // the kernel and what was asked of it
  Isa isa;         // whose kernel it is: tables share what they have nothing better for
  double error;    // largest relative error against the scalar reference
  bool ok;
};

struct KernelReplacement {
  const KernelSlot* kernel;
  KernelCheck failed;  // the check that it missed by most
  Isa by;
};

struct CheckedOps {
  Ops ops;
  std::vector<KernelReplacement> replaced;  // in the order in which they were found
};

// The table in use. An unknown BATON_ISA value is an Error(OPTION_INVALID) naming the allowed ones.
const Ops& cpuOps();

// What is not as the chosen instruction set has it.
const std::vector<KernelReplacement>& replacedKernels();

// Tables that this machine can run, scalar first.
std::vector<const Ops*> availableOps();

// Runs every kernel of `ops` against the scalar reference on small fixed data.
std::vector<KernelCheck> selfTest(const Ops& ops);

// The last of `tables`, which begin with the scalar one, with every kernel that fails its checks
// taken from the table before it that has another one.
CheckedOps checkedOps(std::span<const Ops* const> tables);

// What the user is told of it (base/warnings.h).
Error replacementWarning(const KernelReplacement& one);

}  // namespace baton
