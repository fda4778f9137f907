// SPDX-License-Identifier: Apache-2.0
// Every way in which a file can lie is a typed error that names field, value, expectation and byte;
// none crashes.
#include <limits>
#include <random>

#include "check.h"
#include "fuzz/mutate.h"
#include "fuzz/targets.h"
#include "model/gguf_writer.h"
#include "model/refusal.h"

using namespace baton;
using namespace baton::test;

namespace {

using Words = std::vector<std::string>;

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
constexpr const char* kFormat = "MODEL_FORMAT";
constexpr const char* kUnsupported = "MODEL_UNSUPPORTED";

void refused(const char* what, const char* code, const Words& words, const std::string& bytes) {
  const ExactBytes exact(bytes);
  expectRefused(what, code, words, [&] { GgufFile::parse(exact.span(), "some.gguf"); });
  expectRefused(what, code, {"some.gguf"}, [&] { GgufFile::parse(exact.span(), "some.gguf"); });
}

void accepted(const std::string& bytes) {
  const ExactBytes exact(bytes);
  CHECK(GgufFile::parse(exact.span(), "some.gguf") != nullptr);
}

// Two F32 tensors of 8 elements, one metadata entry.
GgufWriter small() {
  GgufWriter writer;
  writer.u32("answer", 42);
  writer.tensor("first", {8}, DType::kF32).tensor("second", {8}, DType::kF32);
  return writer;
}

}  // namespace

TEST("gguf hostile: truncated at any byte") {
  const std::string whole = tinyLlama().build();
  accepted(whole);
  size_t refusals = 0;
  for (size_t size = 0; size < whole.size(); ++size) {
    const ExactBytes cut(std::string_view(whole).substr(0, size));
    const auto error = errorOf([&] { GgufFile::parse(cut.span(), "cut"); });
    refusals += error && std::string(error->code()) == kFormat;
  }
  CHECK_EQ(refusals, whole.size());
}

TEST("gguf hostile: content of other kinds is named") {
  const auto looks = [](const char* like, const std::string& bytes) {
    refused(like, kFormat, {like, "gguf"}, bytes);
  };
  looks("empty", "");
  looks("no known format, it starts with the bytes 47 47", "GG");
  looks("no known format, it starts with the bytes 01 02 03 04", "\x01\x02\x03\x04\x05");
  looks("zip archive", std::string("PK\x03\x04\x14\0\0\0", 8));
  looks("safetensors", le<uint64_t>(52) + "{\"a\":{\"dtype\":\"F32\"}}");
  looks("Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n");
  looks("HTML page", "<!DOCTYPE html><html></html>");
  looks("HTML page", "<html><body>404</body></html>");
  looks("gzip", "\x1f\x8b\x08rest");
  looks("tar archive", std::string(257, 'n') + "ustar");
  looks("Python pickle", "\x80\x02}q");
  looks("GGML", "lmggrest");
  looks("big-endian", std::string("FUGG\0\0\0\3", 8));
  looks("JSON", "{ \"error\": \"not found\" }");
  looks("zero bytes", std::string(64, '\0'));
}

TEST("gguf hostile: versions and byte order") {
  for (const uint32_t version : {0u, 1u, 4u, 0xffffffffu}) {
    GgufWriter writer = small();
    writer.version = version;
    refused("version", kFormat, {"GGUF version is " + std::to_string(version), "2 or 3", "byte 4"},
            writer.build());
  }
  GgufWriter writer = small();
  writer.version = 0x03000000;
  refused("byte order", kFormat, {"big-endian", "little-endian"}, writer.build());
}

TEST("gguf hostile: huge counts") {
  for (const uint64_t count : {uint64_t{1} << 20, uint64_t{1} << 32, uint64_t{1} << 63, kMax}) {
    GgufWriter writer = small();
    writer.tensorCount = count;
    refused("tensors", kFormat, {"tensor count is " + std::to_string(count), "byte 8"},
            writer.build());
    writer = small();
    writer.entryCount = count;
    refused("entries", kFormat, {"metadata count is " + std::to_string(count), "byte 16"},
            writer.build());
    for (const uint32_t type : {0u, 4u, 7u, 8u, 9u, 12u}) {
      writer = small();
      writer.array("list", type, count, "xxxxxxxxxxxxxxxx");
      refused("array", kFormat, {"metadata 'list' is " + std::to_string(count), "remain"},
              writer.build());
    }
  }
  GgufWriter writer = small();
  writer.tensorCount = 3;
  writer.tensors[1].data.resize(400);  // enough bytes for the claim, but no third info
  refused("one tensor too many", kFormat, {"tensor 2"}, writer.build());
}

TEST("gguf hostile: giant strings") {
  for (const uint64_t length : {uint64_t{1000}, uint64_t{1} << 40, kMax, kMax - 7}) {
    const std::string said = "a string of " + std::to_string(length) + " bytes";
    GgufWriter writer = small();
    writer.set("text", 8, le(length) + "abc");
    refused("value", kFormat, {"metadata 'text' is " + said, "at most"}, writer.build());
    writer = small();
    writer.array("texts", 8, 2, ggufString("ok") + le(length) + "abc");
    refused("element", kFormat, {"metadata 'texts' is " + said}, writer.build());
  }
  std::string bytes = "GGUF" + le(3u) + le<uint64_t>(0) + le<uint64_t>(1) + le(kMax) + "keys";
  bytes += std::string(64, 'k');
  refused("key", kFormat, {"key of metadata entry 0", "at most"}, bytes);
  GgufWriter writer = small();
  writer.u32(std::string(65536, 'k'), 1);
  refused("long key", kFormat, {"65536 bytes", "at most 65535"}, writer.build());
  writer = small();
  writer.tensors[0].name = std::string(129, 'n');
  refused("long name", kFormat, {"name of tensor 0", "129 bytes", "at most 128"}, writer.build());
}

TEST("gguf hostile: names that are empty, repeated or unprintable") {
  GgufWriter writer = small();
  writer.u32("", 1);
  refused("empty key", kFormat, {"key of metadata entry 1 is empty"}, writer.build());
  writer = small();
  writer.tensors[1].name = "";
  refused("empty name", kFormat, {"name of tensor 1 is empty"}, writer.build());
  writer = small();
  writer.entries.emplace_back("answer", le(8u) + ggufString("again"));
  refused("key", kFormat, {"metadata key 'answer' is given twice", "byte 64"}, writer.build());
  writer = small();
  writer.tensors[1].name = "first";
  refused("name", kFormat, {"tensor name 'first' is given twice"}, writer.build());
  writer = small();
  writer.tensors[1].name = "\x1b[2J\xff\n'";
  writer.tensors[1].type = 77;
  refused("escapes", kUnsupported, {"\\x1b[2J\\xff\\x0a"}, writer.build());
}

TEST("gguf hostile: value types") {
  for (const uint32_t type : {13u, 255u, 0xffffffffu}) {
    GgufWriter writer = small();
    writer.set("odd", type, "12345678");
    refused("value", kFormat, {"value type of metadata 'odd' is " + std::to_string(type)},
            writer.build());
    writer = small();
    writer.array("odds", type, 1, "12345678");
    refused("element", kFormat, {"metadata 'odds' is " + std::to_string(type)}, writer.build());
  }
  GgufWriter writer = small();
  writer.set("flag", 7, "\x02");
  refused("bool", kFormat, {"metadata 'flag' is 2", "0 or 1"}, writer.build());
  writer = small();
  writer.array("flags", 7, 3, std::string("\x01\x00\xff", 3));
  refused("bools", kFormat, {"metadata 'flags' is 255"}, writer.build());
}

TEST("gguf hostile: nested arrays") {
  const auto nested = [](int depth) {
    std::string inner = le(0u) + le<uint64_t>(1) + "x";
    for (int i = 1; i < depth; ++i) inner = le(9u) + le<uint64_t>(1) + inner;
    GgufWriter writer;
    writer.set("deep", 9, inner);
    return writer.build();
  };
  accepted(nested(4));
  refused("five", kFormat, {"'deep' is nested deeper than 4"}, nested(5));
  refused("many", kFormat, {"'deep' is nested deeper than 4"}, nested(2000));
}

TEST("gguf hostile: tensor types") {
  const auto typed = [](uint32_t type) {
    GgufWriter writer = small();
    writer.tensors[0].type = type;
    return writer.build();
  };
  refused("other", kUnsupported, {"type of tensor 'first' is 20 (IQ4_NL)", "F32", "Q4_1", "Q6_K"},
          typed(20));
  for (const uint32_t type : {12u, 13u, 14u}) {  // super-blocks need rows of a multiple of 256
    refused("row", kFormat, {"row length of tensor 'first' is 8", "multiple of 256"}, typed(type));
  }
  refused("gone", kUnsupported, {"type of tensor 'first' is 4,"}, typed(4));
  refused("absurd", kUnsupported, {"is 4294967295"}, typed(0xffffffffu));
}

TEST("gguf hostile: shapes") {
  GgufWriter writer = small();
  for (const uint32_t dims : {0u, 5u, 0xffffffffu}) {
    writer.tensors[0].dims = dims;
    refused("dims", kFormat,
            {"dimension count of tensor 'first' is " + std::to_string(dims), "1 to 4"},
            writer.build());
  }
  const auto shaped = [](std::vector<uint64_t> shape) {
    GgufWriter file = small();
    file.tensors[0].shape = std::move(shape);
    return file.build();
  };
  const uint64_t big = uint64_t{1} << 32;
  refused("zero", kFormat, {"shape of tensor 'first' is 0 in dimension 1"}, shaped({8, 0}));
  refused("product", kFormat, {"4294967296 in dimension 1", "elements"}, shaped({big, big}));
  refused("wrap to 0", kFormat, {"in dimension 1"}, shaped({1u << 31, big * 2, 1, 1}));
  refused("wrap to 8", kFormat, {"in dimension 0"}, shaped({(uint64_t{1} << 61) + 1, 8}));
  refused("negative", kFormat, {"18446744073709551608 in dimension 0"}, shaped({kMax - 7}));
  refused("large", kFormat, {"offset of tensor 'first' is 0 with 4294967296 bytes", "holds 64"},
          shaped({1u << 30}));
  writer = GgufWriter();
  writer.tensor("blocks", {64}, DType::kQ4_1);
  writer.tensors[0].shape = {33};
  refused("block", kFormat, {"row length of tensor 'blocks' is 33", "multiple of 32 for Q4_1"},
          writer.build());
}

TEST("gguf hostile: offsets") {
  const auto placed = [](uint64_t offset) {
    GgufWriter writer = small();
    writer.tensors[1].offset = offset;
    return writer.build();
  };
  refused("misaligned", kFormat, {"offset of tensor 'second' is 33", "multiple of 32"}, placed(33));
  for (const uint64_t offset : {uint64_t{64}, uint64_t{1} << 40, uint64_t{1} << 63, kMax - 31}) {
    refused("outside", kFormat,
            {"offset of tensor 'second' is " + std::to_string(offset), "inside the file"},
            placed(offset));
  }
  refused("overlap", kFormat, {"overlapping 'first'"}, placed(0));
  GgufWriter writer;  // the end of one lies in the other
  writer.tensor("long", {16}, DType::kF32).tensor("short", {8}, DType::kF32);
  writer.tensors[1].offset = 32;
  refused("partial overlap", kFormat, {"data of tensor 'short' is overlapping 'long'"},
          writer.build());
}

TEST("gguf hostile: alignment") {
  for (const uint32_t alignment : {0u, 1u, 4u, 12u, 33u, 0x80000000u}) {
    GgufWriter writer = small();
    writer.u32("general.alignment", alignment);
    refused("alignment", kFormat,
            {"metadata 'general.alignment' is " + std::to_string(alignment), "power of two"},
            writer.build());
  }
  GgufWriter writer = small();
  writer.text("general.alignment", "32");
  refused("text", kFormat, {"general.alignment", "power of two"}, writer.build());
  writer = small();
  writer.u32("general.alignment", 1u << 20);
  refused("data beyond the file", kFormat, {"start of the tensor data is byte 1048576"},
          writer.build());
  refused("no data", kFormat, {"tensor", "inside the file"}, small().header());
}

TEST("gguf hostile: split files") {
  GgufWriter writer = small();
  writer.set("split.count", 2, le<uint16_t>(3));
  refused("split", kUnsupported, {"'split.count' is 3", "one file", "Merge"}, writer.build());
  writer.text("split.count", "many");
  refused("no count", kUnsupported, {"'split.count'"}, writer.build());
  writer.set("split.count", 2, le<uint16_t>(1));
  accepted(writer.build());
}

TEST("gguf hostile: an error says where") {
  GgufWriter writer = small();
  writer.set("flag", 7, "\x02");
  const std::string bytes = writer.build();
  const ExactBytes exact(bytes);
  const auto error = errorOf([&] { GgufFile::parse(exact.span(), "some.gguf"); });
  REQUIRE(error.has_value());
  double offset = -1;
  for (const auto& [name, value] : error->facts()) {
    if (name == "offset") offset = std::get<double>(value);
  }
  CHECK_EQ(offset, static_cast<double>(bytes.find("flag") + 8));
  CHECK(bytes[static_cast<size_t>(offset)] == '\x02');
}

TEST("gguf hostile: 200000 mutations are models or typed refusals") {
  const int rounds = 200000 * fuzzFactor();
  Random random(20260801 + static_cast<uint64_t>(fuzzFactor()) - 1);
  GgufWriter writer = tinyLlama();
  writer.array("mixed", 9, 2,
               le(7u) + le<uint64_t>(2) + std::string("\1\0", 2) + le(8u) + le<uint64_t>(1) +
                   ggufString("x"));
  const std::string sound = writer.build();
  const size_t headerBytes = writer.header().size();
  int accepted = 0;
  for (int i = 0; i < rounds; ++i) {
    std::string bytes = sound;
    for (uint64_t changes = 1 + random() % 3; changes != 0; --changes) {
      mutate(bytes, headerBytes, random);
    }
    accepted += readHostileModel(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  }
  // Both outcomes were met: the mutations are neither harmless nor all caught by the first check.
  CHECK(accepted > rounds / 200);
  CHECK(accepted < rounds / 2);
}
