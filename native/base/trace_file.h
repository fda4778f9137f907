// SPDX-License-Identifier: Apache-2.0
// A JSON array of events in a file, written so that it never holds a part of an event: what is
// written stays within a page of the file, which a signal that ends the process does not cut, and
// pages are filled up with spaces. One process writes a file at a time (it is locked meanwhile).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace baton::trace {

class TraceFile {
 public:
  ~TraceFile() { close(); }

  // Makes the file empty, or goes on behind what this object wrote before if that is what is there:
  // true. Throws Error(IO) naming path, reason and remedy.
  bool open(const std::string& path);
  bool isOpen() const { return fd_ >= 0; }
  const std::string& path() const { return path_; }

  // One event, an object of JSON. All three throw Error(TRACE_ENDED) when nothing can be written.
  void append(std::string_view event);
  void flush();
  // As flush(), and the end of the array, which the next event takes the place of.
  void finish();

  void close();

 private:
  static constexpr size_t kPage = 4096;

  void writePage();
  void writeAt(off_t at, const char* bytes, size_t count);

  std::string path_;
  int fd_ = -1;
  bool empty_ = true;  // no event so far
  dev_t device_ = 0;   // which file it was
  ino_t inode_ = 0;
  off_t size_ = 0;      // when it was finished
  off_t page_ = 0;      // where the page in `bytes_` begins
  size_t used_ = 0;     // of the page
  size_t written_ = 0;  // of those
  char bytes_[kPage];
};

// As JSON writes a text; cut after some hundred bytes.
std::string quoted(std::string_view text);

}  // namespace baton::trace
