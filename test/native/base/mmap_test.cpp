// SPDX-License-Identifier: Apache-2.0
// Pages of a mapping that are given back come again as they were, and nothing else is touched.
#include "base/mmap.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <vector>

#include "check.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr size_t kPage = 4096;

struct Scratch {
  std::string path;
  Scratch(const char* name, size_t pages)
      : path(std::string("/tmp/baton-") + name + "-" + std::to_string(::getpid())) {
    const std::string content(pages * kPage, 'x');
    std::FILE* const file = std::fopen(path.c_str(), "wb");
    if (file == nullptr) return;
    std::fwrite(content.data(), 1, content.size(), file);
    std::fclose(file);
  }
  ~Scratch() { std::remove(path.c_str()); }
};

// How a child process ends that does `work`.
template <class Work>
int statusOfChild(const Work& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    (void)!std::freopen("/dev/null", "w", stderr);  // a sanitizer's words on it
    work();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

}  // namespace

TEST("mmap: of a file that was cut, lost pages are zeros, and the mapping is not whole") {
  const Scratch cut("cut", 64), other("other", 8);
  MappedFile mapping = MappedFile::open(cut.path);
  const MappedFile beside = MappedFile::open(other.path);
  CHECK_EQ(::truncate(cut.path.c_str(), 2 * kPage), 0);
  const auto at = [](const MappedFile& of, size_t page) {
    return std::to_integer<int>(*static_cast<const volatile std::byte*>(&of.bytes()[page * kPage]));
  };
  CHECK_EQ(at(mapping, 1), int{'x'});
  CHECK(mapping.whole());  // nothing was missed yet
  CHECK_EQ(at(mapping, 40), 0);
  CHECK(!mapping.whole());
  CHECK_EQ(at(mapping, 0), int{'x'});
  CHECK_EQ(at(mapping, 2), 0);
  CHECK_EQ(at(mapping, 63), 0);
  CHECK(beside.whole());
  const MappedFile moved = std::move(mapping);
  CHECK(!moved.whole());
  CHECK_EQ(at(moved, 63), 0);
  // The place in the table is used again, and begins anew.
  {
    const MappedFile gone = MappedFile::open(other.path);
  }
  const MappedFile again = MappedFile::open(other.path);
  CHECK(again.whole());
  CHECK_EQ(at(again, 7), int{'x'});
}

TEST("mmap: a fault anywhere else, and a signal from somebody, end the process as ever") {
  const Scratch cut("elsewhere", 8);
  const MappedFile mapping = MappedFile::open(cut.path);  // the handler stands
  const auto survived = [](int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 0; };
  CHECK(survived(statusOfChild([] {})));
  CHECK(!survived(statusOfChild([&] {
    std::FILE* const file = std::fopen(cut.path.c_str(), "rb");
    auto* const data = static_cast<volatile char*>(
        ::mmap(nullptr, 8 * kPage, PROT_READ, MAP_PRIVATE, ::fileno(file), 0));
    if (::truncate(cut.path.c_str(), 0) == 0) (void)data[5 * kPage];
  })));
  CHECK(!survived(statusOfChild([] { ::raise(SIGBUS); })));
}

TEST("mmap: released pages are read from the file again, and only those of the mapping") {
  const std::string path = "/tmp/baton-mmap-" + std::to_string(::getpid());
  std::vector<char> content(5 * 4096 + 100);
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7 + i / 4096);
  std::FILE* file = std::fopen(path.c_str(), "wb");
  CHECK(file != nullptr);
  if (file == nullptr) return;
  std::fwrite(content.data(), 1, content.size(), file);
  std::fclose(file);
  const MappedFile mapping = MappedFile::open(path);
  std::remove(path.c_str());
  const std::byte* data = mapping.bytes().data();
  const auto same = [&] { return std::memcmp(data, content.data(), content.size()) == 0; };
  CHECK(same());
  for (const auto& [from, bytes] : std::vector<std::pair<size_t, size_t>>{
           {0, content.size()}, {100, 8192}, {4096, 4096}, {5, 10}, {content.size(), 0}}) {
    mapping.release(data + from, bytes);
    CHECK(same());
  }
  // Beyond its end, and memory of somebody else, whose pages would be lost.
  mapping.release(data + 4096, content.size());
  CHECK(same());
  const std::vector<char> other(64 * 4096, 'x');
  mapping.release(other.data(), other.size());
  CHECK(other == std::vector<char>(64 * 4096, 'x'));
  MappedFile().release(other.data(), other.size());
  CHECK(other[4096 * 3] == 'x');
}
