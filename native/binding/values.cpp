// SPDX-License-Identifier: Apache-2.0
#include "binding/values.h"

#include <cstring>

namespace baton {

napi_value JsWriter::object() {
  napi_value value = nullptr;
  check(napi_create_object(env_, &value));
  return value;
}

napi_value JsWriter::array(size_t length) {
  napi_value value = nullptr;
  check(napi_create_array_with_length(env_, length, &value));
  return value;
}

napi_value JsWriter::number(double number) {
  napi_value value = nullptr;
  check(napi_create_double(env_, number, &value));
  return value;
}

napi_value JsWriter::boolean(bool flag) {
  napi_value value = nullptr;
  check(napi_get_boolean(env_, flag, &value));
  return value;
}

napi_value JsWriter::null() {
  napi_value value = nullptr;
  check(napi_get_null(env_, &value));
  return value;
}

napi_value JsWriter::string(std::string_view text) {
  napi_value value = nullptr;
  check(napi_create_string_utf8(env_, text.data(), text.size(), &value));
  return value;
}

napi_value JsWriter::strings(const std::vector<std::string>& texts) {
  napi_value value = array(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) set(value, static_cast<uint32_t>(i), string(texts[i]));
  return value;
}

napi_value JsWriter::typedArray(napi_typedarray_type type, const void* data, size_t count,
                                size_t elementBytes) {
  void* memory = nullptr;
  napi_value buffer = nullptr;
  check(napi_create_arraybuffer(env_, count * elementBytes, &memory, &buffer));
  if (!ok_) return nullptr;
  if (count != 0) std::memcpy(memory, data, count * elementBytes);
  napi_value value = nullptr;
  check(napi_create_typedarray(env_, type, count, buffer, 0, &value));
  return value;
}

napi_value JsWriter::int32s(const std::vector<int32_t>& values) {
  return typedArray(napi_int32_array, values.data(), values.size(), sizeof(int32_t));
}

napi_value JsWriter::float32s(const std::vector<float>& values) {
  return typedArray(napi_float32_array, values.data(), values.size(), sizeof(float));
}

napi_value JsWriter::float64s(const std::vector<double>& values) {
  return typedArray(napi_float64_array, values.data(), values.size(), sizeof(double));
}

napi_value JsWriter::bytes(std::string_view bytes) {
  return typedArray(napi_uint8_array, bytes.data(), bytes.size(), 1);
}

napi_value JsWriter::bigint(uint64_t number) {
  napi_value value = nullptr;
  check(napi_create_bigint_uint64(env_, number, &value));
  return value;
}

napi_value JsWriter::bigint(int64_t number) {
  napi_value value = nullptr;
  check(napi_create_bigint_int64(env_, number, &value));
  return value;
}

napi_value JsWriter::facts(const Error& error) {
  napi_value value = object();
  for (const auto& [name, fact] : error.facts()) {
    const bool isNumber = std::holds_alternative<double>(fact);
    set(value, name.c_str(),
        isNumber ? number(std::get<double>(fact)) : string(std::get<std::string>(fact)));
  }
  return value;
}

napi_value JsWriter::error(const Error& error) {
  napi_value value = nullptr;
  check(napi_create_error(env_, string(error.code()), string(error.what()), &value));
  if (ok_) set(value, "facts", facts(error));
  return value;
}

void JsWriter::set(napi_value object, const char* name, napi_value value) {
  if (ok_) check(napi_set_named_property(env_, object, name, value));
}

void JsWriter::set(napi_value array, uint32_t index, napi_value value) {
  if (ok_) check(napi_set_element(env_, array, index, value));
}

}  // namespace baton
