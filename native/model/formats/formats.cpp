// SPDX-License-Identifier: Apache-2.0
// The first bytes decide which format reads a file, never its name. A folder is a Hugging Face one.
#include "model/formats/formats.h"

#include <filesystem>

#include "model/fault.h"
#include "model/formats/hugging_face.h"
#include "model/formats/safetensors.h"
#include "model/formats/sniff.h"

namespace baton {
namespace {

constexpr FileFormat kFormats[] = {
    {"gguf", GgufFile::matches, GgufFile::parse},
    {"safetensors", looksLikeSafetensors, parseSafetensorsModel},
};

std::string formatNames() {
  std::string names;
  for (const FileFormat& format : kFormats)
    names += (names.empty() ? "" : ", ") + std::string(format.name);
  return names;
}

}  // namespace

std::span<const FileFormat> fileFormats() {
  return kFormats;
}

std::unique_ptr<GgufFile> openModelFile(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return openModelFolder(path);
  MappedFile mapping = MappedFile::open(path);
  for (const FileFormat& format : kFormats) {
    if (format.matches(mapping.bytes())) return format.parse(std::move(mapping), path);
  }
  refuseNoModel(path, mapping.bytes());
}

void refuseNoModel(const std::string& path, std::span<const std::byte> head) {
  refuseFormat({path, "content", describeBytes(head), "a model file (" + formatNames() + ")", 0,
                remedyForBytes(head)});
}

}  // namespace baton
