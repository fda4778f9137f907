// SPDX-License-Identifier: Apache-2.0
#include "base/threads.h"

#if defined(__linux__)
#include <sched.h>
#include <sys/resource.h>
#elif defined(__APPLE__)
#include <pthread.h>
#endif

#include <chrono>
#include <cstdint>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/trace.h"

namespace baton {
namespace {

// Long enough to bridge the serial code between two ops of a layer and between two tokens, short
// enough that an idle engine is asleep before anyone could measure it.
constexpr std::chrono::microseconds kSpin{150};

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int currentCpu() {
#if defined(__linux__)
  return ::sched_getcpu();
#else
  return -1;
#endif
}

// Moves the calling thread to another CPU than `cpu` where it may; afterwards it may run where it
// could before.
void leaveCpu([[maybe_unused]] int cpu) {
#if defined(__linux__)
  cpu_set_t allowed;
  if (cpu < 0 || cpu >= CPU_SETSIZE) return;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t others = allowed;
  CPU_CLR(static_cast<size_t>(cpu), &others);
  if (CPU_COUNT(&others) == 0) return;
  if (::sched_setaffinity(0, sizeof others, &others) == 0) {
    ::sched_setaffinity(0, sizeof allowed, &allowed);
  }
#endif
}

// Spins until `value` differs from `old`, for at most kSpin; then sleeps on it. Returns the new
// value, and in `slept` whether it slept.
template <class T>
T awaitChange(const std::atomic<T>& value, T old, bool* slept = nullptr) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      const T now = value.load(std::memory_order_acquire);
      if (now != old) return now;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  if (slept != nullptr) *slept = true;
  value.wait(old, std::memory_order_acquire);
  return value.load(std::memory_order_acquire);
}

}  // namespace

struct ThreadPool::State {
  // A run: fn, context and traced are written, `pending` set, then `generation` raised (release). A
  // worker that saw the new generation (acquire) calls fn and lowers `pending` (release); the
  // caller returns when it reads 0 (acquire).
  void (*fn)(const void*, int) = nullptr;
  const void* context = nullptr;
  const trace::Scope* traced = nullptr;  // what the run belongs to, while it is traced
  bool stop = false;
  alignas(64) std::atomic<uint32_t> generation{0};
  alignas(64) std::atomic<int32_t> pending{0};
  std::atomic<int> callerCpu{-1};
  std::vector<std::thread> threads;

  void work(int worker) {
    uint32_t seen = 0;
    for (;;) {
      uint32_t now = generation.load(std::memory_order_acquire);
      bool slept = false;
      while (now == seen) now = awaitChange(generation, seen, &slept);
      seen = now;
      if (stop) return;
      if (slept) leaveCaller();
      {
        const trace::Share share(traced, worker);
        fn(context, worker);
      }
      if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1) pending.notify_one();
    }
  }

  // Kernels wake a thread where its waker runs, and leave it there: the two then take turns, each
  // after the other's spinning, and every run takes a hundred microseconds more.
  void leaveCaller() const {
    const int cpu = callerCpu.load(std::memory_order_relaxed);
    if (cpu >= 0 && cpu == currentCpu()) leaveCpu(cpu);
  }

  void release() {
    callerCpu.store(currentCpu(), std::memory_order_relaxed);
    generation.fetch_add(1, std::memory_order_release);
    generation.notify_all();
  }

  void join() {
    stop = true;
    release();
    for (std::thread& thread : threads) thread.join();
  }
};

ThreadPool::ThreadPool(int workers)
    : workers_(workers),
      parts_(workers > 1 ? std::make_unique<Part[]>(static_cast<size_t>(workers)) : nullptr),
      state_(std::make_unique<State>()) {
  if (workers < 1) {
    throw Error(code::kOptionInvalid,
                "threads must be at least 1, got " + std::to_string(workers) + ".",
                {{"threads", static_cast<double>(workers)}});
  }
  try {
    state_->threads.reserve(static_cast<size_t>(workers));
    for (int worker = 1; worker < workers; ++worker) {
      state_->threads.emplace_back([state = state_.get(), worker] { state->work(worker); });
    }
  } catch (const std::system_error& error) {
    state_->join();
    throw Error(code::kOptionInvalid,
                "Could not start " + std::to_string(workers) + " threads: " + error.what() +
                    ". Ask for fewer threads or raise the process limit (ulimit -u).",
                {{"threads", static_cast<double>(workers)}});
  } catch (...) {  // no memory for one of them
    state_->join();
    throw;
  }
}

ThreadPool::~ThreadPool() {
  state_->join();
}

void ThreadPool::runErased(void (*fn)(const void*, int), const void* context) {
  State& state = *state_;
  if (workers_ == 1) {
    fn(context, 0);
    return;
  }
  state.fn = fn;
  state.context = context;
  state.traced = trace::current();
  state.pending.store(workers_ - 1, std::memory_order_relaxed);
  state.release();
  fn(context, 0);
  int32_t left = state.pending.load(std::memory_order_acquire);
  while (left != 0) left = awaitChange(state.pending, left);
}

void lowerThreadPriority() noexcept {
#if defined(__linux__)
  // Of nice: a tenth of what a thread that does not give way gets. 19 would be a seventieth, and
  // who waits for a lock that such a thread holds would wait for that.
  constexpr int kNice = 10;
  ::setpriority(PRIO_PROCESS, 0, kNice);  // 0: of this thread alone, on Linux
#elif defined(__APPLE__)
  pthread_set_qos_class_self_np(QOS_CLASS_UTILITY, 0);
#endif
}

}  // namespace baton
