// SPDX-License-Identifier: Apache-2.0
// Files that are whole or not there, and what is left of writers that were killed.
#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"

using namespace baton;
using namespace baton::test;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("baton-file-" + std::to_string(::getpid()));
  Folder() {
    fs::remove_all(path);
    fs::create_directory(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string name(const char* file) const { return (path / file).string(); }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(path), {}));
  }
};

std::string contentOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST("file: a name stands for the old content until the new one is published") {
  const Folder folder;
  const std::string path = folder.name("a");
  for (const char* content : {"one", "two"}) {
    const std::string before = contentOf(path);
    WholeFile file(path);
    file.writeAt(1, content + 1, 2, 3);
    file.writeAt(0, content, 1, 3);
    CHECK_EQ(contentOf(path), before);
    file.publish(content[0] == 'o');
    CHECK_EQ(contentOf(path), std::string(content));
  }
  {
    WholeFile dropped(path);
  }
  CHECK_EQ(contentOf(path), std::string("two"));
  CHECK_EQ(folder.files(), 1u);
}

TEST("file: what a killed writer left goes with the next write, what another one writes stays") {
  const Folder folder;
  const std::string path = folder.name("a");
  std::ofstream(path + ".1-0.baton-incomplete") << "left";
  std::ofstream(folder.name("b.1-0.baton-incomplete")) << "of another name";
  std::ofstream(path + ".txt") << "of the user";
  WholeFile living(path);
  {
    WholeFile file(path);
    file.writeAt(0, "x", 1, 1);
    file.publish(false);
  }
  CHECK_EQ(folder.files(), 4u);  // a, a.txt, b's, and the one that is being written
  CHECK(!fs::exists(path + ".1-0.baton-incomplete"));
  living.writeAt(0, "y", 1, 1);
  living.publish(false);
  CHECK_EQ(contentOf(path), std::string("y"));
}

TEST("file: reads end where the file does; what is no file is refused") {
  const Folder folder;
  const std::string path = folder.name("a");
  std::ofstream(path) << "0123456789";
  const ReadFile file(path);
  CHECK_EQ(file.size(), 10u);
  char bytes[8] = {};
  CHECK_EQ(file.readAt(4, bytes, 8), 6u);
  CHECK_EQ(std::string(bytes, 6), std::string("456789"));
  CHECK_EQ(file.readAt(100, bytes, 8), 0u);
  fs::resize_file(path, 2);  // meanwhile: an end, no signal
  CHECK_EQ(file.readAt(0, bytes, 8), 2u);
  const auto codeOf = [](const auto& work) {
    try {
      work();
    } catch (const Error& error) {
      return std::string(error.code());
    }
    return std::string();
  };
  CHECK_EQ(codeOf([&] { ReadFile none(folder.name("none")); }), std::string("IO"));
  CHECK_EQ(codeOf([&] { ReadFile none(folder.path.string()); }), std::string("IO"));
  CHECK_EQ(codeOf([&] { WholeFile none(folder.name("no/folder")); }), std::string("IO"));
  fs::create_directory(folder.path / "folder");
  CHECK_EQ(codeOf([&] { WholeFile(folder.name("folder")).publish(false); }), std::string("IO"));
  CHECK(fs::is_directory(folder.path / "folder"));
  REQUIRE(::mkfifo(folder.name("fifo").c_str(), 0600) == 0);
  CHECK_EQ(codeOf([&] { ReadFile none(folder.name("fifo")); }), std::string("IO"));
}
