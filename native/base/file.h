// SPDX-License-Identifier: Apache-2.0
// Files read by position, and files that are whole or not there: written under another name beside
// their own and renamed when they are complete. Never mapped: a file that somebody truncates is
// then an error, not SIGBUS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace baton {

// What the system says of a failed call.
std::string systemReason(int error);

// The whole of it, whatever the system does in one call, of a descriptor that somebody else owns.
// Bytes read: fewer where the file ends; -1 with errno.
int64_t readFully(int fd, uint64_t offset, void* to, size_t bytes);
bool writeFully(int fd, uint64_t offset, const void* from, size_t bytes);  // false with errno

// False while another process, or another descriptor of this one, has it; the system lets go of the
// lock of a process that is gone.
bool takeLock(int fd);

class ReadFile {
 public:
  // Error(IO) for what cannot be opened and for what is no regular file.
  explicit ReadFile(std::string path);
  ~ReadFile();
  ReadFile(const ReadFile&) = delete;
  ReadFile& operator=(const ReadFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }  // when it was opened

  // Bytes read: fewer where the file ends. Error(IO). Any thread.
  size_t readAt(uint64_t offset, void* to, size_t bytes) const;

 private:
  std::string path_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

// The name that is written to carries a lock for as long as its process lives, so that whoever
// writes the same file next takes away what a killed process has left, and nothing else.
class WholeFile {
 public:
  // Error(IO): the folder is not there or refuses.
  explicit WholeFile(std::string path);
  ~WholeFile();  // not published: leaves nothing
  WholeFile(const WholeFile&) = delete;
  WholeFile& operator=(const WholeFile&) = delete;

  // Error(IO) with `needed`, the bytes of the whole file, when the disk is full. Any thread.
  void writeAt(uint64_t offset, const void* from, size_t bytes, uint64_t needed) const;

  // The name stands for the new content from now on. `durable`: after a loss of power too.
  void publish(bool durable);

 private:
  void open();
  void removeLeftovers() const;

  std::string path_;
  std::string temporary_;
  int fd_ = -1;
};

}  // namespace baton
