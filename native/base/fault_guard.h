// SPDX-License-Identifier: Apache-2.0
// What happens when a mapped file no longer has a page that is read: it was cut, or its disk
// failed. The system raises SIGBUS, which would end the process and everybody's work in it.
// Here the pages become zeros instead, the reader goes on, and the range remembers that it is
// broken, so that whoever computes with it can throw the results away and say why.
//
// The other ways were weighed. Copying all weights out of the map costs the time and the memory
// that mapping saves (float weights and the embedding are read in place, shared between
// processes), and reads while copying would fault as well. Asking for the file's size before each
// step is a race. A signal handler costs nothing until it is needed: it looks at its own ranges
// only, and everything else goes to the handler that was there before.
#pragma once

#include <cstddef>

namespace baton {

class FaultGuard {
 public:
  FaultGuard() = default;
  // Of whole pages of one private mapping, from now until the guard is gone; the mapping must live
  // as long. Throws std::bad_alloc.
  FaultGuard(const void* begin, size_t bytes);
  FaultGuard(FaultGuard&& other) noexcept;
  FaultGuard& operator=(FaultGuard&& other) noexcept;
  FaultGuard(const FaultGuard&) = delete;
  FaultGuard& operator=(const FaultGuard&) = delete;
  ~FaultGuard();

  // False once a page could not be read. From any thread.
  bool intact() const;

 private:
  struct Range;
  struct Ranges;
  Range* range_ = nullptr;
};

}  // namespace baton
