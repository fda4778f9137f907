// SPDX-License-Identifier: Apache-2.0
// Wrong kernels in tables of their own: what is put in their place, and what is said of it.
#include <cstdlib>
#include <limits>
#include <string>
#include <thread>

#include "base/warnings.h"
#include "check.h"
#include "device/device.h"

using namespace baton;
using namespace baton::test;

namespace {

// A tenth too much in one element of the last row.
void wrongRmsnorm(const RmsNormArgs& a, int r0, int r1) {
  kScalarOps.rmsnorm(a, r0, r1);
  a.y[static_cast<size_t>(r1 * a.M) - 1] += 0.1f;
}

void nanMerge(const MergeArgs& a) {
  kScalarOps.merge(a);
  a.o[0] = std::numeric_limits<float>::quiet_NaN();
}

// Right for many rows, wrong for one alone.
void wrongVector(const LinearArgs& a, int n0, int n1, void* scratch) {
  kScalarOps.linear(a, n0, n1, scratch);
  if (a.R == 1 && a.type == DType::kQ5_K && a.xq != nullptr) a.y[n0] *= 2;
}

// Stands for a table of its own: as the scalar one, with other addresses where a test says so.
Ops table(Isa isa) {
  Ops ops = kScalarOps;
  ops.isa = isa;
  return ops;
}

}  // namespace

TEST("device: a wrong kernel is replaced by the next table's, and by no other than its own") {
  Ops top = *availableOps().back();
  top.rmsnorm = wrongRmsnorm;
  std::vector<const Ops*> tables = availableOps();
  if (tables.size() == 1) {
    top.isa = Isa::kAvx2;
    tables.push_back(&top);
  } else {
    tables.back() = &top;
  }
  const CheckedOps checked = checkedOps(tables);
  REQUIRE(checked.replaced.size() == 1);
  const KernelReplacement& one = checked.replaced[0];
  const Ops& below = *tables[tables.size() - 2];
  CHECK(std::string(one.kernel->name) == "rmsnorm");
  CHECK(one.failed.op.starts_with("rmsnorm"));
  CHECK(one.failed.isa == top.isa);
  CHECK(one.by == below.isa);
  CHECK(one.failed.error > 0.01 && one.failed.error < 1);
  for (const KernelSlot& slot : kernelSlots()) {
    CHECK(slot.same(checked.ops, &slot == one.kernel ? below : top));
  }
  for (const KernelCheck& check : selfTest(checked.ops)) CHECK(check.ok);
}

TEST("device: a kernel that is wrong in two tables comes from the one below both") {
  Ops middle = table(Isa::kAvx2), top = table(Isa::kAvx512);
  middle.merge = nanMerge;
  top.merge = nanMerge;  // shared, as the real tables share what they have nothing better for
  middle.rmsnorm = wrongRmsnorm;
  const Ops* const tables[] = {&kScalarOps, &middle, &top};
  const CheckedOps shared = checkedOps(tables);
  REQUIRE(shared.replaced.size() == 1);  // rmsnorm of `top` is right
  CHECK(shared.replaced[0].failed.isa == Isa::kAvx2);
  CHECK(shared.replaced[0].by == Isa::kScalar);
  CHECK_EQ(shared.replaced[0].failed.error, std::numeric_limits<double>::infinity());

  top.merge = kScalarOps.merge;
  top.rmsnorm = [](const RmsNormArgs& a, int r0, int r1) { wrongRmsnorm(a, r0, r1); };
  const CheckedOps both = checkedOps(tables);
  REQUIRE(both.replaced.size() == 2);
  CHECK(both.replaced[0].failed.isa == Isa::kAvx512);
  CHECK(both.replaced[0].by == Isa::kAvx2);
  CHECK(both.replaced[1].failed.isa == Isa::kAvx2);
  CHECK(both.replaced[1].by == Isa::kScalar);
  CHECK(both.ops.rmsnorm == kScalarOps.rmsnorm);
}

TEST("device: a kernel that is wrong for one form of one weight type is found") {
  Ops top = table(Isa::kAvx2);
  top.linear = wrongVector;
  const Ops* const tables[] = {&kScalarOps, &top};
  const CheckedOps checked = checkedOps(tables);
  REQUIRE(checked.replaced.size() == 1);
  CHECK(checked.replaced[0].failed.op == "linear int8 Q5_K vector");
  CHECK(checked.ops.linear == kScalarOps.linear);
}

TEST("device: without products of bfloat16 below, a wrong kernel of them leaves the table none") {
  Ops middle = table(Isa::kAvx2), top = table(Isa::kAvx512);
  middle.linearBf16 = nullptr;
  top.linearBf16 = [](const LinearArgs& a, int n0, int n1, void* scratch) {
    kScalarOps.linearBf16(a, n0, n1, scratch);
    a.y[n1 - 1] += 0.1f;
  };
  const Ops* const tables[] = {&kScalarOps, &middle, &top};
  const CheckedOps checked = checkedOps(tables);
  REQUIRE(checked.replaced.size() == 1);
  CHECK(checked.replaced[0].failed.isa == Isa::kAvx512);
  CHECK(checked.replaced[0].by == Isa::kAvx2);
  CHECK(checked.ops.linearBf16 == nullptr);
  for (const KernelCheck& check : selfTest(checked.ops)) CHECK(check.ok);
}

TEST("device: right tables stay as they are, and the reference is taken at its word") {
  CHECK(checkedOps(availableOps()).replaced.empty());
  const Ops* const alone[] = {&kScalarOps};
  CHECK(checkedOps(alone).replaced.empty());
  CHECK(replacedKernels().empty());
  CHECK(availableOps().back() == &cpuOps() || std::getenv("BATON_ISA") != nullptr);
}

TEST("device: the warning of a replaced kernel names kernel, instruction sets and error, once") {
  Ops top = table(Isa::kAvx512);
  top.rmsnorm = wrongRmsnorm;
  const Ops* const tables[] = {&kScalarOps, &top};
  takeWarnings();
  warn(replacementWarning(checkedOps(tables).replaced.at(0)));
  const std::vector<Error> warnings = takeWarnings();
  REQUIRE(warnings.size() == 1);
  const std::string message = warnings[0].what();
  CHECK(std::string(warnings[0].code()) == "KERNEL_REPLACED");
  for (const char* part : {"avx512 kernel \"rmsnorm\"", "scalar kernel", "error", "doctor"}) {
    CHECK(message.find(part) != std::string::npos);
  }
  CHECK_EQ(warnings[0].facts().size(), 5u);
  CHECK(takeWarnings().empty());
}

TEST("base: warnings of many threads are kept up to 64, and taken once") {
  takeWarnings();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 40; ++i) warn(Error(code::kTraceEnded, "x"));
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(takeWarnings().size(), 64u);
  CHECK(takeWarnings().empty());
}
