// SPDX-License-Identifier: Apache-2.0
// Reading arguments. TypeScript has validated and explained; a value of the wrong type is still an
// error here, never undefined behaviour.
#pragma once

#include <napi.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <string>

#include "base/error.h"

namespace baton {

inline Error wrongType(const std::string& name, const char* expected) {
  return Error(code::kOptionInvalid, name + " must be " + expected, {{"argument", name}});
}

inline Napi::Object asObject(const Napi::Value& value, const std::string& name) {
  if (!value.IsObject()) throw wrongType(name, "an object");
  return value.As<Napi::Object>();
}

inline Napi::Array asArray(const Napi::Value& value, const std::string& name) {
  if (!value.IsArray()) throw wrongType(name, "an array");
  return value.As<Napi::Array>();
}

inline double asNumber(const Napi::Value& value, const std::string& name) {
  if (!value.IsNumber()) throw wrongType(name, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

inline int32_t asInt(const Napi::Value& value, const std::string& name) {
  const double number = asNumber(value, name);
  if (!(std::abs(number) <= INT32_MAX) || number != std::floor(number))
    throw wrongType(name, "a 32-bit integer");
  return static_cast<int32_t>(number);
}

inline bool asBoolean(const Napi::Value& value, const std::string& name) {
  if (!value.IsBoolean()) throw wrongType(name, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

inline std::string asString(const Napi::Value& value, const std::string& name) {
  if (!value.IsString()) throw wrongType(name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

// Whether next tokens may be guessed.
inline bool asDrafting(const Napi::Value& value) {
  const std::string mode = asString(value, "drafting");
  if (mode != "auto" && mode != "off") throw wrongType("drafting", "\"auto\" or \"off\"");
  return mode == "auto";
}

// Typed arrays: Array is Napi::Int32Array, Napi::Float32Array, ...
template <class Array>
Array asTyped(const Napi::Value& value, napi_typedarray_type type, const std::string& name,
              const char* expected) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type)
    throw wrongType(name, expected);
  return value.As<Array>();
}

// A flag that JavaScript sets, and what keeps it alive.
class Cancel {
 public:
  explicit Cancel(const Napi::Value& value) {
    const auto array =
        asTyped<Napi::Int32Array>(value, napi_int32_array, "cancel", "an Int32Array");
    if (array.ElementLength() < 1) throw wrongType("cancel", "an Int32Array of one element");
    flag_ = reinterpret_cast<const std::atomic<int32_t>*>(array.Data());
    kept_ = Napi::Persistent(static_cast<Napi::Object>(array));
  }
  const std::atomic<int32_t>& flag() const { return *flag_; }

 private:
  static_assert(std::atomic<int32_t>::is_always_lock_free && sizeof(std::atomic<int32_t>) == 4);

  Napi::ObjectReference kept_;
  const std::atomic<int32_t>* flag_;
};

}  // namespace baton
