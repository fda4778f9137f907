// SPDX-License-Identifier: Apache-2.0
#include "base/trace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/warnings.h"

namespace baton::trace {
namespace {

constexpr std::string_view kEnd = "\n]\n";

Error refused(const std::string& path, const std::string& reason, const std::string& remedy) {
  return Error(code::kIo, "The trace \"" + path + "\" (BATON_TRACE) " + reason + ". " + remedy,
               {{"path", path}, {"reason", reason}});
}

}  // namespace

bool TraceFile::open(const std::string& path) {
  // Non-blocking, so that a FIFO is refused below and not waited for.
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
  if (fd < 0) {
    throw refused(path, std::string("cannot be opened: ") + std::strerror(errno),
                  "Name a file in a folder that is there and may be written to.");
  }
  struct stat status;
  const bool known = ::fstat(fd, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    ::close(fd);
    throw refused(path, "is no regular file", "Name a file.");
  }
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd);
    throw refused(path, "is being written by another process",
                  "\"%p\" in the name stands for the number of the process.");
  }
  const bool same = path == path_ && status.st_dev == device_ && status.st_ino == inode_ &&
                    status.st_size == size_ && !empty_;
  if (!same && ::ftruncate(fd, 0) != 0) {
    const std::string reason = std::strerror(errno);
    ::close(fd);
    throw refused(path, "cannot be made empty: " + reason, "Name another file.");
  }
  close();
  fd_ = fd;
  path_ = path;
  device_ = status.st_dev;
  inode_ = status.st_ino;
  if (same) return true;
  empty_ = true;
  page_ = 0;
  used_ = written_ = 0;
  return false;
}

void TraceFile::append(std::string_view event) {
  const size_t room = event.size() + 2;
  if (used_ + room > kPage) {
    std::memset(bytes_ + used_, ' ', kPage - used_);
    used_ = kPage;
    writePage();
  }
  std::memcpy(bytes_ + used_, std::exchange(empty_, false) ? "[\n" : ",\n", 2);
  std::memcpy(bytes_ + used_ + 2, event.data(), event.size());
  used_ += room;
}

void TraceFile::flush() {
  writePage();
}

void TraceFile::finish() {
  if (empty_) return;
  if (used_ + kEnd.size() > kPage) {
    std::memset(bytes_ + used_, ' ', kPage - used_);
    used_ = kPage;
  }
  writePage();
  const off_t at = page_ + static_cast<off_t>(used_);
  writeAt(at, kEnd.data(), kEnd.size());
  size_ = at + static_cast<off_t>(kEnd.size());
}

void TraceFile::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void TraceFile::writePage() {
  const off_t at = page_ + static_cast<off_t>(written_);
  writeAt(at, bytes_ + written_, used_ - written_);
  written_ = used_;
  if (used_ < kPage) return;
  page_ += static_cast<off_t>(kPage);
  used_ = written_ = 0;
}

void TraceFile::writeAt(off_t at, const char* bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    const ssize_t wrote = ::pwrite(fd_, bytes + done, count - done, at + static_cast<off_t>(done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote > 0) {
      done += static_cast<size_t>(wrote);
      continue;
    }
    const std::string reason = wrote < 0 ? std::strerror(errno) : "nothing was written";
    // Half an event would make the rest unreadable; if this fails too, so be it.
    const bool cut = ::ftruncate(fd_, at) == 0;
    throw Error(code::kTraceEnded,
                "The trace \"" + path_ + "\" (BATON_TRACE) ends here: " + reason +
                    (cut ? "" : ", and its last event is not whole") +
                    ". What it holds can be read once \"]\" is added. Make room and start again.",
                {{"path", path_}, {"reason", reason}});
  }
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text.substr(0, 400)) {
    char escaped[8];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned char>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace baton::trace
