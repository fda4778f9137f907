// SPDX-License-Identifier: Apache-2.0
#include "device/limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>

#include "device/device.h"

namespace baton {
namespace {

// Results of the loops go here, so that they are not left out.
std::atomic<uint64_t> sink;

template <class Fn>
double bestSeconds(int times, const Fn& fn) {
  double best = 1e9;
  for (int i = 0; i < times; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    fn();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    best = std::min(best, took.count());
  }
  return best;
}

}  // namespace

const Probes& cpuProbes() {
#if defined(__x86_64__)
  if (cpuOps().isa == Isa::kAmx) return kAmxProbes;
  if (cpuOps().isa == Isa::kAvx512) return kAvx512Probes;
  if (cpuOps().isa == Isa::kAvx2) return kAvx2Probes;
#endif
  return kScalarProbes;
}

void spinFma(ThreadPool& threads, const Probes& probes, int64_t rounds) {
  threads.run([&](int) { sink += static_cast<uint64_t>(probes.fma(rounds)); });
}

void spinInt8(ThreadPool& threads, const Probes& probes, int64_t rounds) {
  threads.run([&](int) { sink += static_cast<uint64_t>(probes.int8(rounds)); });
}

void spinBf16(ThreadPool& threads, const Probes& probes, int64_t rounds) {
  threads.run([&](int) { sink += static_cast<uint64_t>(probes.bf16(rounds) != 0); });
}

void readPasses(ThreadPool& threads, const Probes& probes, const Buffer& buffer, int passes) {
  const size_t part = buffer.size() / static_cast<size_t>(threads.workers());
  threads.run([&](int worker) {
    const std::byte* from = buffer.data() + static_cast<size_t>(worker) * part;
    for (int pass = 0; pass < passes; ++pass) sink += probes.read(from, part);
  });
}

Buffer probeBuffer(const ThreadPool& threads, size_t bytes) {
  const size_t unit = kProbeBytes * static_cast<size_t>(threads.workers());
  Buffer buffer((bytes + unit - 1) / unit * unit);
  std::memset(buffer.data(), 1, buffer.size());
  return buffer;
}

trace::Limits measureLimits(ThreadPool& threads) {
  static std::mutex mutex;
  static std::map<int, trace::Limits> known;
  const std::lock_guard lock(mutex);
  const auto found = known.find(threads.workers());
  if (found != known.end()) return found->second;
  constexpr int64_t kRounds = 50'000;
  constexpr int kTimes = 8;
  const Probes& probes = cpuProbes();
  const double rounds = static_cast<double>(kRounds) * threads.workers();
  trace::Limits limits;
  limits.flopsPerSecond =
      probes.fmaFlops * rounds / bestSeconds(kTimes, [&] { spinFma(threads, probes, kRounds); });
  if (probes.int8 != nullptr) {
    limits.int8PerSecond =
        probes.int8Ops * rounds / bestSeconds(kTimes, [&] { spinInt8(threads, probes, kRounds); });
  }
  if (probes.bf16 != nullptr) {
    limits.bf16PerSecond = probes.bf16Flops * rounds /
                           bestSeconds(kTimes, [&] { spinBf16(threads, probes, kRounds); });
  }
  const Buffer buffer = probeBuffer(threads, size_t{64} << 20);
  limits.bytesPerSecond = static_cast<double>(buffer.size()) /
                          bestSeconds(3, [&] { readPasses(threads, probes, buffer, 1); });
  known.emplace(threads.workers(), limits);
  return limits;
}

}  // namespace baton
