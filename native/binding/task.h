// SPDX-License-Identifier: Apache-2.0
// A promise whose work is done on libuv's pool: derive, do the work in execute() and turn it into a
// value in result(). An error thrown by execute() rejects the promise. A task deletes itself.
#pragma once

#include <napi.h>

#include <optional>
#include <utility>

#include "base/error.h"
#include "binding/values.h"

namespace baton {

class Task {
 public:
  virtual ~Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  // Takes ownership and starts. Throws Napi::Error.
  static Napi::Value start(Napi::Env env, Task* task) {
    napi_value promise = nullptr;
    if (napi_create_promise(env, &task->deferred_, &promise) != napi_ok ||
        napi_create_async_work(env, nullptr, Napi::String::New(env, "baton task"), run, complete,
                               task, &task->work_) != napi_ok ||
        napi_queue_async_work(env, task->work_) != napi_ok) {
      delete task;
      throw Napi::Error::New(env, "cannot start work off the main thread");
    }
    return Napi::Value(env, promise);
  }

 protected:
  Task() = default;

  virtual void execute() = 0;  // on a pool thread
  virtual napi_value result(
      napi_env env) = 0;  // on the JavaScript thread, C interface only; null if it failed

 private:
  static void run(napi_env, void* data) {
    auto* task = static_cast<Task*>(data);
    try {
      task->execute();
    } catch (const Error& error) {
      task->error_ = error;
    } catch (const std::bad_alloc&) {
      task->error_ = Error(code::kOutOfMemory, "no memory left for this operation");
    } catch (const std::exception& error) {
      task->error_ = Error(code::kInternal, error.what());
    }
  }

  // Every call may fail in an environment that is being torn down; then nobody waits for the
  // promise either.
  static void complete(napi_env env, napi_status, void* data) {
    auto* task = static_cast<Task*>(data);
    napi_handle_scope scope = nullptr;
    if (napi_open_handle_scope(env, &scope) == napi_ok) {
      if (task->error_) {
        JsWriter js(env);
        napi_value error = js.error(*task->error_);
        if (js.ok()) napi_reject_deferred(env, task->deferred_, error);
      } else if (napi_value value = task->result(env); value != nullptr) {
        napi_resolve_deferred(env, task->deferred_, value);
      }
      napi_close_handle_scope(env, scope);
    }
    napi_delete_async_work(env, task->work_);
    delete task;
  }

  napi_deferred deferred_ = nullptr;
  napi_async_work work_ = nullptr;
  std::optional<Error> error_;
};

}  // namespace baton
