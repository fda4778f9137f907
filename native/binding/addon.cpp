// SPDX-License-Identifier: Apache-2.0
// Module entry. The addon keeps no state of its own: everything hangs on handles, so worker threads
// and double loading work. This is the one place where a C++ error becomes a JavaScript one.
#include <napi.h>

#include <new>

#include "base/error.h"
#include "binding/exports.h"
#include "binding/values.h"

namespace baton {
namespace {

constexpr int kApiVersion = 1;  // nativeApiVersion in src/native/load.ts

using Function = Napi::Value (*)(const Napi::CallbackInfo&);

// Fails only in an environment that is being torn down, where nobody waits for the error.
void throwTyped(napi_env env, const Error& error) {
  JsWriter js(env);
  napi_value value = js.error(error);
  if (js.ok()) napi_throw(env, value);
}

// Not Error::ThrowAsJavaScriptException(): it throws again when the environment is being torn down.
void rethrow(napi_env env, const Napi::Error& error) {
  try {
    napi_throw(env, error.Value());
  } catch (const Napi::Error&) {
  }
}

// What JavaScript calls: no exception leaves it.
template <Function function>
napi_value guarded(napi_env env, napi_callback_info callback) {
  try {
    return function(Napi::CallbackInfo(env, callback));
  } catch (const Error& error) {
    throwTyped(env, error);
  } catch (const Napi::Error& error) {
    rethrow(env, error);
  } catch (const std::bad_alloc&) {
    throwTyped(env, Error(code::kOutOfMemory, "no memory left for this call"));
  } catch (const std::exception& error) {
    throwTyped(env, Error(code::kInternal, error.what()));
  }
  return nullptr;
}

struct Export {
  const char* name;
  napi_callback call;
};

constexpr Export kExports[] = {
    {"doctor", guarded<doctor>},
    {"cudaReport", guarded<cudaReport>},
    {"takeWarnings", guarded<takeWarnings>},
    {"availableThreads", guarded<availableThreads>},
    {"availableMemory", guarded<availableMemory>},
    {"readModelFile", guarded<readModelFile>},
    {"openModel", guarded<openModel>},
    {"modelInfo", guarded<modelInfo>},
    {"tokenEmbeddings", guarded<tokenEmbeddings>},
    {"setVocabulary", guarded<setVocabulary>},
    {"cacheStats", guarded<cacheStats>},
    {"settleTiers", guarded<settleTiers>},
    {"engineStats", guarded<engineStats>},
    {"cacheCensus", guarded<cacheCensus>},
    {"closeModel", guarded<closeModel>},
    {"compileGrammar", guarded<compileGrammar>},
    {"createSegment", guarded<createSegment>},
    {"segmentInfo", guarded<segmentInfo>},
    {"closeSegment", guarded<closeSegment>},
    {"releaseSegment", guarded<releaseSegment>},
    {"exportSegment", guarded<exportSegment>},
    {"importSegment", guarded<importSegment>},
    {"saveSnapshot", guarded<saveSnapshot>},
    {"streamSnapshot", guarded<streamSnapshot>},
    {"readSnapshotBlocks", guarded<readSnapshotBlocks>},
    {"openSnapshot", guarded<openSnapshot>},
    {"snapshotHeadBytes", guarded<snapshotHeadBytes>},
    {"parseSnapshot", guarded<parseSnapshot>},
    {"beginRestore", guarded<beginRestore>},
    {"fillRestore", guarded<fillRestore>},
    {"feedRestore", guarded<feedRestore>},
    {"takeSegment", guarded<takeSegment>},
    {"releaseSnapshot", guarded<releaseSnapshot>},
    {"submit", guarded<submit>},
    {"submitTrainStep", guarded<submitTrainStep>},
    {"createTrained", guarded<createTrained>},
    {"readTrained", guarded<readTrained>},
    {"submitTrainUpdate", guarded<submitTrainUpdate>},
    {"releaseTrained", guarded<releaseTrained>},
    {"cancelJob", guarded<cancelJob>},
};

// C interface only, as a worker may be terminated while it loads the addon.
napi_value initialise(napi_env env, napi_value exports) {
  JsWriter js(env);
  js.set(exports, "apiVersion", js.number(kApiVersion));
  for (const Export& one : kExports) {
    napi_value function = nullptr;
    if (napi_create_function(env, one.name, NAPI_AUTO_LENGTH, one.call, nullptr, &function) !=
        napi_ok)
      break;
    js.set(exports, one.name, function);
  }
  return exports;
}

}  // namespace
}  // namespace baton

NAPI_MODULE_INIT() {
  return baton::initialise(env, exports);
}
