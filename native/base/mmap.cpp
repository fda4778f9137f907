// SPDX-License-Identifier: Apache-2.0
// The descriptor is closed as soon as the mapping stands; the mapping keeps the file alive, also
// when it is unlinked.
#include "base/mmap.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace baton {
namespace {

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

[[noreturn]] void refuse(const char* code, const std::string& path, const std::string& why,
                         const char* remedy) {
  throw Error(code, "File " + path + ": " + why + ". " + remedy, {{"path", path}, {"reason", why}});
}

}  // namespace

MappedFile::MappedFile(MappedFile&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})), guard_(std::move(other.guard_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(guard_, other.guard_);
  return *this;
}

MappedFile::~MappedFile() {
  guard_ = {};  // before somebody else's mapping may lie here
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile MappedFile::open(const std::string& path) {
  // Non-blocking, so that a FIFO is refused below and not waited for.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) {
    refuse(code::kIo, path, "cannot be opened: " + systemReason(errno),
           "Check the path and its permissions.");
  }
  struct stat status;
  if (::fstat(file.fd, &status) != 0) {
    refuse(code::kIo, path, "has no readable status: " + systemReason(errno),
           "Check the file system.");
  }
  if (!S_ISREG(status.st_mode)) {
    refuse(code::kIo, path, S_ISDIR(status.st_mode) ? "is a directory" : "is no regular file",
           "Give the path of a file.");
  }
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) return {};
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (data == MAP_FAILED) {
    const int error = errno;
    refuse(error == ENOMEM ? code::kOutOfMemory : code::kIo, path,
           "cannot be mapped (" + std::to_string(size) + " bytes): " + systemReason(error),
           "Check the address space limit of the process and the file system.");
  }
  MappedFile mapping({static_cast<const std::byte*>(data), size});
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  mapping.guard_ = FaultGuard(data, (size + page - 1) / page * page);
  return mapping;
}

void MappedFile::release(const void* data, size_t bytes) const {
  const auto* begin = static_cast<const std::byte*>(data);
  const std::byte* const end = bytes_.data() + bytes_.size();
  // Compared as addresses: the two need not be of one object.
  if (std::less<>()(begin, bytes_.data()) || std::less<>()(end, begin) ||
      bytes > static_cast<size_t>(end - begin)) {
    return;
  }
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  // The mapping starts at a page.
  const size_t from = (static_cast<size_t>(begin - bytes_.data()) + page - 1) / page * page;
  const size_t to = (static_cast<size_t>(begin - bytes_.data()) + bytes) / page * page;
  if (from >= to) return;
  ::madvise(const_cast<std::byte*>(bytes_.data()) + from, to - from, MADV_DONTNEED);
}

}  // namespace baton
