// SPDX-License-Identifier: Apache-2.0
// A model file's header as JavaScript values.
#include <cmath>

#include "binding/arguments.h"
#include "binding/exports.h"
#include "binding/values.h"
#include "model/formats/formats.h"

namespace baton {
namespace {

constexpr double kMaxSafeInteger = 9007199254740991.0;

struct ValueWriter {
  JsWriter& js;

  napi_value operator()(uint64_t value) const {
    return double(value) <= kMaxSafeInteger ? js.number(double(value)) : js.bigint(value);
  }
  napi_value operator()(int64_t value) const {
    return std::abs(double(value)) <= kMaxSafeInteger ? js.number(double(value)) : js.bigint(value);
  }
  napi_value operator()(double value) const { return js.number(value); }
  napi_value operator()(bool value) const { return js.boolean(value); }
  napi_value operator()(std::string_view value) const { return js.string(value); }
  napi_value operator()(const GgufArray& value) const {
    napi_value array = js.array(value.count);
    uint32_t index = 0;
    value.forEach(
        [&](const GgufValue& element) { js.set(array, index++, std::visit(*this, element)); });
    return array;
  }
};

napi_value tensorObject(JsWriter& js, const GgufTensor& tensor) {
  const std::vector<int64_t> shape = tensor.rowMajorShape();
  napi_value dims = js.array(shape.size());
  for (size_t i = 0; i < shape.size(); ++i)
    js.set(dims, static_cast<uint32_t>(i), js.number(double(shape[i])));
  napi_value object = js.object();
  js.set(object, "name", js.string(tensor.name));
  js.set(object, "type", js.string(tensor.type->name));
  js.set(object, "shape", dims);
  js.set(object, "bytes", js.number(double(tensor.bytes)));
  return object;
}

}  // namespace

Napi::Value readModelFile(const Napi::CallbackInfo& info) {
  const std::unique_ptr<GgufFile> file = openModelFile(asString(info[0], "path"));
  JsWriter js(info.Env());
  napi_value metadata = js.object();
  for (const GgufEntry& entry : file->metadata()) {
    const Napi::HandleScope scope(
        info.Env());  // vocabularies bring hundreds of thousands of values
    js.set(metadata, std::string(entry.key).c_str(), std::visit(ValueWriter{js}, entry.value));
  }
  napi_value tensors = js.array(file->tensors().size());
  uint32_t index = 0;
  for (const GgufTensor& tensor : file->tensors())
    js.set(tensors, index++, tensorObject(js, tensor));
  file->requireWhole();
  napi_value object = js.object();
  js.set(object, "format", js.string(file->format()));
  js.set(object, "version", js.number(file->version()));
  js.set(object, "fileBytes", js.number(double(file->size())));
  js.set(object, "metadata", metadata);
  js.set(object, "tensors", tensors);
  if (!js.ok())
    throw Error(code::kInternal,
                "the header of " + file->path() + " could not be handed to JavaScript");
  return Napi::Value(info.Env(), object);
}

}  // namespace baton
