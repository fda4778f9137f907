// SPDX-License-Identifier: Apache-2.0
// Model::load on real files: what it maps, when it refuses, and what its hash sees.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "check.h"
#include "model/content_hash.h"
#include "model/gguf_writer.h"
#include "model/model.h"
#include "model/refusal.h"
#include "model/temporary_folder.h"

using namespace baton;
using namespace baton::test;

namespace {

const std::atomic<int32_t> kGoOn{0};

std::string hashOf(const GgufWriter& writer) {
  const ExactBytes bytes(writer.build());
  return contentHash(*GgufFile::parse(bytes.span(), "memory"), kGoOn);
}

}  // namespace

TEST("load: a file is mapped, and outlives its name") {
  const TemporaryFolder folder;
  const std::string path = folder.write("tiny.gguf", tinyLlama().build());
  const auto model = Model::load(path, kGoOn);
  std::filesystem::remove(path);
  CHECK_EQ(model->file().path(), path);
  CHECK_EQ(model->config.vocab, 8);
  CHECK(reinterpret_cast<uintptr_t>(model->embedding.data) % 32 == 0);
  CHECK_EQ(model->contentHash, hashOf(tinyLlama()));
}

TEST("load: what is no readable model file") {
  const TemporaryFolder folder;
  const auto load = [&](const std::string& path) { Model::load(path, kGoOn); };
  expectRefused("missing", "IO", {"absent.gguf", "No such file"},
                [&] { load(folder.file("absent.gguf")); });
  expectRefused("folder", "IO", {"directory"}, [&] { load(folder.file("")); });
  REQUIRE(::mkfifo(folder.file("pipe").c_str(), 0600) == 0);
  expectRefused("pipe", "IO", {"pipe"}, [&] { load(folder.file("pipe")); });
  const std::string empty = folder.write("empty", "");
  expectRefused("empty", "MODEL_FORMAT", {"empty"}, [&] { load(empty); });
  const std::string pointer = folder.write("lfs", "version https://git-lfs.github.com/spec/v1\n");
  expectRefused("pointer", "MODEL_FORMAT", {"Git LFS", "git lfs pull"}, [&] { load(pointer); });
  const std::string whole = tinyLlama().build();
  const std::string cut = folder.write("cut", whole.substr(0, whole.size() - 1));
  expectRefused("cut", "MODEL_FORMAT", {"'output_norm.weight'", cut}, [&] { load(cut); });
}

TEST("load: a cancel that is set before gives ABORTED") {
  const TemporaryFolder folder;
  const std::string path = folder.write("tiny.gguf", tinyLlama().build());
  const std::atomic<int32_t> cancel{1};
  expectRefused("cancel", "ABORTED", {"tiny.gguf"}, [&] { Model::load(path, cancel); });
}

TEST("load: a file larger than free memory says both") {
  const TemporaryFolder folder;
  GgufWriter writer = tinyLlama();
  const uint64_t rows = uint64_t{1} << 38;  // one terabyte of float32, all of it a hole
  writer.tensors.push_back({"vast", {rows}, 0, ""});
  const std::string path = folder.write("vast.gguf", writer.build());
  const auto bytes = static_cast<off_t>(writer.build().size() + rows * 4 + 64);
  if (::truncate(path.c_str(), bytes) != 0) SKIP("this file system makes no file of one terabyte");
  const auto error = errorOf([&] { Model::load(path, kGoOn); });
  REQUIRE(error.has_value());
  CHECK_EQ(std::string(error->code()), "OUT_OF_MEMORY");
  double needed = 0;
  double free = 0;
  for (const auto& [name, value] : error->facts()) {
    if (name == "needed") needed = std::get<double>(value);
    if (name == "free") free = std::get<double>(value);
  }
  CHECK_EQ(needed, static_cast<double>(bytes));
  CHECK(free > 0 && free < needed);
}

TEST("load: a header of a terabyte is refused at once") {
  const TemporaryFolder folder;
  const uint64_t count = uint64_t{1} << 37;  // empty strings, eight bytes of hole each
  GgufWriter writer;
  writer.array("list", 8, count, "");
  const std::string path = folder.write("hole.gguf", writer.build());
  const auto bytes = static_cast<off_t>(count * 8 + 4096);
  if (::truncate(path.c_str(), bytes) != 0) SKIP("this file system makes no file of one terabyte");
  expectRefused("count", "MODEL_FORMAT", {"'list' is 137438953472", "at most"},
                [&] { Model::load(path, kGoOn); });
}

TEST("load: the hash sees metadata, names, types, shapes and sampled pages") {
  const std::string base = hashOf(tinyLlama());
  CHECK_EQ(base, hashOf(tinyLlama()));
  GgufWriter writer = tinyLlama();
  CHECK(base != hashOf(writer.f32("llama.rope.freq_base", 20000)));
  writer = tinyLlama();
  writer.tensors[0].name = "token_embd.weighs";
  CHECK(base != hashOf(writer));
  writer = tinyLlama();
  writer.at("blk.0.ffn_gate.weight").shape = {64, 32};
  CHECK(base != hashOf(writer));
  writer = tinyLlama();
  writer.at("blk.0.attn_v.weight").type = quantType(DType::kBF16).ggufId;
  CHECK(base != hashOf(writer));
  writer = tinyLlama();
  for (WrittenTensor& tensor : writer.tensors) {
    for (const size_t at : {size_t{0}, tensor.data.size() - 1}) {
      tensor.data[at] = static_cast<char>(tensor.data[at] ^ 1);
      CHECK(base != hashOf(writer));
      tensor.data[at] = static_cast<char>(tensor.data[at] ^ 1);
    }
  }
  CHECK_EQ(base, hashOf(writer));
}

TEST("load: of a long tensor 16 pages count, evenly spread, the first and the last among them") {
  GgufWriter writer;
  const uint64_t pages = 61;
  writer.tensor("long", {pages * kHashPageBytes / 4 - 3}, DType::kF32);
  const std::string base = hashOf(writer);
  std::vector<uint64_t> seen;
  for (uint64_t page = 0; page < pages; ++page) {
    char& byte = writer.tensors[0].data[page * kHashPageBytes + 11];
    byte = static_cast<char>(byte ^ 1);
    if (hashOf(writer) != base) seen.push_back(page);
    byte = static_cast<char>(byte ^ 1);
  }
  CHECK_EQ(seen.size(), kHashPages);
  CHECK_EQ(seen.front(), 0u);
  CHECK_EQ(seen.back(), pages - 1);
  for (size_t i = 1; i < seen.size(); ++i) CHECK_EQ(seen[i] - seen[i - 1], 4u);
}

TEST("load: the default model, where BATON_TEST_MODEL names it") {
  const char* path = std::getenv("BATON_TEST_MODEL");
  if (path == nullptr || *path == '\0') SKIP("BATON_TEST_MODEL names no file");
  const auto model = Model::load(path, kGoOn);
  const ModelConfig& config = model->config;
  CHECK_EQ(config.family, "llama");
  CHECK_EQ(config.layers, 30);
  CHECK_EQ(config.hidden, 576);
  CHECK_EQ(config.heads, 9);
  CHECK_EQ(config.kvHeads, 3);
  CHECK_EQ(config.headDim, 64);
  CHECK_EQ(config.ffn, 1536);
  CHECK_EQ(config.vocab, 49152);
  CHECK_EQ(config.contextLength, 8192);
  CHECK_EQ(config.ropes[0].base, 100000.0);
  CHECK_EQ(config.normEpsilon, 1e-5f);
  CHECK_EQ(model->parameters, 134515008);
  CHECK_EQ(model->weightType, "Q4_1");
  CHECK(model->output.data == model->embedding.data);
  CHECK_EQ(model->file().tensors().size(), 272u);
  CHECK_EQ(model->file().size(), 98362432u);
  const GgufEntry* tokens = model->file().findMetadata("tokenizer.ggml.tokens");
  REQUIRE(tokens != nullptr);
  size_t index = 0;
  size_t bytes = 0;
  std::get<GgufArray>(tokens->value).forEach([&](const GgufValue& value) {
    if (index == 1) CHECK_EQ(std::get<std::string_view>(value), "<|im_start|>");
    bytes += std::get<std::string_view>(value).size();
    ++index;
  });
  CHECK_EQ(index, 49152u);
  CHECK(bytes > 200000);
}
