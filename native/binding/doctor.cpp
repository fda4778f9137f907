// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include "base/cpu.h"
#include "base/warnings.h"
#include "binding/exports.h"
#include "binding/values.h"
#include "device/choice.h"
#include "device/device.h"
#include "engine/constrain/constrainers.h"

namespace baton {

namespace {

napi_value checkObject(JsWriter& js, const KernelCheck& check) {
  napi_value object = js.object();
  js.set(object, "op", js.string(check.op));
  js.set(object, "isa", js.string(isaName(check.isa)));
  js.set(object, "error", js.number(check.error));
  js.set(object, "ok", js.boolean(check.ok));
  return object;
}

napi_value problemObject(JsWriter& js, const std::optional<Error>& problem) {
  if (!problem) return js.null();
  napi_value object = js.object();
  js.set(object, "code", js.string(problem->code()));
  js.set(object, "message", js.string(problem->what()));
  js.set(object, "facts", js.facts(*problem));
  return object;
}

napi_value deviceObject(JsWriter& js, const CudaDevice& device) {
  napi_value object = js.object();
  js.set(object, "name", js.string(device.name));
  js.set(object, "capability", js.string(capabilityText(device.capability)));
  js.set(object, "memoryBytes", js.number(double(device.memoryBytes)));
  js.set(object, "problem", problemObject(js, device.problem));
  return object;
}

}  // namespace

Napi::Value cudaReport(const Napi::CallbackInfo& info) {
  const CudaReport found = findCuda(cudaPlaces());
  JsWriter js(info.Env());
  napi_value devices = js.array(found.devices.size());
  for (size_t i = 0; i < found.devices.size(); ++i)
    js.set(devices, static_cast<uint32_t>(i), deviceObject(js, found.devices[i]));
  const bool known = found.driverVersion > 0;
  napi_value report = js.object();
  js.set(report, "driver", known ? js.string(cudaVersionText(found.driverVersion)) : js.null());
  js.set(report, "devices", devices);
  js.set(report, "library", found.library.empty() ? js.null() : js.string(found.library));
  js.set(report, "matrixLibrary",
         found.api == nullptr ? js.null() : js.string(found.api->matrixLibrary()));
  js.set(report, "problem", problemObject(js, found.problem));
  js.set(report, "whyCpu", js.string(whyCpu(found)));
  return Napi::Value(info.Env(), report);
}

Napi::Value doctor(const Napi::CallbackInfo& info) {
  const Ops& ops = cpuOps();
  JsWriter js(info.Env());
  const std::vector<KernelCheck> checks = selfTest(ops);
  napi_value kernels = js.array(checks.size());
  for (size_t i = 0; i < checks.size(); ++i)
    js.set(kernels, static_cast<uint32_t>(i), checkObject(js, checks[i]));
  napi_value replaced = js.array(replacedKernels().size());
  for (size_t i = 0; i < replacedKernels().size(); ++i) {
    const KernelReplacement& one = replacedKernels()[i];
    napi_value object = js.object();
    js.set(object, "kernel", js.string(one.kernel->name));
    js.set(object, "failed", checkObject(js, one.failed));
    js.set(object, "by", js.string(isaName(one.by)));
    js.set(replaced, static_cast<uint32_t>(i), object);
  }
  const char* cap = std::getenv("BATON_ISA");
  napi_value report = js.object();
  js.set(report, "cpu", js.string(cpuBrand()));
  js.set(report, "features", js.strings(cpuFeatures().names));
  js.set(report, "isa", js.string(isaName(ops.isa)));
  js.set(report, "isaCap", cap == nullptr ? js.null() : js.string(cap));
  js.set(report, "threads", js.number(allowedThreads()));
  js.set(report, "kernels", kernels);
  js.set(report, "replaced", replaced);
  napi_value grammars = js.array(constrainerKinds().size());
  for (size_t i = 0; i < constrainerKinds().size(); ++i) {
    const ConstrainerKind& kind = *constrainerKinds()[i];
    js.set(grammars, static_cast<uint32_t>(i),
           js.string(std::string(kind.name) + " " + kind.version));
  }
  js.set(report, "grammars", grammars);
  return Napi::Value(info.Env(), report);
}

Napi::Value takeWarnings(const Napi::CallbackInfo& info) {
  const std::vector<Error> warnings = takeWarnings();
  JsWriter js(info.Env());
  napi_value list = js.array(warnings.size());
  for (size_t i = 0; i < warnings.size(); ++i)
    js.set(list, static_cast<uint32_t>(i), js.error(warnings[i]));
  return Napi::Value(info.Env(), list);
}

Napi::Value availableThreads(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), allowedThreads());
}

Napi::Value availableMemory(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), double(availableMemory()));
}

}  // namespace baton
