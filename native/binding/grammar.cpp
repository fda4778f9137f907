// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <utility>

#include "binding/arguments.h"
#include "binding/exports.h"
#include "binding/handles.h"
#include "binding/task.h"
#include "binding/values.h"
#include "engine/constrain/constrainers.h"

namespace baton {
namespace {

class CompileGrammar : public Task {
 public:
  CompileGrammar(std::shared_ptr<Engine> engine, GrammarSpec spec)
      : engine_(std::move(engine)), spec_(std::move(spec)) {}

 protected:
  void execute() override { grammar_ = engine_->compile(spec_); }

  napi_value result(napi_env env) override {
    auto handle = std::make_unique<GrammarHandle>();
    handle->grammar = std::move(grammar_);
    return wrapHandle(env, std::move(handle));
  }

 private:
  std::shared_ptr<Engine> engine_;
  GrammarSpec spec_;
  std::shared_ptr<const Grammar> grammar_;
};

}  // namespace

Napi::Value compileGrammar(const Napi::CallbackInfo& info) {
  std::shared_ptr<Engine> engine = openEngine(info[0]);
  const std::string kind = asString(info[1], "kind");
  if (kind != "jsonSchema" && kind != "regex") throw wrongType("kind", "jsonSchema or regex");
  GrammarSpec spec{
      kind == "regex" ? GrammarSpec::Kind::kRegex : GrammarSpec::Kind::kJsonSchema,
      asString(info[2], "text"),
  };
  return Task::start(info.Env(), new CompileGrammar(std::move(engine), std::move(spec)));
}

}  // namespace baton
