// SPDX-License-Identifier: Apache-2.0
// From C++ to JavaScript through the plain C interface. Events and promise results are also built
// while an environment is being torn down, where every call may fail and a C++ exception would end
// the process: a failing call is remembered in the writer and the value is dropped by whoever asked
// for it.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace baton {

class JsWriter {
 public:
  explicit JsWriter(napi_env env) : env_(env) {}

  bool ok() const { return ok_; }

  napi_value object();
  napi_value array(size_t length);
  napi_value number(double value);
  napi_value boolean(bool value);
  napi_value null();
  napi_value string(std::string_view text);
  napi_value strings(const std::vector<std::string>& texts);
  napi_value int32s(const std::vector<int32_t>& values);   // Int32Array
  napi_value float32s(const std::vector<float>& values);   // Float32Array
  napi_value float64s(const std::vector<double>& values);  // Float64Array
  napi_value bytes(std::string_view bytes);                // Uint8Array
  napi_value bigint(uint64_t value);
  napi_value bigint(int64_t value);
  napi_value error(const Error& error);  // an Error object with `code` and `facts`
  napi_value facts(const Error& error);

  void set(napi_value object, const char* name, napi_value value);
  void set(napi_value array, uint32_t index, napi_value value);

 private:
  void check(napi_status status) { ok_ = ok_ && status == napi_ok; }
  napi_value typedArray(napi_typedarray_type type, const void* data, size_t count,
                        size_t elementBytes);

  napi_env env_;
  bool ok_ = true;
};

}  // namespace baton
