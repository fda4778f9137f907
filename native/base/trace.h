// SPDX-License-Identifier: Apache-2.0
// Where the time goes, as Chrome trace events (complete events, JSON array format; opened by
// chrome://tracing and Perfetto). One file per process; every model is a process of the file (pid
// 1, 2, ...), every thread that works for it a line of its own. Off, a scope costs one load and one
// branch that is always taken the same way.
//
// Events wait in a buffer per thread and are written when it is full, when an engine falls idle and
// when a model closes. A write never crosses a page of the file and holds whole events, so that a
// process that is killed at any moment leaves a file that parses once "]" is added; after the last
// model has closed it has its "]". A write that fails ends the trace with a warning, never the
// work.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/cost.h"

namespace baton::trace {

// What the machine can do with a model's threads: events say which share of it they reached.
struct Limits {
  double bytesPerSecond = 0;  // read from memory
  double flopsPerSecond = 0;  // float32
  double int8PerSecond = 0;   // operations of int8 dot products
  double bf16PerSecond = 0;   // of bfloat16 dot products; 0 where they are float32's
};

class Group;

namespace detail {
extern std::atomic<bool> on;
}

inline bool on() {
  return detail::on.load(std::memory_order_relaxed);
}

// A model's part of the file at `path`, which is made if no model of the process has it open.
// `name` is shown above its lines. Errors: IO naming path and reason; OPTION_INVALID where another
// model of this process writes another file.
std::shared_ptr<Group> join(const std::string& path, const std::string& name);

// Shown beside the name, and what the shares of the events from then on refer to.
void setLimits(Group& group, const Limits& limits);

// The calling thread's events belong to `group` (null: nobody's, and are dropped) under a line of
// that name, for as long as this lives. Without memory for it they are dropped as well.
class ThreadLine {
 public:
  ThreadLine(std::shared_ptr<Group> group, const std::string& name);
  ~ThreadLine();
  ThreadLine(const ThreadLine&) = delete;
  ThreadLine& operator=(const ThreadLine&) = delete;
};

// Writes what all threads have noted so far.
void flush();

// The end of a model's part, whose threads do nothing more: writes what they have noted, and after
// the last open model the end of the file. Idempotent.
void leave(Group& group);

// One event, from here to the end of the block. `name` and `argument` are literals.
class Scope {
 public:
  // Without figures: a step of the engine, a layer. `argument` may be null.
  explicit Scope(const char* name, const char* argument = nullptr, int64_t value = 0) {
    if (on()) begin(name, argument, value);
  }

  // An operation; `cost` is called only when it is traced, before its time begins, and returns a
  // Cost.
  template <class CostFn>
    requires requires(const CostFn& fn) { Cost(fn()); }
  Scope(const char* name, const CostFn& cost) {
    if (!on() || !wanted()) return;
    cost_ = cost();
    begin(name, nullptr, 0);
  }

  ~Scope() {
    if (line_ != nullptr) end();
  }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  // For figures that are known at its end only.
  void add(const Cost& cost) { cost_ += cost; }

 private:
  friend class Share;
  friend struct Line;
  void begin(const char* name, const char* argument, int64_t value);
  void end();
  static bool wanted();  // this thread has a line

  struct Line* line_ = nullptr;
  const Scope* outer_ = nullptr;
  const char* name_ = nullptr;
  const char* argument_ = nullptr;
  int64_t value_ = 0;
  int64_t begin_ = 0;  // ns
  Cost cost_;
};

// The innermost scope of the calling thread; null without one.
const Scope* current();

// What another thread does for a scope: an event of the same name on its own line.
class Share {
 public:
  Share(const Scope* of, int worker);
  ~Share();
  Share(const Share&) = delete;
  Share& operator=(const Share&) = delete;

 private:
  const Scope* of_;
  int64_t begin_ = 0;
};

}  // namespace baton::trace
