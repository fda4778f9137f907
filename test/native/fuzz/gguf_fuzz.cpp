// SPDX-License-Identifier: Apache-2.0
// Any bytes at all are a model or a typed refusal. What was accepted is read to the end: every
// metadata value, the first and last byte of every tensor, and, if a family takes the file, every
// weight that it points at.
//
// The mutation test calls this on every run, `npm run fuzz -- gguf` for as long as it is told.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "base/error.h"
#include "fuzz/targets.h"
#include "model/model.h"
#include "model/tiny_family.h"

namespace {

using namespace baton;

volatile uint64_t sink;  // keeps the reads

void readValue(const GgufValue& value) {
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    if (!text->empty()) sink = sink + static_cast<unsigned char>(text->back());
  } else if (const auto* array = std::get_if<GgufArray>(&value)) {
    array->forEach(readValue);
  }
}

void readWeight(const Weight& weight) {
  const QuantType& type = quantType(weight.type);
  const size_t rowBytes = quantRowBytes(type, weight.cols);
  const auto* data = static_cast<const unsigned char*>(weight.data);
  sink = sink + data[0] + data[rowBytes * static_cast<size_t>(weight.rows) - 1];
}

void readModel(const Model& model) {
  readWeight(model.embedding);
  readWeight(model.output);
  const int last = model.config.hidden - 1;
  sink = sink + (model.outputNorm[last] > 0);
  for (const LayerWeights& layer : model.layers) {
    sink = sink + (layer.attnNorm[last] > 0) + (layer.ffnNorm[last] > 0);
    for (const Weight& weight :
         {layer.q, layer.k, layer.v, layer.o, layer.gate, layer.up, layer.down}) {
      readWeight(weight);
    }
  }
}

void readFile(const GgufFile& file) {
  for (const GgufEntry& entry : file.metadata()) {
    readValue(entry.value);
    if (file.findMetadata(entry.key) != &entry) throw std::logic_error("a key is not found");
  }
  for (const GgufTensor& tensor : file.tensors()) {
    sink = sink + std::to_integer<uint64_t>(tensor.data[0]) +
           std::to_integer<uint64_t>(tensor.data[tensor.bytes - 1]);
    if (file.findTensor(tensor.name) != &tensor) throw std::logic_error("a tensor is not found");
  }
}

}  // namespace

namespace baton::test {

// True when the bytes are a model, false when they were refused by a typed error; anything else
// throws.
bool readHostileModel(const uint8_t* data, size_t size) {
  // A copy of exactly this size: alignment is known, and a read beyond the end is seen.
  const std::unique_ptr<std::byte[]> copy(new std::byte[size]);
  if (size != 0) std::memcpy(copy.get(), data, size);
  const std::atomic<int32_t> cancel{0};
  try {
    auto file = GgufFile::parse(std::span<const std::byte>(copy.get(), size), "fuzz");
    readFile(*file);
    readModel(*Model::fromFile(std::move(file), cancel));
    return true;
  } catch (const Error& error) {
    const std::string code = error.code();
    if (code != code::kModelFormat && code != code::kModelUnsupported) {
      throw std::logic_error("a file gave " + code + ": " + error.what());
    }
    return false;
  }
}

std::vector<std::string> ggufSeeds() {
  std::vector<std::string> seeds;
  for (const Family* family : families()) seeds.push_back(tinyFamily(*family).build());
  GgufWriter odd = tinyFamily(*families().front());
  odd.version = 2;
  odd.array("mixed", 9, 2,
            le(7u) + le<uint64_t>(2) + std::string("\1\0", 2) + le(8u) + le<uint64_t>(1) +
                ggufString("x"));
  seeds.push_back(odd.build());
  return seeds;
}

}  // namespace baton::test
