// SPDX-License-Identifier: Apache-2.0
// Reads one tensor of a fixture's arrays.safetensors (u64 header length, JSON header, data) as the
// scripts write it: fixed key order, no spaces. Anything else throws, so that a fixture that was
// not understood never passes.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace baton::test {

template <class T>
struct Rows {
  size_t rows = 0, columns = 0;
  std::vector<T> data;  // [rows, columns]

  const T* row(size_t index) const { return data.data() + index * columns; }
};

class FixtureFile {
 public:
  explicit FixtureFile(const char* folder) {
    const auto path = std::filesystem::path(__FILE__).parent_path() / "../fixtures" / folder /
                      "arrays.safetensors";
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    uint64_t length = 0;
    if (bytes_.size() < 8) throw std::runtime_error("no fixture at " + path.string());
    std::memcpy(&length, bytes_.data(), 8);
    if (length > bytes_.size() - 8) throw std::runtime_error("the fixture's header is cut off");
    header_ = bytes_.substr(8, length);
    data_ = 8 + length;
  }

  Rows<float> floats(const std::string& name) const { return matrix<float>(name, "F32"); }
  Rows<int32_t> ints(const std::string& name) const { return matrix<int32_t>(name, "I32"); }

  // All numbers of a tensor of three dimensions.
  std::vector<float> cube(const std::string& name) const {
    const std::string key = '"' + name + R"(":{"dtype":"F32","shape":[)";
    const size_t at = header_.find(key);
    size_t a = 0, b = 0, c = 0, begin = 0, end = 0;
    if (at == std::string::npos ||
        std::sscanf(header_.c_str() + at + key.size(), "%zu,%zu,%zu],\"data_offsets\":[%zu,%zu]",
                    &a, &b, &c, &begin, &end) != 5 ||
        end - begin != a * b * c * sizeof(float) || data_ + end > bytes_.size()) {
      throw std::runtime_error("the fixture has no " + name + " of three dimensions");
    }
    std::vector<float> numbers(a * b * c);
    std::memcpy(numbers.data(), bytes_.data() + data_ + begin, end - begin);
    return numbers;
  }

 private:
  template <class T>
  Rows<T> matrix(const std::string& name, const char* type) const {
    const std::string key = '"' + name + R"(":{"dtype":")" + type + R"(","shape":[)";
    const size_t at = header_.find(key);
    Rows<T> found;
    size_t begin = 0, end = 0;
    if (at == std::string::npos ||
        std::sscanf(header_.c_str() + at + key.size(), "%zu,%zu],\"data_offsets\":[%zu,%zu]",
                    &found.rows, &found.columns, &begin, &end) != 4 ||
        end - begin != found.rows * found.columns * sizeof(T) || data_ + end > bytes_.size()) {
      throw std::runtime_error("the fixture has no matrix " + name + " of " + type);
    }
    found.data.resize(found.rows * found.columns);
    std::memcpy(found.data.data(), bytes_.data() + data_ + begin, end - begin);
    return found;
  }

  std::string bytes_, header_;
  size_t data_ = 0;
};

}  // namespace baton::test
