// SPDX-License-Identifier: Apache-2.0
// Ranges are never given back, only used again: the handler may walk over them at any moment.
#include "base/fault_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <utility>

namespace baton {

struct FaultGuard::Range {
  std::atomic<uintptr_t> begin{0};  // 0: not in use
  std::atomic<uintptr_t> end{0};
  std::atomic<bool> broken{false};
  bool taken = false;     // under Ranges::mutex
  Range* next = nullptr;  // set before it is in the list
};

struct FaultGuard::Ranges {
  std::mutex mutex;
  std::atomic<Range*> first{nullptr};
  struct sigaction before = {};
  uintptr_t page = 4096;
  bool handling = false;

  // Leaves no gap at the end of the process in which the handler has nothing to walk over.
  static Ranges& all() {
    static auto* const ranges = new Ranges;
    return *ranges;
  }
  static std::atomic<Ranges*> seen;  // by the handler

  Range* take(uintptr_t begin, uintptr_t end) {
    const std::lock_guard lock(mutex);
    if (!handling) handle();
    Range* range = first;
    while (range != nullptr && range->taken) range = range->next;
    if (range == nullptr) {
      range = new Range;
      range->next = first;
      first = range;
    }
    range->taken = true;
    range->broken = false;
    range->end = end;
    range->begin = begin;  // last: the handler sees both or none
    return range;
  }

  void give(Range& range) {
    const std::lock_guard lock(mutex);
    range.begin = 0;
    range.taken = false;
  }

  void handle() {
    page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    seen = this;
    struct sigaction ours = {};
    ours.sa_sigaction = onFault;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&ours.sa_mask);  // a macro on macOS
    handling = ::sigaction(SIGBUS, &ours, &before) == 0;
  }

  // Everything in it is a system call or an atomic.
  bool fill(uintptr_t address) {
    for (Range* range = first; range != nullptr; range = range->next) {
      const uintptr_t begin = range->begin, end = range->end;
      if (address < begin || address >= end || begin == 0 || range->begin != begin) continue;
      range->broken = true;
      // What follows is not there either, or not to be trusted.
      const uintptr_t from = address / page * page;
      void* const zeros = ::mmap(reinterpret_cast<void*>(from), end - from, PROT_READ,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
      return zeros != MAP_FAILED;
    }
    return false;
  }

  void passOn(int number, siginfo_t* info, void* context) const {
    if ((before.sa_flags & SA_SIGINFO) != 0 && before.sa_sigaction != nullptr) {
      before.sa_sigaction(number, info, context);
      return;
    }
    if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
      before.sa_handler(number);
      return;
    }
    // The system's own way: what faulted does so again when this returns, and then there is nobody
    // to ask; a signal that somebody sent has to be sent again.
    ::sigaction(number, &before, nullptr);
    if (info->si_code <= 0) ::raise(number);
  }

  static void onFault(int number, siginfo_t* info, void* context) {
    const int error = errno;
    Ranges& ranges = *seen.load();
    const bool filled =
        info->si_code == BUS_ADRERR && ranges.fill(reinterpret_cast<uintptr_t>(info->si_addr));
    if (!filled) ranges.passOn(number, info, context);
    errno = error;
  }
};

std::atomic<FaultGuard::Ranges*> FaultGuard::Ranges::seen{nullptr};

FaultGuard::FaultGuard(const void* begin, size_t bytes) {
  const auto from = reinterpret_cast<uintptr_t>(begin);
  range_ = Ranges::all().take(from, from + bytes);
}

FaultGuard::FaultGuard(FaultGuard&& other) noexcept
    : range_(std::exchange(other.range_, nullptr)) {}

FaultGuard& FaultGuard::operator=(FaultGuard&& other) noexcept {
  std::swap(range_, other.range_);
  return *this;
}

FaultGuard::~FaultGuard() {
  if (range_ != nullptr) Ranges::all().give(*range_);
}

bool FaultGuard::intact() const {
  return range_ == nullptr || !range_->broken;
}

}  // namespace baton
