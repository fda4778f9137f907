// SPDX-License-Identifier: Apache-2.0
#include "gpu/kernels/shapes.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "base/json.h"

namespace baton::bench {
namespace {

const Json& member(const Json& of, const char* key) {
  const Json* found = of.find(key);
  if (found == nullptr) throw std::runtime_error(std::string("the shapes have no ") + key);
  return *found;
}

size_t countAt(const Json& of, const char* key) {
  const auto count = member(of, key).count();
  if (!count) throw std::runtime_error(std::string("of the shapes ") + key + " is no number");
  return *count;
}

int intAt(const Json& of, const char* key) {
  return static_cast<int>(countAt(of, key));
}

std::vector<int> intsAt(const Json& of, const char* key) {
  const Json::Array* list = member(of, key).array();
  if (list == nullptr) throw std::runtime_error(std::string("of the shapes ") + key + " is no list");
  std::vector<int> all;
  for (const Json& one : *list) all.push_back(static_cast<int>(one.count().value_or(0)));
  return all;
}

std::string textAt(const Json& of, const char* key) {
  const std::string* text = member(of, key).text();
  if (text == nullptr) throw std::runtime_error(std::string("of the shapes ") + key + " is no text");
  return *text;
}

KvType kvTypeOf(const std::string& name) {
  for (const KvType type : kKvTypes) {
    if (name == kvTypeName(type)) return type;
  }
  throw std::runtime_error("there is no KV type " + name);
}

ViewShape viewOf(const Json& one) {
  return {textAt(one, "name"),     intAt(one, "heads"), intAt(one, "kvHeads"),
          intAt(one, "dim"),       kvTypeOf(textAt(one, "kv")),
          intAt(one, "trunk"),     intAt(one, "stages"), intAt(one, "prompt"),
          intAt(one, "own")};
}

std::vector<ViewShape> viewsAt(const Json& of, const char* key) {
  const Json::Array* list = member(of, key).array();
  if (list == nullptr) throw std::runtime_error(std::string("of the shapes ") + key + " is no list");
  std::vector<ViewShape> all;
  for (const Json& one : *list) all.push_back(viewOf(one));
  return all;
}

// Every number of readers behind every trunk.
std::vector<ViewShape> sharingAt(const Json& of) {
  std::vector<ViewShape> all;
  for (const int trunk : intsAt(of, "trunks")) {
    for (const int readers : intsAt(of, "readers")) {
      all.push_back({"attend " + std::to_string(trunk) + " shared by " + std::to_string(readers),
                     intAt(of, "heads"), intAt(of, "kvHeads"), intAt(of, "dim"),
                     kvTypeOf(textAt(of, "kv")), trunk, readers, intAt(of, "prompt"), 1});
    }
  }
  return all;
}

void cap(ViewShape& view) {
  view.heads = 4;
  view.kvHeads = 2;
  view.trunk = std::min(view.trunk, 40);
  view.stages = std::min(view.stages, 2);
  view.prompt = std::min(view.prompt, 21);
  view.own = std::min(view.own, 19);
}

void cap(std::vector<int>& values, int most) {
  for (int& value : values) value = std::min(value, most);
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

}  // namespace

GpuShapes readShapes(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(stream), {});
  JsonFault fault;
  const auto json = parseJson(text, fault);
  if (!json) {
    throw std::runtime_error(file + ": " + (text.empty() ? "cannot be read" : fault.what) +
                             " at byte " + std::to_string(fault.offset));
  }
  const Json& linear = member(*json, "linear");
  const Json& append = member(*json, "append");
  const Json& norm = member(*json, "rmsnorm");
  const Json& sample = member(*json, "sample");
  GpuShapes shapes{countAt(*json, "copyBytes"),
                   intAt(*json, "gemm"),
                   intAt(linear, "columns"),
                   intAt(linear, "depth"),
                   intsAt(linear, "rows"),
                   intAt(append, "heads"),
                   intAt(append, "kvHeads"),
                   intAt(append, "dim"),
                   intsAt(append, "rows"),
                   intAt(norm, "columns"),
                   intsAt(norm, "rows"),
                   intAt(sample, "vocab"),
                   intsAt(sample, "rows"),
                   {},
                   {},
                   {}};
  shapes.attention = viewsAt(*json, "attention");
  shapes.backward = viewsAt(*json, "backward");
  shapes.sharing = sharingAt(member(*json, "sharing"));
  return shapes;
}

GpuShapes tinyShapes(GpuShapes shapes) {
  shapes.copyBytes = 10'000;
  shapes.gemm = 64;
  shapes.columns = 48;
  shapes.depth = 256;
  cap(shapes.linearRows, 20);
  shapes.heads = 4;
  shapes.kvHeads = 2;
  cap(shapes.appendRows, 5);
  shapes.normColumns = 160;
  cap(shapes.normRows, 3);
  shapes.vocab = 600;
  cap(shapes.sampleRows, 2);
  for (ViewShape& view : shapes.attention) cap(view);
  for (ViewShape& view : shapes.backward) cap(view);
  for (ViewShape& view : shapes.sharing) cap(view);
  return shapes;
}

}  // namespace baton::bench
