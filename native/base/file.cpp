// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include <atomic>
#include <cerrno>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace baton {
namespace {

constexpr std::string_view kSuffix = ".baton-incomplete";

[[noreturn]] void refuse(const std::string& path, const std::string& what, int error,
                         const char* remedy) {
  throw Error(code::kIo, path + " " + what + ": " + systemReason(error) + ". " + remedy,
              {{"path", path}, {"reason", systemReason(error)}});
}

[[noreturn]] void refuseWrite(const std::string& path, int error, uint64_t needed) {
  if (error != ENOSPC && error != EDQUOT && error != EFBIG) {
    refuse(path, "cannot be written", error, "Check the folder and its permissions.");
  }
  const char* name = error == ENOSPC ? "ENOSPC" : error == EDQUOT ? "EDQUOT" : "EFBIG";
  throw Error(code::kIo,
              "The disk is full: " + path + " needs " + std::to_string(needed) + " bytes (" + name +
                  "). Free some space, or name a path on another disk.",
              {{"path", path}, {"code", name}, {"needed", double(needed)}});
}

std::string folderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Puts what `from` names under `to`, of which there is always one. Renaming over a file makes ext4
// write the new one to the disk first, which is for who asks for that; exchanging the two does not.
int replaceName(const std::string& from, const std::string& to) {
#ifdef SYS_renameat2
  constexpr unsigned kExchange = 2;  // RENAME_EXCHANGE, which not every C library has
  struct stat status;
  const bool isFile = ::lstat(to.c_str(), &status) == 0 && !S_ISDIR(status.st_mode);
  if (isFile &&
      ::syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), kExchange) == 0) {
    ::unlink(from.c_str());  // the old content; whoever writes next takes it away otherwise
    return 0;
  }
#endif
  return ::rename(from.c_str(), to.c_str());
}

}  // namespace

std::string systemReason(int error) {
  return std::generic_category().message(error);
}

int64_t readFully(int fd, uint64_t offset, void* to, size_t bytes) {
  size_t done = 0;
  while (done < bytes) {
    const ssize_t got =
        ::pread(fd, static_cast<char*>(to) + done, bytes - done, static_cast<off_t>(offset + done));
    if (got == 0) break;
    if (got > 0) {
      done += static_cast<size_t>(got);
    } else if (errno != EINTR) {
      return -1;
    }
  }
  return static_cast<int64_t>(done);
}

bool writeFully(int fd, uint64_t offset, const void* from, size_t bytes) {
  size_t done = 0;
  while (done < bytes) {
    const ssize_t put = ::pwrite(fd, static_cast<const char*>(from) + done, bytes - done,
                                 static_cast<off_t>(offset + done));
    if (put >= 0) {
      done += static_cast<size_t>(put);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

bool takeLock(int fd) {
  return ::flock(fd, LOCK_EX | LOCK_NB) == 0;
}

ReadFile::ReadFile(std::string path) : path_(std::move(path)) {
  // Non-blocking, so that a FIFO is refused below and not waited for.
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) refuse(path_, "cannot be opened", errno, "Check the path and its permissions.");
  struct stat status;
  const bool known = ::fstat(fd_, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    const int error = !known ? errno : S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
    ::close(fd_);
    refuse(path_, "is no regular file", error, "Give the path of a file.");
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

ReadFile::~ReadFile() {
  ::close(fd_);
}

size_t ReadFile::readAt(uint64_t offset, void* to, size_t bytes) const {
  const int64_t done = readFully(fd_, offset, to, bytes);
  if (done < 0) refuse(path_, "cannot be read", errno, "Check the disk that it is on.");
  return static_cast<size_t>(done);
}

WholeFile::WholeFile(std::string path) : path_(std::move(path)) {
  open();
}

// Unique in this process; another machine's process of the same number finds the name taken.
void WholeFile::open() {
  static std::atomic<uint64_t> count{0};
  for (int attempt = 0; attempt < 1000; ++attempt) {
    temporary_ = path_ + '.' + std::to_string(::getpid()) + '-' +
                 std::to_string(count.fetch_add(1)) + std::string(kSuffix);
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && errno == EEXIST) continue;
    if (fd_ < 0) refuseWrite(path_, errno, 0);
    // Somebody who clears up may have taken it for a leftover before it was locked. Where a file
    // system has no locks, nobody clears up.
    const bool ours = takeLock(fd_) || errno != EWOULDBLOCK;
    struct stat status;
    if (ours && ::fstat(fd_, &status) == 0 && status.st_nlink > 0) return;
    ::close(fd_);
    fd_ = -1;
  }
  refuseWrite(path_, EEXIST, 0);
}

WholeFile::~WholeFile() {
  if (fd_ < 0) return;
  ::unlink(temporary_.c_str());
  ::close(fd_);
}

void WholeFile::writeAt(uint64_t offset, const void* from, size_t bytes, uint64_t needed) const {
  if (!writeFully(fd_, offset, from, bytes)) refuseWrite(path_, errno, needed);
}

void WholeFile::publish(bool durable) {
  if (durable && ::fsync(fd_) != 0) refuseWrite(path_, errno, 0);
  if (replaceName(temporary_, path_) != 0) refuseWrite(path_, errno, 0);
  ::close(fd_);
  fd_ = -1;
  if (durable) {  // not every file system lets folders be opened for that
    const int folder = ::open(folderOf(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
      ::fsync(folder);
      ::close(folder);
    }
  }
  removeLeftovers();
}

void WholeFile::removeLeftovers() const {
  const std::string folder = folderOf(path_);
  const std::string prefix = path_.substr(path_.rfind('/') + 1) + '.';  // npos + 1 is 0
  DIR* const listing = ::opendir(folder.c_str());
  if (listing == nullptr) return;
  while (const dirent* entry = ::readdir(listing)) {
    const std::string_view name = entry->d_name;
    if (!name.starts_with(prefix) || !name.ends_with(kSuffix)) continue;
    const std::string left = folder + '/' + std::string(name);
    const int fd = ::open(left.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) continue;
    if (takeLock(fd)) ::unlink(left.c_str());
    ::close(fd);
  }
  ::closedir(listing);
}

}  // namespace baton
