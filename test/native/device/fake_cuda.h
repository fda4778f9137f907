// SPDX-License-Identifier: Apache-2.0
// What the fake driver and the fake CUDA library answer: each exports one of these, which a test
// finds by name and sets. They stand for hardware and files that are not here; what is tested is
// what loads them.
#pragma once

#include <cstdint>

struct FakeCudaDriver {  // symbol "fakeCudaDriver"
  int version = 13000;
  int initResult = 0;
  int countResult = 0;
  int deviceResult = 0;
  int devices = 1;
  int capabilityMajor = 9;
  int capabilityMinor = 0;
};

struct FakeCudaLibrary {  // symbol "fakeCudaLibrary"
  bool noTable = false;
  uint32_t abi = 0;          // 0: the one of cuda/api.h
  bool otherLayout = false;  // of the arguments of kernels
  int driverNeeded = 13000;
  int capabilityNeeded = 80;
  int probeFails = -1;  // index of a device
  int probes = 0;       // counted
  int streams = 0;      // that are open
  int streamsOf = -1;   // device of the latest
};
