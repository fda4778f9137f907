// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include "base/cpu.h"
#include "binding/exports.h"
#include "binding/values.h"
#include "device/device.h"

namespace baton {

Napi::Value doctor(const Napi::CallbackInfo& info) {
  const Ops& ops = cpuOps();
  JsWriter js(info.Env());
  const std::vector<KernelCheck> checks = selfTest(ops);
  napi_value kernels = js.array(checks.size());
  for (size_t i = 0; i < checks.size(); ++i) {
    napi_value kernel = js.object();
    js.set(kernel, "op", js.string(checks[i].op));
    js.set(kernel, "isa", js.string(isaName(checks[i].isa)));
    js.set(kernel, "error", js.number(checks[i].error));
    js.set(kernel, "ok", js.boolean(checks[i].ok));
    js.set(kernels, static_cast<uint32_t>(i), kernel);
  }
  const char* cap = std::getenv("BATON_ISA");
  napi_value report = js.object();
  js.set(report, "cpu", js.string(cpuBrand()));
  js.set(report, "features", js.strings(cpuFeatures().names));
  js.set(report, "isa", js.string(isaName(ops.isa)));
  js.set(report, "isaCap", cap == nullptr ? js.null() : js.string(cap));
  js.set(report, "threads", js.number(allowedThreads()));
  js.set(report, "kernels", kernels);
  return Napi::Value(info.Env(), report);
}

Napi::Value availableThreads(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), allowedThreads());
}

Napi::Value availableMemory(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), double(availableMemory()));
}

}  // namespace baton
