// SPDX-License-Identifier: Apache-2.0
#include "cuda/cublaslt.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace baton::cuda {
namespace {

template <class Function>
const char* find(void* library, const char* name, Function& into) {
  into = reinterpret_cast<Function>(dlsym(library, name));
  return into == nullptr ? name : nullptr;
}

// The first function that is missing, or null.
const char* findAll(void* library, CublasLt& into) {
  const char* const missing[] = {
      find(library, "cublasLtGetVersion", into.version),
      find(library, "cublasLtCreate", into.create),
      find(library, "cublasLtDestroy", into.destroy),
      find(library, "cublasLtMatmulDescCreate", into.productCreate),
      find(library, "cublasLtMatmulDescDestroy", into.productDestroy),
      find(library, "cublasLtMatmulDescSetAttribute", into.productSet),
      find(library, "cublasLtMatrixLayoutCreate", into.layoutCreate),
      find(library, "cublasLtMatrixLayoutDestroy", into.layoutDestroy),
      find(library, "cublasLtMatmulPreferenceCreate", into.preferenceCreate),
      find(library, "cublasLtMatmulPreferenceDestroy", into.preferenceDestroy),
      find(library, "cublasLtMatmulPreferenceSetAttribute", into.preferenceSet),
      find(library, "cublasLtMatmulAlgoGetHeuristic", into.heuristic),
      find(library, "cublasLtMatmul", into.multiply),
  };
  for (const char* name : missing) {
    if (name != nullptr) return name;
  }
  return nullptr;
}

struct Found {
  bool usable = false;
  CublasLt library{};
  char text[512] = {};

  Found() {
    const char* named = std::getenv("BATON_CUBLASLT");
    if (named != nullptr && std::strcmp(named, "off") == 0) {
      std::snprintf(text, sizeof text, "none: BATON_CUBLASLT is off");
      return;
    }
    const bool asked = named != nullptr && *named != '\0';
    usable = openCublasLt(asked ? named : kCublasLtFile, library, text, sizeof text);
  }
};

const Found& found() {
  static const Found instance;
  return instance;
}

}  // namespace

bool openCublasLt(const char* file, CublasLt& into, char* text, size_t textBytes) {
  void* const library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    std::snprintf(text, textBytes, "none: %s", why == nullptr ? "no reason given" : why);
    return false;
  }
  const char* const missing = findAll(library, into);
  const size_t version = missing == nullptr ? into.version() : 0;
  if (missing != nullptr) {
    std::snprintf(text, textBytes, "none: %s has no %s", file, missing);
  } else if (version / 10000 != kCublasLtMajor) {
    std::snprintf(text, textBytes, "none: %s is version %zu.%zu, %zu is needed", file,
                  version / 10000, version / 100 % 100, kCublasLtMajor);
  } else {
    std::snprintf(text, textBytes, "cuBLASLt %zu.%zu.%zu", version / 10000, version / 100 % 100,
                  version % 100);
    return true;
  }
  dlclose(library);
  return false;
}

const CublasLt* cublasLt() {
  return found().usable ? &found().library : nullptr;
}

const char* cublasLtText() {
  return found().text;
}

}  // namespace baton::cuda
