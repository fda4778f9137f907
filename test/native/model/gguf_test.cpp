// SPDX-License-Identifier: Apache-2.0
// What a sound file says is handed out as it is, in its order.
#include "model/formats/gguf.h"
#include "check.h"
#include "model/formats/formats.h"
#include "model/gguf_writer.h"
#include "model/refusal.h"

using namespace baton;
using namespace baton::test;

namespace {

template <class T>
T valueOf(const GgufFile& file, const char* key) {
  const GgufEntry* entry = file.findMetadata(key);
  if (!CHECK(entry != nullptr) || !CHECK(std::holds_alternative<T>(entry->value))) return T{};
  return std::get<T>(entry->value);
}

}  // namespace

TEST("gguf: every scalar type keeps its value") {
  GgufWriter writer;
  writer.set("u8", 0, le<uint8_t>(200)).set("i8", 1, le<int8_t>(-7));
  writer.set("u16", 2, le<uint16_t>(60000)).set("i16", 3, le<int16_t>(-30000));
  writer.u32("u32", 4000000000u).set("i32", 5, le<int32_t>(-2000000000));
  writer.f32("f32", 0.5f).boolean("yes", true).boolean("no", false);
  writer.text("text", "caf\xc3\xa9").text("nothing", "");
  writer.set("u64", 10, le<uint64_t>(~0ull)).set("i64", 11, le<int64_t>(INT64_MIN));
  writer.set("f64", 12, le(1e300));
  for (const uint32_t version : {2u, 3u}) {
    writer.version = version;
    const ExactBytes bytes(writer.build());
    const auto file = GgufFile::parse(bytes.span(), "memory");
    CHECK_EQ(file->version(), version);
    CHECK_EQ(file->metadata().size(), 14u);
    CHECK_EQ(file->metadata()[0].key, "u8");
    CHECK_EQ(file->metadata()[13].key, "f64");
    CHECK_EQ(file->metadata()[13].type, GgufType::kF64);
    CHECK_EQ(valueOf<uint64_t>(*file, "u8"), 200u);
    CHECK_EQ(valueOf<int64_t>(*file, "i8"), -7);
    CHECK_EQ(valueOf<uint64_t>(*file, "u16"), 60000u);
    CHECK_EQ(valueOf<int64_t>(*file, "i16"), -30000);
    CHECK_EQ(valueOf<uint64_t>(*file, "u32"), 4000000000u);
    CHECK_EQ(valueOf<int64_t>(*file, "i32"), -2000000000);
    CHECK_EQ(valueOf<double>(*file, "f32"), 0.5);
    CHECK_EQ(valueOf<bool>(*file, "yes"), true);
    CHECK_EQ(valueOf<bool>(*file, "no"), false);
    CHECK_EQ(valueOf<std::string_view>(*file, "text"), "caf\xc3\xa9");
    CHECK_EQ(valueOf<std::string_view>(*file, "nothing"), "");
    CHECK_EQ(valueOf<uint64_t>(*file, "u64"), ~0ull);
    CHECK_EQ(valueOf<int64_t>(*file, "i64"), INT64_MIN);
    CHECK_EQ(valueOf<double>(*file, "f64"), 1e300);
    CHECK(file->findMetadata("f6") == nullptr);
    CHECK(file->findMetadata("") == nullptr);
    CHECK_EQ(file->header().size(), bytes.span().size());
  }
}

TEST("gguf: arrays of numbers, strings and arrays are walked in order") {
  GgufWriter writer;
  writer.array("numbers", 5, 3, le<int32_t>(1) + le<int32_t>(-2) + le<int32_t>(3));
  writer.texts("words", {"one", "", "three"});
  writer.array("nested", 9, 2,
               le<uint32_t>(0) + le<uint64_t>(2) + "\x05\x06" + le<uint32_t>(8) + le<uint64_t>(1) +
                   ggufString("in"));
  writer.array("empty", 8, 0, "");
  const ExactBytes bytes(writer.build());
  const auto file = GgufFile::parse(bytes.span(), "memory");
  std::string seen;
  const auto show = [&](const GgufValue& value, const auto& self) -> void {
    if (const auto* number = std::get_if<uint64_t>(&value)) seen += std::to_string(*number) + ";";
    if (const auto* number = std::get_if<int64_t>(&value)) seen += std::to_string(*number) + ";";
    if (const auto* text = std::get_if<std::string_view>(&value)) seen += std::string(*text) + ";";
    if (const auto* array = std::get_if<GgufArray>(&value)) {
      seen += "(";
      array->forEach([&](const GgufValue& element) { self(element, self); });
      seen += ")";
    }
  };
  for (const GgufEntry& entry : file->metadata()) show(entry.value, show);
  CHECK_EQ(seen, "(1;-2;3;)(one;;three;)((5;6;)(in;))()");
  CHECK_EQ(valueOf<GgufArray>(*file, "words").count, 3u);
}

TEST("gguf: tensors have type, shape in both orders, place and bytes") {
  GgufWriter writer;
  writer.tensor("one", {64, 3}, DType::kQ4_1).tensor("two", {5}, DType::kF32);
  writer.tensor("three", {2, 3, 4, 5}, DType::kF16);
  const std::string built = writer.build();
  const ExactBytes bytes(built);
  const auto file = GgufFile::parse(bytes.span(), "memory");
  REQUIRE(file->tensors().size() == 3);
  const GgufTensor& one = file->tensors()[0];
  CHECK_EQ(one.name, "one");
  CHECK_EQ(std::string(one.type->name), "Q4_1");
  CHECK_EQ(one.dims, 2);
  CHECK(one.rowMajorShape() == std::vector<int64_t>({3, 64}));
  CHECK_EQ(one.elements(), 192);
  CHECK_EQ(one.bytes, 120u);
  CHECK(file->tensors()[2].rowMajorShape() == std::vector<int64_t>({5, 4, 3, 2}));
  for (const WrittenTensor& written : writer.tensors) {
    const GgufTensor* tensor = file->findTensor(written.name);
    REQUIRE(tensor != nullptr);
    CHECK_EQ(tensor->offset % 32, 0u);
    CHECK(tensor->data == file->bytes().data() + tensor->offset);
    CHECK(std::string_view(reinterpret_cast<const char*>(tensor->data), tensor->bytes) ==
          written.data);
  }
  CHECK(file->findTensor("on") == nullptr);
  CHECK_EQ(file->header().size(), writer.header().size());
  CHECK_EQ(file->size(), built.size());
}

TEST("gguf: general.alignment moves the data") {
  for (const uint32_t alignment : {8u, 64u, 4096u}) {
    GgufWriter writer;
    writer.alignment = alignment;
    writer.u32("general.alignment", alignment);
    writer.tensor("a", {3}, DType::kF32).tensor("b", {7}, DType::kF32);
    const ExactBytes bytes(writer.build());
    const auto file = GgufFile::parse(bytes.span(), "memory");
    CHECK_EQ(file->tensors()[1].offset % alignment, 0u);
    CHECK(std::memcmp(file->tensors()[1].data, writer.tensors[1].data.data(), 28) == 0);
  }
}

TEST("gguf: data may lie in another order than the infos") {
  GgufWriter writer;
  writer.tensor("late", {8}, DType::kF32).tensor("early", {8}, DType::kF32);
  std::swap(writer.tensors[0].data, writer.tensors[1].data);
  writer.tensors[0].offset = 32;
  writer.tensors[1].offset = 0;
  const ExactBytes bytes(writer.build());
  const auto file = GgufFile::parse(bytes.span(), "memory");
  CHECK(file->findTensor("early")->data < file->findTensor("late")->data);
}

TEST("gguf: many keys and tensors are all found") {
  GgufWriter writer;
  for (uint32_t i = 0; i < 500; ++i) {
    writer.entries.emplace_back("key." + std::to_string(i * 7919 % 500), le(4u) + le(i));
    writer.tensor("tensor." + std::to_string(i * 7919 % 500), {1 + i % 3}, DType::kF32);
  }
  const ExactBytes bytes(writer.build());
  const auto file = GgufFile::parse(bytes.span(), "memory");
  bool ok = true;
  for (uint32_t i = 0; i < 500; ++i) {
    const GgufEntry* entry = file->findMetadata("key." + std::to_string(i * 7919 % 500));
    const GgufTensor* tensor = file->findTensor("tensor." + std::to_string(i * 7919 % 500));
    ok = ok && entry == &file->metadata()[i] && tensor == &file->tensors()[i];
  }
  CHECK(ok);
}

TEST("gguf: the formats table opens by content") {
  const ExactBytes bytes(tinyLlama().build());
  const ExactBytes other(le<uint64_t>(2) + "{}");  // safetensors
  REQUIRE(fileFormats().size() == 2);
  for (const size_t format : {0u, 1u}) {
    const FileFormat& row = fileFormats()[format];
    CHECK_EQ(row.matches(bytes.span()), format == 0);
    CHECK_EQ(row.matches(other.span()), format == 1);
    CHECK(!row.matches(bytes.span().first(3)) && !row.matches(other.span().first(8)));
  }
  CHECK_THROWS("IO", openModelFile("/nonexistent/model.gguf"));
}
