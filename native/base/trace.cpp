// SPDX-License-Identifier: Apache-2.0
#include "base/trace.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/trace_file.h"
#include "base/warnings.h"

namespace baton::trace {
namespace {

constexpr size_t kEvents = 512;  // of a thread, that wait to be written

struct Event {
  const char* name;
  const char* argument;  // or null
  int64_t value;
  int64_t begin, end;  // ns
  Cost cost;
};

std::vector<Event> buffer() {
  std::vector<Event> events;
  events.reserve(kEvents);
  return events;
}

int64_t now() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

}  // namespace

namespace detail {
std::atomic<bool> on{false};
}

class Group {
 public:
  Group(int number, Limits at) : pid(number), limits(at) {}
  ~Group() { leave(*this); }

  const int pid;
  Limits limits;
  std::atomic<bool> open{true};
};

// A thread's line of the file. Its thread notes events, whoever flushes takes them.
struct Line {
  std::mutex mutex;
  std::vector<Event> events;
  std::shared_ptr<Group> group;
  int tid = 0;

  void note(const Event& event);
};

namespace {

// Innermost scope and line of this thread.
thread_local const Scope* scopeHere = nullptr;
thread_local Line* lineHere = nullptr;

// What the shares of limits need: the shortest time that the cost can take, and why.
struct Least {
  double seconds;
  const char* bound;
};

Least leastTime(const Cost& cost, const Limits& limits) {
  const double memory = limits.bytesPerSecond > 0 ? cost.bytes / limits.bytesPerSecond : 0;
  double compute = 0;
  const bool bf16 = limits.bf16PerSecond > 0;
  const double apart = cost.int8 + (bf16 ? cost.bf16 : 0);
  if (limits.flopsPerSecond > 0) compute += (cost.flops - apart) / limits.flopsPerSecond;
  if (bf16) compute += cost.bf16 / limits.bf16PerSecond;
  if (limits.int8PerSecond > 0) compute += cost.int8 / limits.int8PerSecond;
  return memory >= compute ? Least{memory, "memory"} : Least{compute, "compute"};
}

std::string arguments(const Event& event, const Limits& limits) {
  std::string text;
  char part[160];
  const auto add = [&](int length) {
    text += text.empty() ? "" : ",";
    text.append(part, static_cast<size_t>(length));
  };
  const auto whole = [](double value) { return static_cast<long long>(value); };
  const Cost& cost = event.cost;
  if (event.argument != nullptr) {
    add(std::snprintf(part, sizeof part, "\"%s\":%lld", event.argument,
                      static_cast<long long>(event.value)));
  }
  if (cost.rows > 0) {
    add(std::snprintf(part, sizeof part, "\"rows\":%lld", static_cast<long long>(cost.rows)));
  }
  if (cost.bytes > 0 || cost.flops > 0) {
    add(std::snprintf(part, sizeof part, "\"bytes\":%lld,\"FLOP\":%lld", whole(cost.bytes),
                      whole(cost.flops)));
    const Least least = leastTime(cost, limits);
    const double tenths = least.seconds * 1e9 / static_cast<double>(event.end - event.begin) * 1e3;
    if (least.seconds > 0 && event.end > event.begin) {
      add(std::snprintf(part, sizeof part, "\"%% of limit\":%lld.%lld,\"bound\":\"%s\"",
                        whole(tenths) / 10, whole(tenths) % 10, least.bound));
    }
  }
  return text;
}

// All of the process. Never destroyed: threads may end after static objects do. exit() in the
// middle of the work, which is what process.exit() comes to, closes no model, so that the file is
// ended then.
class Session {
 public:
  static Session& here() {
    static Session* const session = [] {
      std::atexit([] { here().end(); });
      return new Session;
    }();
    return *session;
  }

  std::shared_ptr<Group> join(const std::string& path, const std::string& name) {
    std::shared_ptr<Group> group;  // its end would lock as well
    const std::lock_guard lock(mutex_);
    if (open_ > 0 && path != file_.path()) {
      throw Error(code::kOptionInvalid,
                  "BATON_TRACE is \"" + path +
                      "\", but a model of this process writes its trace to \"" + file_.path() +
                      "\". Close that model first, or name the same file.",
                  {{"BATON_TRACE", path}, {"open", file_.path()}});
    }
    if (open_ == 0 && !file_.open(path)) groups_ = lines_ = 0;  // a new one
    group = std::make_shared<Group>(++groups_, Limits{});
    ++open_;
    attempt([&] {
      describe(*group, "process_name", name);
      file_.flush();  // nothing at all would not parse
    });
    detail::on.store(file_.isOpen());
    return group;
  }

  void setLimits(Group& group, const Limits& limits) {
    const std::lock_guard lock(mutex_);
    group.limits = limits;
    char text[160];
    std::snprintf(
        text, sizeof text,
        "limits: read %.1f GB/s, float32 %.0f GFLOP/s, int8 %.0f GOP/s, bf16 %.0f GFLOP/s",
        1e-9 * limits.bytesPerSecond, 1e-9 * limits.flopsPerSecond, 1e-9 * limits.int8PerSecond,
        1e-9 * limits.bf16PerSecond);
    attempt([&] { describe(group, "process_labels", text); });
  }

  void add(Line& line, const std::string& name) {
    const std::lock_guard lock(mutex_);
    line.tid = ++lines_;
    all_.push_back(&line);
    attempt([&] {
      file_.append(
          "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":" + std::to_string(line.group->pid) +
          ",\"tid\":" + std::to_string(line.tid) + ",\"args\":{\"name\":" + quoted(name) + "}}");
    });
  }

  void remove(Line& line) {
    const std::lock_guard lock(mutex_);
    write(line);
    std::erase(all_, &line);
  }

  void flush(Line& line) {
    const std::lock_guard lock(mutex_);
    write(line);
  }

  void flushAll() {
    const std::lock_guard lock(mutex_);
    for (Line* line : all_) write(*line);
    attempt([&] { file_.flush(); });
  }

  void end() {
    const std::lock_guard lock(mutex_);
    detail::on.store(false);
    for (Line* line : all_) write(*line);
    attempt([&] { file_.finish(); });
    file_.close();
  }

  void leave(Group& group) {
    const std::lock_guard lock(mutex_);
    if (!group.open.load()) return;
    for (Line* line : all_) write(*line);
    group.open.store(false);
    attempt([&] { file_.finish(); });
    if (--open_ > 0) return;
    detail::on.store(false);
    file_.close();
  }

 private:
  // What fails ends the trace and nothing else: events are noted where nothing may be thrown.
  template <class Fn>
  void attempt(const Fn& fn) {
    if (!file_.isOpen()) return;
    try {
      fn();
    } catch (const Error& error) {
      abandon(error);
    } catch (const std::bad_alloc&) {
      abandon(Error(code::kTraceEnded, "The trace (BATON_TRACE) ends here: no memory left for it.",
                    {}));
    }
  }

  void abandon(const Error& error) {
    detail::on.store(false);
    file_.close();
    try {
      warn(error);
    } catch (const std::bad_alloc&) {  // nor for the warning
    }
  }

  void describe(const Group& group, const char* what, const std::string& text) {
    const char* const key = what == std::string("process_name") ? "name" : "labels";
    file_.append(std::string("{\"name\":\"") + what + "\",\"ph\":\"M\",\"pid\":" +
                 std::to_string(group.pid) + ",\"args\":{\"" + key + "\":" + quoted(text) + "}}");
  }

  void write(Line& line) {
    spare_.clear();
    {
      const std::lock_guard lock(line.mutex);
      spare_.swap(line.events);
    }
    if (!line.group->open.load()) return;
    attempt([&] {
      for (const Event& event : spare_) file_.append(text(event, line));
    });
  }

  std::string text(const Event& event, const Line& line) const {
    char head[256];
    const int64_t at = event.begin - epoch_, took = event.end - event.begin;
    const auto micro = [](int64_t ns) { return static_cast<long long>(ns / 1000); };
    const auto rest = [](int64_t ns) { return static_cast<int>(ns % 1000); };
    std::snprintf(head, sizeof head,
                  "{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"X\",\"ts\":%lld.%03d,\"dur\":%lld.%03d,"
                  "\"pid\":%d,\"tid\":%d,\"args\":{",
                  event.name, event.cost.bytes > 0 ? "op" : "step", micro(at), rest(at),
                  micro(took), rest(took), line.group->pid, line.tid);
    return head + arguments(event, line.group->limits) + "}}";
  }

  std::mutex mutex_;
  TraceFile file_;
  int open_ = 0;                // models
  int groups_ = 0, lines_ = 0;  // so far in the file
  std::vector<Line*> all_;
  std::vector<Event> spare_ = buffer();  // changes places with that of a line that is written
  const int64_t epoch_ = now();
};

// A thread's line ends with the thread.
struct Holder {
  std::unique_ptr<Line> line;

  void set(std::shared_ptr<Group> group, const std::string& name) noexcept {
    reset();
    if (group == nullptr) return;
    try {
      auto made = std::make_unique<Line>();
      made->group = std::move(group);
      made->events = buffer();
      Session::here().add(*made, name);
      line = std::move(made);
      lineHere = line.get();
    } catch (const std::bad_alloc&) {
    }
  }
  void reset() {
    lineHere = nullptr;
    if (line != nullptr) Session::here().remove(*line);
    line.reset();
  }
  ~Holder() { reset(); }
};

thread_local Holder holderHere;

}  // namespace

void Line::note(const Event& event) {
  size_t waiting;
  {
    const std::lock_guard lock(mutex);
    events.push_back(event);
    waiting = events.size();
  }
  if (waiting < kEvents) return;
  const int64_t begin = now();
  Session::here().flush(*this);
  const std::lock_guard lock(mutex);
  events.push_back({"trace write", nullptr, 0, begin, now(), {}});
}

std::shared_ptr<Group> join(const std::string& path, const std::string& name) {
  return Session::here().join(path, name);
}

void setLimits(Group& group, const Limits& limits) {
  Session::here().setLimits(group, limits);
}

void flush() {
  Session::here().flushAll();
}

void leave(Group& group) {
  Session::here().leave(group);
}

ThreadLine::ThreadLine(std::shared_ptr<Group> group, const std::string& name) {
  holderHere.set(std::move(group), name);
}

ThreadLine::~ThreadLine() {
  holderHere.reset();
}

void Scope::begin(const char* name, const char* argument, int64_t value) {
  if (!wanted()) return;
  line_ = lineHere;
  outer_ = std::exchange(scopeHere, this);
  name_ = name;
  argument_ = argument;
  value_ = value;
  begin_ = now();
}

bool Scope::wanted() {
  return lineHere != nullptr && lineHere->group->open.load(std::memory_order_relaxed);
}

void Scope::end() {
  const int64_t end = now();
  scopeHere = outer_;
  line_->note({name_, argument_, value_, begin_, end, cost_});
}

const Scope* current() {
  return on() ? scopeHere : nullptr;
}

Share::Share(const Scope* of, int worker) : of_(of) {
  if (of_ == nullptr) return;
  if (lineHere == nullptr) holderHere.set(of_->line_->group, "worker " + std::to_string(worker));
  if (lineHere == nullptr) of_ = nullptr;
  begin_ = now();
}

Share::~Share() {
  if (of_ != nullptr) lineHere->note({of_->name_, nullptr, 0, begin_, now(), {}});
}

}  // namespace baton::trace
