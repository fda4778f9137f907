// SPDX-License-Identifier: Apache-2.0
// The table of file formats. A format is one file in this folder and one line in formats.cpp.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/mmap.h"
#include "model/formats/gguf.h"

namespace baton {

struct FileFormat {
  const char* name;
  bool (*matches)(std::span<const std::byte> head);
  std::unique_ptr<GgufFile> (*parse)(MappedFile mapping, const std::string& path);
};

std::span<const FileFormat> fileFormats();

// Maps a file and parses it by the format that its first bytes show, or opens a model folder.
// Errors: IO; MODEL_FORMAT, naming what the file looks like when no format knows it;
// MODEL_UNSUPPORTED.
std::unique_ptr<GgufFile> openModelFile(const std::string& path);

// MODEL_FORMAT that says what the bytes look like.
[[noreturn]] void refuseNoModel(const std::string& path, std::span<const std::byte> head);

}  // namespace baton
