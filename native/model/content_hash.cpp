// SPDX-License-Identifier: Apache-2.0
// Every part goes in behind its length, so that no two different models feed the same bytes.
#include "model/content_hash.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"

namespace baton {
namespace {

void addNumber(Sha256& hash, uint64_t number) {
  uint8_t bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(number >> (8 * i));
  hash.update(bytes, sizeof bytes);
}

void addText(Sha256& hash, std::string_view text) {
  addNumber(hash, text.size());
  hash.update(text.data(), text.size());
}

void addPages(Sha256& hash, const GgufTensor& tensor) {
  const uint64_t pages = (tensor.bytes + kHashPageBytes - 1) / kHashPageBytes;
  const uint64_t samples = std::min(pages, kHashPages);
  for (uint64_t i = 0; i < samples; ++i) {
    const uint64_t page = samples == 1 ? 0 : i * (pages - 1) / (samples - 1);
    const uint64_t begin = page * kHashPageBytes;
    hash.update(tensor.data + begin, std::min<uint64_t>(kHashPageBytes, tensor.bytes - begin));
  }
}

}  // namespace

std::string contentHash(const GgufFile& file, const std::atomic<int32_t>& cancel) {
  Sha256 hash;
  addText(hash, "baton model 1");
  addNumber(hash, file.header().size());
  hash.update(file.header().data(), file.header().size());
  for (const GgufTensor& tensor : file.tensors()) {
    if (cancel.load(std::memory_order_relaxed) != 0) {
      throw Error(code::kAborted, "Loading model file " + file.path() + " was cancelled.");
    }
    addText(hash, tensor.name);
    addText(hash, tensor.type->name);
    for (const int64_t dim : tensor.shape) addNumber(hash, static_cast<uint64_t>(dim));
    addNumber(hash, tensor.bytes);
    addPages(hash, tensor);
  }
  return hash.hex();
}

}  // namespace baton
