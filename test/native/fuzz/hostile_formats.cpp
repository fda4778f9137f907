// SPDX-License-Identifier: Apache-2.0
// Every reader works on a copy of exactly the bytes' size, so that a sanitizer sees a read beyond
// the end. What it may ask memory for is bounded by what it was given.
#include "fuzz/hostile_formats.h"

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "base/error.h"
#include "base/json.h"
#include "fuzz/allocations.h"
#include "model/formats/safetensors.h"
#include "model/model.h"

namespace baton::test {
namespace {

volatile uint64_t sink;  // keeps the reads

// Bytes of memory for a byte of text: an empty array in an array is two bytes and one Json of 40,
// which a growing vector copies about twice.
constexpr uint64_t kMostPerByte = 160;
constexpr uint64_t kMostForNothing = 16384;

// Runs `work` and checks what it asked for and gave back.
template <class Work>
bool within(uint64_t given, const Work& work) {
  const Allocations before = allocations();
  const bool taken = work();
  const Allocations after = allocations();
  const uint64_t asked = after.bytes - before.bytes;
  if (asked > given * kMostPerByte + kMostForNothing) {
    throw std::logic_error(std::to_string(given) + " bytes took " + std::to_string(asked) +
                           " of memory");
  }
  if (after.live != before.live) throw std::logic_error("memory was not given back");
  return taken;
}

// True when `work` ends, false when it refuses as a reader of model files may.
template <class Work>
bool takes(const Work& work) {
  try {
    work();
    return true;
  } catch (const Error& error) {
    const std::string code = error.code();
    const bool allowed =
        code == code::kModelFormat || code == code::kModelUnsupported || code == code::kIo;
    if (!allowed) throw std::logic_error("a file gave " + code + ": " + error.what());
    return false;
  }
}

void write(const Json& json, std::string& out);

void writeText(const std::string& text, std::string& out) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned char>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  out += '"';
}

void writeNumber(const Json& json, std::string& out) {
  if (const auto* integer = std::get_if<int64_t>(&json.value)) {
    out += std::to_string(*integer);
    return;
  }
  char text[40];
  std::snprintf(text, sizeof text, "%.17e", std::get<double>(json.value));
  out += text;
}

void write(const Json& json, std::string& out) {
  if (json.isNull()) {
    out += "null";
  } else if (json.boolean() != nullptr) {
    out += *json.boolean() ? "true" : "false";
  } else if (json.text() != nullptr) {
    writeText(*json.text(), out);
  } else if (json.array() != nullptr) {
    out += '[';
    for (const Json& one : *json.array()) {
      if (&one != &json.array()->front()) out += ',';
      write(one, out);
    }
    out += ']';
  } else if (json.object() != nullptr) {
    out += '{';
    for (const auto& member : *json.object()) {
      if (&member != &json.object()->front()) out += ',';
      writeText(member.first, out);
      out += ':';
      write(member.second, out);
    }
    out += '}';
  } else {
    writeNumber(json, out);
  }
}

void requireSameAgain(const Json& json) {
  std::string once, twice;
  write(json, once);
  JsonFault fault;
  const std::optional<Json> again = parseJson(once, fault);
  if (!again) throw std::logic_error("what was read is written as " + once);
  write(*again, twice);
  if (once != twice) throw std::logic_error(once + " is read as " + twice);
}

}  // namespace

bool readHostileJson(const std::string& text) {
  const std::unique_ptr<char[]> copy(new char[text.size()]);
  if (!text.empty()) std::memcpy(copy.get(), text.data(), text.size());
  std::string shown;
  const bool taken = within(text.size(), [&] {
    JsonFault fault;
    const std::optional<Json> json = parseJson({copy.get(), text.size()}, fault);
    const bool explained = fault.what[0] != '\0' && fault.offset <= text.size();
    if (!json && !explained) throw std::logic_error("refused without place and reason");
    return json.has_value();
  });
  if (!taken) return false;
  JsonFault fault;
  requireSameAgain(*parseJson({copy.get(), text.size()}, fault));
  return true;
}

bool readHostileSafetensors(const std::string& bytes) {
  const std::unique_ptr<std::byte[]> copy(new std::byte[bytes.size()]);
  if (!bytes.empty()) std::memcpy(copy.get(), bytes.data(), bytes.size());
  const std::span<const std::byte> span(copy.get(), bytes.size());
  return within(bytes.size(), [&] {
    return takes([&] {
      uint64_t held = 0;
      for (const SafetensorsTensor& tensor : readSafetensors(span, "fuzz").tensors) {
        if (tensor.data.empty()) throw std::logic_error("a tensor without data");
        sink = sink + std::to_integer<uint64_t>(tensor.data.front()) +
               std::to_integer<uint64_t>(tensor.data.back());
        held += tensor.data.size();
      }
      if (held > bytes.size()) throw std::logic_error("tensors over one another");
    });
  });
}

bool readHostileFolder(const std::string& path) {
  return takes([&] {
    const std::atomic<int32_t> cancel{0};
    const auto model = Model::load(path, cancel);
    for (const LayerWeights& layer : model->layers) sink = sink + (layer.attnNorm[0] > 0);
    sink = sink + static_cast<const unsigned char*>(model->embedding.data)[0];
  });
}

}  // namespace baton::test
