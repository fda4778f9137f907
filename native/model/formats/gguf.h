// SPDX-License-Identifier: Apache-2.0
// GGUF v2 and v3, little-endian. Every byte of a file is hostile until checked: no count, length or
// offset is used before it was compared with the bytes that remain, and nothing is allocated in
// proportion to a number that the file merely claims. What is handed out are views into the
// mapping; they live as long as the GgufFile.
//
// Layout: magic, version, tensor count, metadata count | metadata | tensor infos | padding | tensor
// data.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/mmap.h"
#include "quant/types.h"

namespace baton {

// Value types of metadata; the numbers are those of the file.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

const char* ggufTypeName(GgufType type);

struct GgufArray;

// Integers widen to 64 bits and floats to double; GgufEntry::type keeps the type in the file.
using GgufValue = std::variant<uint64_t, int64_t, double, bool, std::string_view, GgufArray>;

// An array stays in the mapping as it is: a vocabulary of 300 000 strings costs no memory here.
// Checked by the parser.
struct GgufArray {
  GgufType elementType;
  uint64_t count;
  std::span<const std::byte> bytes;  // the elements, back to back

  // fn(const GgufValue&) for each element, in order.
  template <class Fn>
  void forEach(Fn&& fn) const;
};

struct GgufEntry {
  std::string_view key;
  GgufType type;
  GgufValue value;
  uint64_t offset;  // of the value, in bytes from the start of the file
};

struct GgufTensor {
  std::string_view name;
  const QuantType* type;
  int dims;                      // 1 .. 4
  std::array<int64_t, 4> shape;  // fastest dimension first, as in the file; 1 beyond `dims`
  uint64_t offset;               // of the data, in bytes from the start of the file
  size_t bytes;
  const std::byte* data;

  int64_t elements() const { return shape[0] * shape[1] * shape[2] * shape[3]; }
  // Slowest dimension first: a weight is [out, in].
  std::vector<int64_t> rowMajorShape() const { return {shape.rend() - dims, shape.rend()}; }
};

// A model of another format in GGUF's terms: its keys, its names of tensors, its order of
// dimensions.
struct ModelParts {
  std::string path;
  const char* format = "";
  std::vector<MappedFile> mappings;       // what tensors lie in
  std::deque<std::string> texts;          // what names, keys and values point into
  std::deque<std::vector<float>> values;  // tensors that the file holds in another form
  std::string header;                     // all that the meaning of the tensors' bytes depends on
  std::vector<GgufEntry> metadata;
  std::vector<GgufTensor> tensors;
  bool rotaryHalves = false;
};

// What every format is read into. Made from a GGUF file, or from ModelParts.
class GgufFile {
 public:
  // Maps and parses a file. Errors: IO, MODEL_FORMAT, MODEL_UNSUPPORTED.
  static std::unique_ptr<GgufFile> open(const std::string& path);
  // Parses a mapping that it then owns.
  static std::unique_ptr<GgufFile> parse(MappedFile mapping, const std::string& path);
  // Parses bytes that the caller keeps alive; `path` only names them in errors.
  static std::unique_ptr<GgufFile> parse(std::span<const std::byte> bytes, const std::string& path);

  // The same from another format, whose reader has checked where the data lies.
  // Errors: MODEL_FORMAT (a key or name given twice).
  static std::unique_ptr<GgufFile> assemble(ModelParts parts);

  // What a GGUF file starts with.
  static bool matches(std::span<const std::byte> head);

  const std::string& path() const { return path_; }
  const char* format() const { return format_; }
  uint32_t version() const { return version_; }                // 0 for formats without one
  size_t size() const { return size_; }                        // of all files together
  std::span<const std::byte> bytes() const { return bytes_; }  // of a GGUF file
  // What precedes the tensor data, padding left out.
  std::span<const std::byte> header() const { return header_; }
  // Rows of Q and K are in Hugging Face's order, (i, i + D/2), whatever the family's order is.
  bool rotaryHalves() const { return parts_.rotaryHalves; }

  // Error(IO) once bytes of its files could not be read any more: what was computed with them since
  // is worth nothing.
  void requireWhole() const;

  // MappedFile::release() of data of tensors. Only of a GGUF file: other formats have no types that
  // are read in another form.
  void release(const void* data, size_t bytes) const { mapping_.release(data, bytes); }

  const std::vector<GgufEntry>& metadata() const { return metadata_; }  // in file order
  const std::vector<GgufTensor>& tensors() const { return tensors_; }   // in file order
  const GgufEntry* findMetadata(std::string_view key) const;            // null when absent
  const GgufTensor* findTensor(std::string_view name) const;            // null when absent

 private:
  friend class GgufParser;
  GgufFile() = default;

  std::string path_;
  const char* format_ = "gguf";
  MappedFile mapping_;
  ModelParts parts_;  // of another format
  std::span<const std::byte> bytes_;
  uint32_t version_ = 0;
  size_t size_ = 0;
  std::span<const std::byte> header_;
  std::vector<GgufEntry> metadata_;
  std::vector<GgufTensor> tensors_;
  // Indices in order of name. Sorted rather than hashed: no input makes look-ups quadratic.
  std::vector<uint32_t> metadataByKey_;
  std::vector<uint32_t> tensorsByName_;
};

// The value as a non-negative integer, whatever its integer type; nothing when it is none.
std::optional<uint64_t> ggufUnsigned(const GgufValue& value);

// Reads one value of `type` from the front of bytes that the parser checked, and cuts it off.
GgufValue takeGgufValue(GgufType type, std::span<const std::byte>& bytes);

template <class Fn>
void GgufArray::forEach(Fn&& fn) const {
  std::span<const std::byte> rest = bytes;
  for (uint64_t i = 0; i < count; ++i) fn(takeGgufValue(elementType, rest));
}

}  // namespace baton
