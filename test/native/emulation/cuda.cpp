// SPDX-License-Identifier: Apache-2.0
// The fibers of cuda.h. One block at a time, of it one warp: every thread runs until it waits or
// ends, then whatever is complete is met; at a barrier the next warp runs.
#include "emulation/cuda.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "emulation/context.h"

#if defined(__SANITIZE_ADDRESS__)
#define BATON_FIBERS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BATON_FIBERS_SANITIZED 1
#endif
#endif
#if defined(BATON_FIBERS_SANITIZED)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace baton::emulation {
namespace {

#if defined(BATON_FIBERS_SANITIZED)
constexpr size_t kStackBytes = 256 << 10;
#else
constexpr size_t kStackBytes = 64 << 10;
#endif
constexpr unsigned kMostThreads = 1024;
constexpr unsigned kMostGrid = 65535;             // along y and z
constexpr size_t kMostShared = size_t{48} << 10;  // without asking for more

enum class State { kReady, kWarp, kBlock, kEnded };

// A stack that runs, as AddressSanitizer wants to be told when another takes its place.
struct Stack {
  const void* bottom = nullptr;
  size_t bytes = 0;
  void* fake = nullptr;
};

struct Fiber {
  Context context{};
  std::unique_ptr<char[]> memory;
  Stack stack;
  State state = State::kEnded;
  // What it waits for.
  const char* name = nullptr;
  uint32_t mask = 0;
  const void* in = nullptr;
  void* out = nullptr;
  Meet meet = nullptr;
  Copies copies;
};

struct Machine {
  std::vector<Fiber> fibers;  // of the largest block so far
  std::vector<char> shared;
  Context host{};
  Stack hostStack;
  Fiber* running = nullptr;
  unsigned threads = 0;
  const std::function<void()>* kernel = nullptr;
  Order order = Order::kForwards;
  uint64_t launches = 0;
  std::string fault;  // of a thread that cannot go on
  void (*before)() = nullptr;
  void (*after)() = nullptr;
};

Machine& machine() {
  static Machine instance;
  return instance;
}

// Leaves `from` for another stack; comes back when somebody leaves for it. `from` null: for good.
void leave(Stack* from, Context* context, const Stack& to, const Context* next) {
#if defined(BATON_FIBERS_SANITIZED)
  __sanitizer_start_switch_fiber(from ? &from->fake : nullptr, to.bottom, to.bytes);
#else
  static_cast<void>(from), static_cast<void>(to);
#endif
  switchStack(context, next);
#if defined(BATON_FIBERS_SANITIZED)
  __sanitizer_finish_switch_fiber(from ? from->fake : nullptr, nullptr, nullptr);
#endif
}

void toHost() {
  Machine& m = machine();
  leave(&m.running->stack, &m.running->context, m.hostStack, &m.host);
}

void beginFiber() {
  Machine& m = machine();
#if defined(BATON_FIBERS_SANITIZED)
  __sanitizer_finish_switch_fiber(nullptr, &m.hostStack.bottom, &m.hostStack.bytes);
#endif
  (*m.kernel)();
  m.running->state = State::kEnded;
  leave(nullptr, &m.running->context, m.hostStack, &m.host);
}

void reset(Fiber& fiber) {
  if (!fiber.memory) fiber.memory.reset(new char[kStackBytes]);  // not make_unique: not zeroed
#if defined(BATON_FIBERS_SANITIZED)
  __asan_unpoison_memory_region(fiber.memory.get(), kStackBytes);  // a Fault left frames there
#endif
  fiber.stack = {fiber.memory.get(), kStackBytes, nullptr};
  prepareStack(fiber.context, fiber.memory.get(), kStackBytes, beginFiber);
  fiber.state = State::kReady;
  fiber.copies.clear();
}

[[noreturn]] void fault(const std::string& what) {
  throw Fault("block (" + std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) + ", " +
              std::to_string(blockIdx.z) + "): " + what);
}

void run(unsigned thread) {
  Machine& m = machine();
  m.running = &m.fibers[thread];
  threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y,
               thread / blockDim.x / blockDim.y};
  leave(&m.hostStack, &m.host, m.running->stack, &m.running->context);
  if (m.fault.empty()) return;
  const std::string what = "thread " + std::to_string(thread) + ": " + m.fault;
  m.fault.clear();
  fault(what);
}

std::string hex(uint32_t mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

std::string whatItDoes(const Fiber& fiber) {
  if (fiber.state == State::kEnded) return "has ended";
  std::string text = std::string("waits at ") + fiber.name;
  if (fiber.state == State::kWarp) text += " with mask " + hex(fiber.mask);
  return text;
}

// Whether both wait for the same thing, of which `meet` says the type and `name` the function.
bool together(const Fiber& a, const Fiber& b) {
  return a.state == b.state && a.mask == b.mask && a.meet == b.meet &&
         std::strcmp(a.name, b.name) == 0;
}

// Why nothing goes on: the first thread that waits, and the first of those it waits for that does
// something else.
[[noreturn]] void stuck() {
  const Machine& m = machine();
  unsigned first = 0;
  while (m.fibers[first].state == State::kEnded) ++first;
  const Fiber& waiting = m.fibers[first];
  const unsigned warp = first / kLanes * kLanes;
  const std::string who = "thread " + std::to_string(first) + " " + whatItDoes(waiting);
  if (waiting.state == State::kWarp && (waiting.mask >> first % kLanes & 1) == 0) {
    fault(who + ", which leaves it out");
  }
  for (unsigned t = 0; t < std::max(m.threads, warp + kLanes); ++t) {
    const bool wanted = waiting.state == State::kBlock ||
                        (t / kLanes * kLanes == warp && (waiting.mask >> t % kLanes & 1) != 0);
    if (!wanted) continue;
    if (t >= m.threads) fault(who + ", thread " + std::to_string(t) + " does not exist");
    const Fiber& other = m.fibers[t];
    if (!together(other, waiting)) {
      fault(who + ", thread " + std::to_string(t) + " " + whatItDoes(other));
    }
  }
  fault(who);
}

// Meets what the lanes of `lane`'s mask wait for, if all of them do.
bool meetLanes(unsigned warp, unsigned lane) {
  Machine& m = machine();
  const Fiber& asked = m.fibers[warp + lane];
  const void* in[kLanes] = {};
  void* out[kLanes] = {};
  if ((asked.mask >> lane & 1) == 0) return false;
  for (unsigned other = 0; other < kLanes; ++other) {
    if ((asked.mask >> other & 1) == 0) continue;
    if (warp + other >= m.threads) return false;
    const Fiber& fiber = m.fibers[warp + other];
    if (!together(fiber, asked)) return false;
    in[other] = fiber.in;
    out[other] = fiber.out;
  }
  asked.meet(in, out);
  for (unsigned other = 0; other < kLanes; ++other) {
    if (in[other] != nullptr) m.fibers[warp + other].state = State::kReady;
  }
  return true;
}

// Runs the threads of a warp and what they do together until none of them goes on by itself.
void runWarp(unsigned warp) {
  Machine& m = machine();
  const unsigned count = std::min(kLanes, m.threads - warp);
  for (bool met = true; met;) {
    for (unsigned i = 0; i < count; ++i) {
      const unsigned t = warp + (m.order == Order::kForwards ? i : count - 1 - i);
      if (m.fibers[t].state == State::kReady) run(t);
    }
    met = false;
    for (unsigned lane = 0; lane < count; ++lane) {
      if (m.fibers[warp + lane].state == State::kWarp) met |= meetLanes(warp, lane);
    }
  }
}

// One warp after the other as far as it comes, which is as far apart as they can be.
void runBlock() {
  Machine& m = machine();
  const auto begin = m.fibers.begin(), end = begin + m.threads;
  std::for_each(begin, end, reset);
  std::fill(m.shared.begin(), m.shared.end(), '\xff');
  const unsigned warps = (m.threads + kLanes - 1) / kLanes;
  const auto all = [&](State state) {
    return std::all_of(begin, end, [&](const Fiber& f) { return f.state == state; });
  };
  for (;;) {
    for (unsigned i = 0; i < warps; ++i) {
      runWarp((m.order == Order::kForwards ? i : warps - 1 - i) * kLanes);
    }
    if (all(State::kEnded)) return;
    if (!all(State::kBlock)) stuck();
    std::for_each(begin, end, [](Fiber& f) { f.state = State::kReady; });
  }
}

// Also where a launch ends in a Fault.
struct Around {
  explicit Around(const Machine& machine) : after(machine.after) {
    if (machine.before != nullptr) machine.before();
  }
  ~Around() {
    if (after != nullptr) after();
  }
  Around(const Around&) = delete;
  Around& operator=(const Around&) = delete;
  void (*after)();
};

void checkConfiguration(dim3 grid, size_t threads, size_t sharedBytes) {
  const auto refuse = [](const std::string& what) { throw Fault("a launch with " + what); };
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) refuse("no blocks");
  if (grid.x > INT32_MAX || grid.y > kMostGrid || grid.z > kMostGrid) refuse("too large a grid");
  if (threads == 0 || threads > kMostThreads) refuse(std::to_string(threads) + " threads a block");
  if (sharedBytes > kMostShared) refuse(std::to_string(sharedBytes) + " bytes of shared memory");
}

}  // namespace

void setOrder(Order order) {
  machine().order = order;
}

void setAround(void (*before)(), void (*after)()) {
  machine().before = before;
  machine().after = after;
}

uint64_t takeLaunches() {
  return std::exchange(machine().launches, 0);
}

void launch(dim3 grid, dim3 block, size_t sharedBytes, const std::function<void()>& kernel) {
  static std::mutex oneAtATime;
  const std::lock_guard lock(oneAtATime);
  const size_t threads = size_t{block.x} * block.y * block.z;
  checkConfiguration(grid, threads, sharedBytes);
  Machine& m = machine();
  const Around around(m);
  ++m.launches;
  m.threads = static_cast<unsigned>(threads);
  if (m.fibers.size() < threads) m.fibers.resize(threads);
  m.kernel = &kernel;
  m.shared = std::vector<char>(sharedBytes);
  gridDim = grid;
  blockDim = block;
  const unsigned blocks = grid.x * grid.y * grid.z;
  for (unsigned i = 0; i < blocks; ++i) {
    const unsigned b = m.order == Order::kForwards ? i : blocks - 1 - i;
    blockIdx = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
    runBlock();
  }
}

void* sharedMemory() {
  return machine().shared.data();
}

bool insideShared(const void* place, size_t size) {
  const std::vector<char>& shared = machine().shared;
  const auto at = reinterpret_cast<uintptr_t>(place);
  const auto first = reinterpret_cast<uintptr_t>(shared.data());
  return at >= first && at - first + size <= shared.size() && (at - first) % size == 0;
}

size_t sharedOffset(const void* place, size_t size, const char* name) {
  if (!insideShared(place, size)) {
    fault(std::string(name) + " of a place that is not in shared memory, or an odd one");
  }
  return reinterpret_cast<uintptr_t>(place) - reinterpret_cast<uintptr_t>(machine().shared.data());
}

Copies& copiesOfThread() {
  return machine().running->copies;
}

void faultOfThread(const char* what) {
  machine().fault = what;
  toHost();
}

void meetWarp(const char* name, uint32_t mask, const void* in, void* out, Meet meet) {
  Fiber& fiber = *machine().running;
  fiber.state = State::kWarp;
  fiber.name = name;
  fiber.mask = mask;
  fiber.in = in;
  fiber.out = out;
  fiber.meet = meet;
  toHost();
}

void meetBlock(const char* name) {
  Fiber& fiber = *machine().running;
  fiber.state = State::kBlock;
  fiber.name = name;
  fiber.mask = 0;
  fiber.meet = nullptr;
  toHost();
}

void badSource(unsigned lane, unsigned from) {
  fault("lane " + std::to_string(lane) + " reads lane " + std::to_string(from) +
        ", which takes no part");
}

}  // namespace baton::emulation
