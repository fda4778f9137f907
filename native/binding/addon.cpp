// SPDX-License-Identifier: Apache-2.0
// Module entry. The addon keeps no state of its own: everything hangs on handles, so worker threads and double loading
// work. This is the one place where a C++ error becomes a JavaScript one.
#include <napi.h>

#include <new>

#include "base/error.h"
#include "binding/exports.h"
#include "binding/values.h"

namespace baton {
namespace {

constexpr int kApiVersion = 1;  // nativeApiVersion in src/native/load.ts

using Function = Napi::Value (*)(const Napi::CallbackInfo&);

[[noreturn]] void throwTyped(Napi::Env env, const Error& error) {
  JsWriter js(env);
  napi_value value = js.error(error);
  throw js.ok() ? Napi::Error(env, value) : Napi::Error::New(env, error.what());
}

template <Function function>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  try {
    return function(info);
  } catch (const Error& error) {
    throwTyped(info.Env(), error);
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throwTyped(info.Env(), Error(code::kOutOfMemory, "no memory left for this call"));
  } catch (const std::exception& error) {
    throwTyped(info.Env(), Error(code::kInternal, error.what()));
  }
}

template <Function function>
void define(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<guarded<function>>(env, name));
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  exports.Set("apiVersion", Napi::Number::New(env, kApiVersion));
  define<doctor>(env, exports, "doctor");
  define<availableThreads>(env, exports, "availableThreads");
  define<availableMemory>(env, exports, "availableMemory");
  define<readModelFile>(env, exports, "readModelFile");
  define<openModel>(env, exports, "openModel");
  define<modelInfo>(env, exports, "modelInfo");
  define<setVocabulary>(env, exports, "setVocabulary");
  define<cacheStats>(env, exports, "cacheStats");
  define<closeModel>(env, exports, "closeModel");
  define<createSegment>(env, exports, "createSegment");
  define<segmentInfo>(env, exports, "segmentInfo");
  define<closeSegment>(env, exports, "closeSegment");
  define<releaseSegment>(env, exports, "releaseSegment");
  define<submit>(env, exports, "submit");
  define<cancelJob>(env, exports, "cancelJob");
  return exports;
}

}  // namespace
}  // namespace baton

static Napi::Object initialiseAddon(Napi::Env env, Napi::Object exports) {
  return baton::initialise(env, exports);
}
NODE_API_MODULE(baton, initialiseAddon)
