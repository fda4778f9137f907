// SPDX-License-Identifier: Apache-2.0
// A persistent pool: `run` has every worker call the function once and returns when all are done;
// the caller is worker 0. Workers spin briefly for the next run, then sleep, so an idle engine uses
// no CPU. Exceptions must not leave the function.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace baton {

class ThreadPool {
 public:
  explicit ThreadPool(int workers);  // at least 1; workers - 1 threads are started
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int workers() const { return workers_; }

  // fn(int worker) on each worker. Not reentrant; one caller at a time.
  template <class Fn>
  void run(const Fn& fn) {
    runErased([](const void* context, int worker) { (*static_cast<const Fn*>(context))(worker); },
              &fn);
  }

  // fn(int begin, int end, int worker) over [0, count) in chunks of `grain`. Each worker has a part
  // of its own, which it takes in ascending order: what lies in memory in that order is then one
  // stream for it, which CPUs fetch ahead of it. Who comes free takes of what the others have left.
  template <class Fn>
  void forEach(int count, int grain, const Fn& fn) {
    if (count <= 0) return;
    if (workers_ == 1 || count <= grain) {
      fn(0, count, 0);
      return;
    }
    for (int part = 0; part < workers_; ++part) {
      parts_[part].next.store(partBegin(count, part), std::memory_order_relaxed);
    }
    run([&](int worker) {
      for (int i = 0, part = worker; i < workers_; ++i, part = part + 1 < workers_ ? part + 1 : 0) {
        const int last = partBegin(count, part + 1);
        std::atomic<int>& next = parts_[part].next;
        while (next.load(std::memory_order_relaxed) < last) {
          const int begin = next.fetch_add(grain, std::memory_order_relaxed);
          if (begin >= last) break;
          fn(begin, begin + grain < last ? begin + grain : last, worker);
        }
      }
    });
  }

 private:
  void runErased(void (*fn)(const void*, int), const void* context);

  int partBegin(int count, int part) const {
    return static_cast<int>(int64_t{count} * part / workers_);
  }

  struct alignas(64) Part {
    std::atomic<int> next{0};  // the first of it that nobody took
  };
  struct State;
  int workers_;
  std::unique_ptr<Part[]> parts_;
  std::unique_ptr<State> state_;
};

// What the calling thread does from now on can wait: it takes CPU time that others leave, where the
// system knows such a thing.
void lowerThreadPriority() noexcept;

}  // namespace baton
