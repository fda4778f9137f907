// SPDX-License-Identifier: Apache-2.0
// A plain table of signatures; the first that matches names the file.
#include "model/formats/sniff.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string_view>

namespace baton {
namespace {

using namespace std::string_view_literals;

struct Signature {
  size_t offset;
  std::string_view bytes;
  const char* what;
  const char* remedy;
};

constexpr const char* kFetch = "Fetch the model file itself again.";
constexpr const char* kConvert = "Convert the model to GGUF, or fetch a GGUF file of it.";
constexpr const char* kUnpack = "Unpack it and give the GGUF file inside, or fetch a GGUF file.";

constexpr Signature kSignatures[] = {
    {0, "version https://git-lfs"sv, "a Git LFS pointer, not the file it stands for",
     "Fetch the real file: git lfs pull, or download it from the repository's page."},
    {0, "<!DOCTYPE"sv, "an HTML page", kFetch},
    {0, "<!doctype"sv, "an HTML page", kFetch},
    {0, "<html"sv, "an HTML page", kFetch},
    {0, "<?xml"sv, "an XML document", kFetch},
    {0, "PK\x03\x04"sv, "a zip archive (PyTorch checkpoint, Python wheel or zip file)", kUnpack},
    {8, "{\""sv, "a safetensors file", kConvert},
    {0, "FUGG"sv, "a GGUF file with its bytes swapped (big-endian)", kConvert},
    {0, "lmgg"sv, "a file of the older GGML format", kConvert},
    {0, "fmgg"sv, "a file of the older GGMF format", kConvert},
    {0, "tjgg"sv, "a file of the older GGJT format", kConvert},
    {0, "\x1f\x8b"sv, "a gzip archive", kUnpack},
    {0, "\x28\xb5\x2f\xfd"sv, "a Zstandard archive", kUnpack},
    {0, "\xfd\x37zXZ"sv, "an xz archive", kUnpack},
    {0, "BZh"sv, "a bzip2 archive", kUnpack},
    {0, "7z\xbc\xaf"sv, "a 7-Zip archive", kUnpack},
    {257, "ustar"sv, "a tar archive", kUnpack},
    {0, "\x89HDF"sv, "an HDF5 file", kConvert},
    {0, "\x80\x02"sv, "a Python pickle", kConvert},
    {0, "\x80\x04"sv, "a Python pickle", kConvert},
    {0,
     "\x7f"
     "ELF"sv,
     "an ELF program or library", kFetch},
    {0, "{"sv, "JSON text", kFetch},
    {0, "\0\0\0\0\0\0\0\0"sv, "zero bytes (a download that never filled its space)", kFetch},
};

const Signature* findSignature(std::span<const std::byte> head) {
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  const auto* found = std::ranges::find_if(kSignatures, [&](const Signature& signature) {
    return text.size() >= signature.offset &&
           text.substr(signature.offset).starts_with(signature.bytes);
  });
  return found == std::end(kSignatures) ? nullptr : found;
}

}  // namespace

std::string describeBytes(std::span<const std::byte> head) {
  if (head.empty()) return "empty";
  if (const Signature* found = findSignature(head)) return found->what;
  std::string text = "no known format, it starts with the bytes";
  for (const std::byte byte : head.first(std::min<size_t>(head.size(), 4))) {
    char hex[4];
    std::snprintf(hex, sizeof hex, " %02x", std::to_integer<unsigned>(byte));
    text += hex;
  }
  return text;
}

std::string remedyForBytes(std::span<const std::byte> head) {
  const Signature* found = head.empty() ? nullptr : findSignature(head);
  return found ? found->remedy : kFetch;
}

}  // namespace baton
