// SPDX-License-Identifier: Apache-2.0
// Buffers, 16-bit floats and the thread pool.
#if defined(__linux__)
#include <sched.h>
#endif

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <thread>
#include <vector>

#include "base/buffer.h"
#include "base/half.h"
#include "base/threads.h"
#include "check.h"

using namespace baton;

TEST("buffer: aligned, movable, and a typed error for what cannot be had") {
  for (const size_t alignment : {size_t{64}, size_t{4096}}) {
    Buffer buffer(1000, alignment);
    CHECK_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % alignment, 0u);
    CHECK_EQ(buffer.size(), 1000u);
    const std::byte* const data = buffer.data();
    Buffer moved = std::move(buffer);
    CHECK(moved.data() == data);
    buffer = std::move(moved);
    CHECK(buffer.data() == data);
  }
  CHECK(Buffer().data() == nullptr);
  CHECK(Buffer(0).data() == nullptr);
  CHECK_THROWS("OUT_OF_MEMORY", Buffer(size_t{1} << 60));
}

TEST("half: every float16 survives the way through float32") {
  int wrong = 0;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = floatOfHalf(half);
    if (std::isnan(value)) {
      wrong += !((bits & 0x7c00) == 0x7c00 && (bits & 0x3ff) != 0);
      wrong += !std::isnan(floatOfHalf(halfOfFloat(value)));
    } else {
      wrong += halfOfFloat(value) != half;
    }
  }
  CHECK_EQ(wrong, 0);
}

TEST("half: known values and ties to even") {
  CHECK_EQ(halfOfFloat(1.0f), 0x3c00);
  CHECK_EQ(halfOfFloat(-2.0f), 0xc000);
  CHECK_EQ(halfOfFloat(65504.0f), 0x7bff);
  CHECK_EQ(halfOfFloat(65519.99f), 0x7bff);
  CHECK_EQ(halfOfFloat(65520.0f), 0x7c00);
  CHECK_EQ(halfOfFloat(0x1p-24f), 0x0001);
  CHECK_EQ(halfOfFloat(0x1p-25f), 0x0000);
  CHECK_EQ(halfOfFloat(0x1.000002p-25f), 0x0001);
  CHECK_EQ(halfOfFloat(1.0f + 0x1p-11f), 0x3c00);
  CHECK_EQ(halfOfFloat(1.0f + 0x3p-11f), 0x3c02);
  CHECK_EQ(halfOfFloat(std::numeric_limits<float>::infinity()), 0x7c00);
  CHECK_EQ(bfloatOfFloat(1.0f), 0x3f80);
  CHECK_EQ(bfloatOfFloat(1.0f + 0x1p-8f), 0x3f80);
  CHECK_EQ(bfloatOfFloat(1.0f + 0x3p-8f), 0x3f82);
  CHECK(std::isnan(floatOfBfloat(bfloatOfFloat(std::numeric_limits<float>::quiet_NaN()))));
}

TEST("threads: every worker runs once per run, and the caller sees what it wrote") {
  for (const int workers : {1, 2, 3, 8}) {
    ThreadPool pool(workers);
    CHECK_EQ(pool.workers(), workers);
    std::vector<int> counts(static_cast<size_t>(workers), 0);
    constexpr int kRuns = 2000;
    int late = 0;
    for (int run = 1; run <= kRuns; ++run) {
      pool.run([&](int worker) { ++counts[static_cast<size_t>(worker)]; });
      for (const int count : counts) late += count != run;
    }
    CHECK_EQ(late, 0);
  }
}

TEST("threads: forEach covers each index once, whatever the grain") {
  ThreadPool pool(4);
  for (const int count : {0, 1, 7, 16, 1000}) {
    for (const int grain : {1, 3, 16, 5000}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
      pool.forEach(count, grain, [&](int begin, int end, int worker) {
        if (worker < 0 || worker >= 4) seen[0].store(99);
        for (int i = begin; i < end; ++i) seen[static_cast<size_t>(i)].fetch_add(1);
      });
      int wrong = 0;
      for (const auto& times : seen) wrong += times.load() != 1;
      CHECK_EQ(wrong, 0);
    }
  }
}

TEST("threads: a chunk of forEach lies in the part of one worker") {
  constexpr int kWorkers = 3, kCount = 100;
  ThreadPool pool(kWorkers);
  std::atomic<int> across{0};
  pool.forEach(kCount, 7, [&](int begin, int end, int) {
    for (int part = 1; part < kWorkers; ++part) {
      const int border = kCount * part / kWorkers;
      if (begin < border && end > border) ++across;
    }
  });
  CHECK_EQ(across.load(), 0);
}

#if defined(__linux__)
TEST("threads: a worker that left the CPU of its caller may run where it could before") {
  cpu_set_t allowed;
  CHECK_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  ThreadPool pool(3);
  std::atomic<int> different{0};
  for (int run = 0; run < 50; ++run) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // longer than workers spin
    pool.run([&](int) {
      cpu_set_t now;
      const bool same = sched_getaffinity(0, sizeof now, &now) == 0 && CPU_EQUAL(&now, &allowed);
      if (!same) ++different;
    });
  }
  CHECK_EQ(different.load(), 0);
}
#endif

TEST("threads: pools come and go, also while their workers sleep") {
  for (int round = 0; round < 200; ++round) {
    ThreadPool pool(3);
    std::atomic<int> sum{0};
    if (round % 2 == 0) pool.run([&](int worker) { sum += worker; });
    CHECK_EQ(sum.load(), round % 2 == 0 ? 3 : 0);
  }
}

TEST("threads: fewer than one worker is refused") {
  CHECK_THROWS("OPTION_INVALID", ThreadPool(0));
  CHECK_THROWS("OPTION_INVALID", ThreadPool(-3));
}
