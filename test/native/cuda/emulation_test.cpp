// SPDX-License-Identifier: Apache-2.0
// The emulation itself: it runs what it should, and what would hang or be undefined on a device is
// a Fault that names it.
#include "emulation/cuda.h"

#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/lanes.cuh"

using namespace baton::cuda;
using namespace baton::test;
using baton::emulation::Fault;
using baton::emulation::Order;

namespace {

// What the fault says, or nothing.
std::string faultOf(unsigned threads, const std::function<void()>& kernel) {
  try {
    baton::emulation::launch(dim3(1), dim3(threads), 0, kernel);
  } catch (const Fault& fault) {
    return fault.what();
  }
  return {};
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

template <class Run>
void inBothOrders(Run run) {
  for (const Order order : {Order::kForwards, Order::kBackwards}) {
    baton::emulation::setOrder(order);
    run();
  }
  baton::emulation::setOrder(Order::kForwards);
}

// Each thread adds 1 to the counter of its own number.
void countThread(int* counters) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  ++counters[block * blockDim.x * blockDim.y * blockDim.z + thread];
}

// Thread t hands a number to the thread at the other end of the block, with a barrier or without.
void exchange(int* out, bool barrier) {
  int* shared = sharedMemory<int>();
  shared[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (barrier) __syncthreads();
  out[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

void sumBlock(double* out) {
  const double sum = overBlock(double(threadIdx.x), sharedMemory<double>(), Sum{});
  // once more with the same memory: who is late must not read the second sum in the first's place
  const double twice = overBlock(2.0 * threadIdx.x, sharedMemory<double>(), Sum{});
  out[threadIdx.x] = twice == 2 * sum ? sum : -1;
}

}  // namespace

TEST("emulated CUDA: every thread of every block runs once, with its own numbers") {
  inBothOrders([] {
    std::vector<int> counters(2 * 3 * 2 * 8 * 4 * 3);
    baton::emulation::launch(dim3(2, 3, 2), dim3(8, 4, 3), 0,
                             [&] { countThread(counters.data()); });
    CHECK(counters == std::vector<int>(counters.size(), 1));
  });
}

TEST("emulated CUDA: shuffles within groups of lanes, sums over warps and blocks") {
  inBothOrders([] {
    std::vector<int> got(64);
    baton::emulation::launch(dim3(1), dim3(64), 0, [&] {
      const unsigned mine = threadIdx.x % 32 < 16 ? 0xffffu : 0xffff0000u;
      got[threadIdx.x] = __shfl_xor_sync(mine, static_cast<int>(threadIdx.x), 5);
    });
    int wrong = 0;
    for (int t = 0; t < 64; ++t) wrong += got[static_cast<size_t>(t)] != (t ^ 5);
    CHECK_EQ(wrong, 0);
    for (const unsigned threads : {32u, 64u, 512u, 1024u}) {
      std::vector<double> sums(threads);
      baton::emulation::launch(dim3(1), dim3(threads), threads / 32 * sizeof(double),
                               [&] { sumBlock(sums.data()); });
      CHECK(sums == std::vector<double>(threads, threads * (threads - 1) / 2.0));
    }
  });
}

TEST("emulated CUDA: lanes that are read by number, votes, and a barrier of one warp") {
  inBothOrders([] {
    std::vector<int> wrong(32);
    baton::emulation::launch(dim3(1), dim3(32), 32 * sizeof(unsigned), [&] {
      const unsigned lane = threadIdx.x;
      int& bad = wrong[lane];
      bad += __shfl_sync(kAllLanes, 3 * lane, 7) != 21;
      bad += __shfl_sync(kAllLanes, lane, static_cast<int>(lane + 33)) != (lane + 1) % 32;
      bad += __ballot_sync(kAllLanes, lane % 3 == 0) != 0x49249249u;
      bad += __any_sync(kAllLanes, lane == 31) == 0 || __any_sync(kAllLanes, lane > 31) != 0;
      bad += __all_sync(kAllLanes, lane < 32) == 0 || __all_sync(kAllLanes, lane != 4) != 0;
      const unsigned half = lane < 16 ? 0xffffu : 0xffff0000u;
      bad += __all_sync(half, (lane < 16) != (lane == 20)) != (lane < 16);
      unsigned* shared = sharedMemory<unsigned>();
      shared[lane] = lane;
      __syncwarp();
      bad += shared[31 - lane] != 31 - lane;
    });
    CHECK(wrong == std::vector<int>(32, 0));
  });
}

TEST("emulated CUDA: a barrier orders threads, and where one is missing the two orders differ") {
  std::vector<std::vector<int>> with, without;
  inBothOrders([&] {
    for (const bool barrier : {true, false}) {
      std::vector<int> out(64);
      baton::emulation::launch(dim3(1), dim3(64), 64 * sizeof(int),
                               [&] { exchange(out.data(), barrier); });
      (barrier ? with : without).push_back(out);
    }
  });
  std::vector<int> reversed(64);
  std::iota(reversed.rbegin(), reversed.rend(), 0);
  CHECK(with[0] == reversed && with[1] == reversed);
  CHECK(without[0] != without[1]);
}

TEST("emulated CUDA: shared memory is NaN in every block") {
  std::vector<float> seen(3);
  baton::emulation::launch(dim3(3), dim3(1), 4, [&] {
    float* shared = sharedMemory<float>();
    seen[blockIdx.x] = shared[0];
    shared[0] = 1;
  });
  for (const float value : seen) CHECK(std::isnan(value));
}

TEST("emulated CUDA: threads that wait for what never comes are a fault that names them") {
  const auto shuffle = [](int bits) { __shfl_xor_sync(kAllLanes, 1, bits); };
  std::string text = faultOf(64, [&] {
    if (threadIdx.x != 37) shuffle(1);
  });
  CHECK(has(text, "thread 32 waits at __shfl_xor_sync with mask 0xffffffff"));
  CHECK(has(text, "thread 37 has ended"));
  text = faultOf(64, [&] {
    if (threadIdx.x == 3) __syncthreads();
    shuffle(1);
  });
  CHECK(has(text, "thread 0 waits at __shfl_xor_sync") &&
        has(text, "thread 3 waits at __syncthreads"));
  text = faultOf(64, [] {
    if (threadIdx.x < 63) __syncthreads();
  });
  CHECK(has(text, "thread 0 waits at __syncthreads") && has(text, "thread 63 has ended"));
  text = faultOf(64, [] {
    if (threadIdx.x < 32) {
      __shfl_xor_sync(threadIdx.x == 9 ? 0xfffffffeu : kAllLanes, 1, 1);
    }
  });
  CHECK(has(text, "mask 0xffffffff") &&
        has(text, "thread 9 waits at __shfl_xor_sync with mask 0xfffffffe"));
  text = faultOf(20, [&] { shuffle(1); });
  CHECK(has(text, "thread 20 does not exist"));
  text = faultOf(32, [] { __shfl_xor_sync(threadIdx.x == 0 ? 2u : kAllLanes, 1, 1); });
  CHECK(has(text, "with mask 0x00000002, which leaves it out"));
  // float and int are different shuffles
  text = faultOf(32, [] {
    if (threadIdx.x < 16) {
      __shfl_xor_sync(kAllLanes, 1, 1);
    } else {
      __shfl_xor_sync(kAllLanes, 1.0f, 1);
    }
  });
  CHECK(has(text, "thread 16 waits at __shfl_xor_sync"));
  // and so are two functions of the same type
  text = faultOf(32, [] {
    if (threadIdx.x < 16) {
      __shfl_xor_sync(kAllLanes, 1, 1);
    } else {
      __shfl_sync(kAllLanes, 1, 1);
    }
  });
  CHECK(has(text, "thread 0 waits at __shfl_xor_sync") &&
        has(text, "thread 16 waits at __shfl_sync"));
}

TEST("emulated CUDA: a lane read that takes no part, and launches that a device refuses") {
  std::string text = faultOf(32, [] {
    if (threadIdx.x < 16) __shfl_xor_sync(0xffffu, 1, 16);
  });
  CHECK(has(text, "lane 0 reads lane 16, which takes no part"));
  CHECK(has(faultOf(1025, [] {}), "1025 threads"));
  CHECK(has(faultOf(0, [] {}), "0 threads"));
  const auto refused = [](dim3 grid, size_t shared) {
    try {
      baton::emulation::launch(grid, dim3(32), shared, [] {});
    } catch (const Fault& fault) {
      return std::string(fault.what());
    }
    return std::string();
  };
  CHECK(has(refused(dim3(0), 0), "no blocks"));
  CHECK(has(refused(dim3(1, 65536), 0), "too large a grid"));
  CHECK(has(refused(dim3(1), 49153), "49153 bytes"));
  CHECK(refused(dim3(1), 49152).empty());  // and everything still runs
}
