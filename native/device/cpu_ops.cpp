// SPDX-License-Identifier: Apache-2.0
// Choice of the kernel table. One choice per process, so that every engine of a process gives the
// same bits.
#include <cstdlib>
#include <cstring>

#include "base/cpu.h"
#include "base/error.h"
#include "device/device.h"

namespace baton {
namespace {

const Ops& choose() {
  Isa cap = Isa::kAvx512;
  if (const char* wanted = std::getenv("BATON_ISA"); wanted != nullptr && *wanted != '\0') {
    bool known = false;
    for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512}) {
      if (std::strcmp(wanted, isaName(isa)) != 0) continue;
      cap = isa;
      known = true;
    }
    if (!known) {
      throw Error(code::kOptionInvalid,
                  std::string("BATON_ISA is \"") + wanted +
                      "\". Allowed: scalar, avx2, avx512; or leave it unset.",
                  {{"BATON_ISA", std::string(wanted)}});
    }
  }
  const Ops* best = &kScalarOps;
  for (const Ops* ops : availableOps()) {
    if (ops->isa <= cap) best = ops;
  }
  return *best;
}

}  // namespace

const char* isaName(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "unknown";
}

std::vector<const Ops*> availableOps() {
  std::vector<const Ops*> tables{&kScalarOps};
#if defined(__x86_64__)
  if (cpuFeatures().avx2) tables.push_back(&kAvx2Ops);
  if (cpuFeatures().avx512) tables.push_back(&kAvx512Ops);
#endif
  return tables;
}

const Ops& cpuOps() {
  static const Ops& chosen = choose();
  return chosen;
}

}  // namespace baton
