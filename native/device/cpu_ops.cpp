// SPDX-License-Identifier: Apache-2.0
// Choice of the kernel table. One choice per process, so that every engine of a process gives the
// same bits.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/cpu.h"
#include "base/error.h"
#include "base/warnings.h"
#include "device/device.h"

namespace baton {
namespace {

template <auto member>
constexpr KernelSlot slot(const char* name) {
  return {name, [](const Ops& a, const Ops& b) { return a.*member == b.*member; },
          [](Ops& to, const Ops& from) { to.*member = from.*member; }};
}

constexpr KernelSlot kSlots[] = {
    slot<&Ops::linear>("linear"),
    slot<&Ops::linearBf16>("linearBf16"),
    slot<&Ops::attend>("attend"),
    slot<&Ops::attendBf16>("attendBf16"),
    slot<&Ops::merge>("merge"),
    slot<&Ops::embed>("embed"),
    slot<&Ops::rmsnorm>("rmsnorm"),
    slot<&Ops::addBias>("addBias"),
    slot<&Ops::quantize>("quantize"),
    slot<&Ops::rmsnormQuantize>("rmsnormQuantize"),
    slot<&Ops::toBf16>("toBf16"),
    slot<&Ops::rope>("rope"),
    slot<&Ops::kvStore>("kvStore"),
    slot<&Ops::swiglu>("swiglu"),
    slot<&Ops::geglu>("geglu"),
    slot<&Ops::dLinear>("dLinear"),
    slot<&Ops::dRmsnorm>("dRmsnorm"),
    slot<&Ops::dSwiglu>("dSwiglu"),
    slot<&Ops::dGeglu>("dGeglu"),
    slot<&Ops::crossEntropy>("crossEntropy"),
    slot<&Ops::dAttendQuery>("dAttendQuery"),
    slot<&Ops::dAttendKey>("dAttendKey"),
    slot<&Ops::squareSums>("squareSums"),
    slot<&Ops::adamw>("adamw"),
};
// A kernel without a slot could be wrong for ever: Ops is its instruction set and a pointer each.
static_assert(sizeof(Ops) == (1 + std::size(kSlots)) * sizeof(void*), "a kernel has no slot");

Isa isaCap() {
  const char* wanted = std::getenv("BATON_ISA");
  if (wanted == nullptr || *wanted == '\0') return Isa::kAmx;
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAmx}) {
    if (std::strcmp(wanted, isaName(isa)) == 0) return isa;
  }
  throw Error(code::kOptionInvalid,
              std::string("BATON_ISA is \"") + wanted +
                  "\". Allowed: scalar, avx2, avx512, amx; or leave it unset.",
              {{"BATON_ISA", std::string(wanted)}});
}

struct Chosen {
  const Ops* ops;  // a table as it is, or checked.ops
  CheckedOps checked;
};

// Never moved: `ops` may point into it.
const Chosen& chosen() {
  static const struct Once : Chosen {
    Once() {
      const Isa cap = isaCap();
      std::vector<const Ops*> tables;
      for (const Ops* table : availableOps()) {
        if (table->isa <= cap) tables.push_back(table);
      }
      checked = checkedOps(tables);
      ops = checked.replaced.empty() ? tables.back() : &checked.ops;
      for (const KernelReplacement& one : checked.replaced) warn(replacementWarning(one));
    }
  } once;
  return once;
}

// The failed check with the largest error of each kernel.
std::vector<KernelCheck> worstFailures(const std::vector<KernelCheck>& checks) {
  std::vector<KernelCheck> worst;
  for (const KernelCheck& check : checks) {
    if (check.ok) continue;
    const auto found = std::find_if(worst.begin(), worst.end(), [&](const KernelCheck& other) {
      return other.kernel == check.kernel;
    });
    if (found == worst.end()) {
      worst.push_back(check);
    } else if (check.error > found->error) {
      *found = check;
    }
  }
  return worst;
}

}  // namespace

std::span<const KernelSlot> kernelSlots() {
  return kSlots;
}

const char* isaName(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAmx:
      return "amx";
    case Isa::kCuda:
      return "cuda";
  }
  return "unknown";
}

std::vector<const Ops*> availableOps() {
  std::vector<const Ops*> tables{&kScalarOps};
#if defined(__x86_64__)
  if (cpuFeatures().avx2) tables.push_back(&kAvx2Ops);
  if (cpuFeatures().avx512) tables.push_back(&kAvx512Ops);
  if (cpuFeatures().amx) tables.push_back(&kAmxOps);
#endif
  return tables;
}

CheckedOps checkedOps(std::span<const Ops* const> tables) {
  CheckedOps checked{*tables.back(), {}};
  if (tables.size() == 1) return checked;  // the reference itself
  for (;;) {
    bool replaced = false;
    for (KernelCheck& failed : worstFailures(selfTest(checked.ops))) {
      const KernelSlot& kernel = *failed.kernel;
      // From the top: tables above the wrong kernel's own have been passed already.
      size_t at = tables.size() - 1;
      while (at > 0 && !kernel.same(*tables[at], checked.ops)) --at;
      while (at > 0 && kernel.same(*tables[at], checked.ops)) --at;
      if (kernel.same(*tables[at], checked.ops)) continue;  // the reference: nothing is below it
      failed.isa = tables[at + 1]->isa;
      kernel.take(checked.ops, *tables[at]);
      checked.replaced.push_back({&kernel, std::move(failed), tables[at]->isa});
      replaced = true;
    }
    if (!replaced) return checked;
  }
}

Error replacementWarning(const KernelReplacement& one) {
  char error[32];
  std::snprintf(error, sizeof error, "%.3g", one.failed.error);
  return Error(code::kKernelReplaced,
               std::string("The ") + isaName(one.failed.isa) + " kernel \"" + one.kernel->name +
                   "\" is wrong on this machine: its error against the reference is " + error +
                   " in \"" + one.failed.op + "\". The " + isaName(one.by) +
                   " kernel runs in its place. Please report the output of `baton doctor --json`.",
               {{"kernel", std::string(one.kernel->name)},
                {"check", one.failed.op},
                {"isa", std::string(isaName(one.failed.isa))},
                {"error", one.failed.error},
                {"by", std::string(isaName(one.by))}});
}

const Ops& cpuOps() {
  return *chosen().ops;
}

const std::vector<KernelReplacement>& replacedKernels() {
  return chosen().checked.replaced;
}

}  // namespace baton
