// SPDX-License-Identifier: Apache-2.0
// Trained prompts where the model computes. What crosses over is copied off the JavaScript thread.
#include "binding/arguments.h"
#include "binding/exports.h"
#include "binding/handles.h"
#include "binding/task.h"
#include "tune/train_update.h"

namespace baton {
namespace {

using Numbers = std::vector<std::vector<float>>;

Numbers parseNumbers(const Napi::Value& value, const char* name) {
  const Napi::Array arrays = asArray(value, name);
  Numbers all;
  for (uint32_t i = 0; i < arrays.Length(); ++i) {
    const auto one =
        asTyped<Napi::Float32Array>(arrays.Get(i), napi_float32_array, name, "Float32Arrays");
    all.emplace_back(one.Data(), one.Data() + one.ElementLength());
  }
  return all;
}

TrainedPrompts::Kind parseKindOf(const std::string& name) {
  using Kind = TrainedPrompts::Kind;
  if (name == "values") return Kind::kValues;
  if (name == "first") return Kind::kFirst;
  if (name == "second") return Kind::kSecond;
  if (name == "gradient") return Kind::kGradient;
  throw wrongType("kind", "values, first, second or gradient");
}

class CreateTask : public Task {
 public:
  CreateTask(std::shared_ptr<Engine> engine, TrainedPrompts::Start start)
      : engine_(std::move(engine)), start_(std::move(start)) {}

 private:
  void execute() override {
    prompts_ = std::make_shared<TrainedPrompts>(engine_->pool()->sharedMemory(),
                                                engine_->model().config.hidden, start_);
  }
  napi_value result(napi_env env) override {
    auto handle = std::make_unique<TrainedHandle>();
    handle->prompts = std::move(prompts_);
    return wrapHandle(env, std::move(handle));
  }

  std::shared_ptr<Engine> engine_;
  TrainedPrompts::Start start_;
  std::shared_ptr<TrainedPrompts> prompts_;
};

// Needs no engine: one that was closed has left what there is.
class ReadTask : public Task {
 public:
  ReadTask(std::shared_ptr<TrainedPrompts> prompts, TrainedPrompts::Kind kind)
      : prompts_(std::move(prompts)), kind_(kind) {}

 private:
  void execute() override { numbers_ = prompts_->read(kind_, updates_); }
  napi_value result(napi_env env) override {
    JsWriter js(env);
    napi_value object = js.object();
    napi_value numbers = js.array(numbers_.size());
    for (uint32_t i = 0; i < numbers_.size(); ++i) js.set(numbers, i, js.float32s(numbers_[i]));
    js.set(object, "updates", js.number(double(updates_)));
    js.set(object, "numbers", numbers);
    return js.ok() ? object : nullptr;
  }

  std::shared_ptr<TrainedPrompts> prompts_;
  TrainedPrompts::Kind kind_;
  Numbers numbers_;
  int64_t updates_ = 0;
};

}  // namespace

Napi::Value createTrained(const Napi::CallbackInfo& info) {
  std::shared_ptr<Engine> engine = openEngine(info[0]);
  const Napi::Object object = asObject(info[1], "start");
  TrainedPrompts::Start start;
  start.values = parseNumbers(object.Get("values"), "values");
  start.first = parseNumbers(object.Get("first"), "first");
  start.second = parseNumbers(object.Get("second"), "second");
  start.updates = asInt(object.Get("updates"), "updates");
  return Task::start(info.Env(), new CreateTask(std::move(engine), std::move(start)));
}

Napi::Value readTrained(const Napi::CallbackInfo& info) {
  std::shared_ptr<TrainedPrompts> prompts = openTrained(info[0]);
  const TrainedPrompts::Kind kind = parseKindOf(asString(info[1], "kind"));
  return Task::start(info.Env(), new ReadTask(std::move(prompts), kind));
}

Napi::Value submitTrainUpdate(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Engine> engine = openEngine(info[0]);
  const std::shared_ptr<Channel> channel = unwrapHandle<ModelHandle>(info[0]).channel;
  std::shared_ptr<TrainedPrompts> prompts = openTrained(info[1]);
  const Napi::Object object = asObject(info[2], "update");
  const auto number = [&](const char* name) { return asNumber(object.Get(name), name); };
  const TrainedPrompts::Hyperparameters hyperparameters{number("learningRate"), number("beta1"),
                                                        number("beta2"),        number("epsilon"),
                                                        number("weightDecay"),  number("maxNorm")};
  const uint64_t id = engine->submit(
      std::make_shared<TrainUpdate>(std::move(prompts), *engine->pool(), hyperparameters));
  channel->jobSubmitted();
  return Napi::Number::New(info.Env(), double(id));
}

Napi::Value releaseTrained(const Napi::CallbackInfo& info) {
  unwrapHandle<TrainedHandle>(info[0]).prompts.reset();
  return info.Env().Undefined();
}

}  // namespace baton
