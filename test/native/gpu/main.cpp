// SPDX-License-Identifier: Apache-2.0
// The tests of CUDA's operations on a real device, the same that run emulated everywhere: all that
// they allocate, stacks included, is memory that host and device share, and a launch ends before
// the call returns. Without a device every test is skipped and says why.
#include <cuda_runtime.h>
#include <pthread.h>

#include <string>

#include "check.h"
#include "gpu/shared_memory.h"

using namespace baton::test;

namespace {

constexpr size_t kStackBytes = size_t{64} << 20;

// After an error of a kernel nothing runs on the device any more, so the first test that had one is
// told by its own message, and those after it by theirs.
void checkDevice(const Case& test) {
  cudaError_t error = cudaDeviceSynchronize();
  if (error == cudaSuccess) error = cudaGetLastError();
  if (error == cudaSuccess) return;
  noteFailed(test.file, test.line, std::string("the device: ") + cudaGetErrorString(error));
}

void onDevice(Case& test) {
  test.run = [run = test.run, named = Case{test.name, test.file, test.line, {}}] {
    if (!isShared()) throw Skipped{"no CUDA device: " + whyNotShared()};
    run();
    checkDevice(named);
  };
}

struct Arguments {
  int count;
  char** values;
};

void* runOnSharedStack(void* given) {
  const auto& arguments = *static_cast<const Arguments*>(given);
  runTests(arguments.count, arguments.values);
  return nullptr;
}

}  // namespace

int main(int count, char** values) {
  for (Case& test : cases()) onDevice(test);
  Arguments arguments{count, values};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  if (isShared()) pthread_attr_setstack(&attributes, ::operator new(kStackBytes), kStackBytes);
  pthread_t thread;
  if (pthread_create(&thread, &attributes, runOnSharedStack, &arguments) != 0) return 1;
  pthread_join(thread, nullptr);
  return 0;
}
