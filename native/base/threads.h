// SPDX-License-Identifier: Apache-2.0
// A persistent pool: `run` has every worker call the function once and returns when all are done;
// the caller is worker 0. Workers spin briefly for the next run, then sleep, so an idle engine uses
// no CPU. Exceptions must not leave the function.
#pragma once

#include <atomic>
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

  // fn(int begin, int end, int worker) over [0, count) in chunks of `grain` that workers take as
  // they come free.
  template <class Fn>
  void forEach(int count, int grain, const Fn& fn) {
    if (count <= 0) return;
    if (workers_ == 1 || count <= grain) {
      fn(0, count, 0);
      return;
    }
    std::atomic<int> next{0};
    run([&](int worker) {
      for (;;) {
        const int begin = next.fetch_add(grain, std::memory_order_relaxed);
        if (begin >= count) return;
        fn(begin, begin + grain < count ? begin + grain : count, worker);
      }
    });
  }

 private:
  void runErased(void (*fn)(const void*, int), const void* context);

  struct State;
  int workers_;
  std::unique_ptr<State> state_;
};

}  // namespace baton
