// SPDX-License-Identifier: Apache-2.0
// Pages of a mapping that are given back come again as they were, and nothing else is touched.
#include "base/mmap.h"

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "check.h"

using namespace baton;
using namespace baton::test;

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
