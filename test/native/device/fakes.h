// SPDX-License-Identifier: Apache-2.0
// The fake driver and the fake CUDA library (fake_cuda.h) as a test has them, fresh each time.
#pragma once

#include <dlfcn.h>

#include <string>

#include "check.h"
#include "device/cuda_library.h"
#include "device/fake_cuda.h"

namespace baton::test {

template <class State>
State& stateOf(const std::string& file, const char* symbol) {
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);  // held, so that it stays as set
  void* state = library == nullptr ? nullptr : dlsym(library, symbol);
  REQUIRE(state != nullptr);
  return *static_cast<State*>(state);
}

struct Fakes {
  CudaPlaces places{folderOfThisCode() + "libbaton_fake_cuda_driver.so",
                    {folderOfThisCode() + "libbaton_fake_cuda_library.so"}};
  FakeCudaDriver& driver = stateOf<FakeCudaDriver>(places.driver, "fakeCudaDriver");
  FakeCudaLibrary& library = stateOf<FakeCudaLibrary>(places.libraries[0], "fakeCudaLibrary");

  Fakes() {
    driver = {};
    library = {};
  }
};

inline std::string factOf(const Error& error, const std::string& name) {
  for (const auto& [key, value] : error.facts()) {
    if (key != name) continue;
    const auto* text = std::get_if<std::string>(&value);
    return text == nullptr ? std::to_string(std::get<double>(value)) : *text;
  }
  return "(no such fact)";
}

}  // namespace baton::test
