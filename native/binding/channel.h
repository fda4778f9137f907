// SPDX-License-Identifier: Apache-2.0
// One event channel per engine. The engine thread queues events; JavaScript is woken only when no
// wake-up is pending and takes everything that is there in one call.
//
// Three ways to crash, and what prevents them: (1) the engine posts into a function that teardown
// destroyed: the pointer is guarded by a mutex and an environment clean-up hook, added after the
// thread-safe function so that it runs before the function's own teardown, clears it and ends the
// engine; (2) a C++ exception in a dying environment: delivery uses the C interface only; (3)
// memory freed while a side still uses it: the channel is shared, and the finaliser that Node
// always runs gives up the function's share.
#pragma once

#include <node_api.h>

#include <memory>
#include <mutex>

#include "engine/engine.h"
#include "engine/event_queue.h"

namespace baton {

class Channel : public EventSink {
 public:
  // `onEvents` is called with arrays of events. Throws Napi::Error.
  static std::shared_ptr<Channel> create(napi_env env, napi_value onEvents);

  void expect() override;           // any thread, this one and the next
  void post(Event event) override;  // see EventSink

  // JavaScript thread only, all below.
  void attach(std::weak_ptr<Engine> engine) { engine_ = std::move(engine); }
  void jobSubmitted();  // keeps the process alive until the job's last event was delivered
  void close();         // no more events; idempotent

 private:
  explicit Channel(napi_env env) : env_(env) {}
  static void deliver(napi_env env, napi_value onEvents, void* context, void* data);
  static void tearDown(void* hint);
  static void finalise(napi_env env, void* data, void* hint);
  void jobEnded(size_t count);

  napi_env env_;
  std::weak_ptr<Engine> engine_;
  size_t jobsInFlight_ = 0;
  bool hooked_ = false;

  std::mutex mutex_;  // guards the three below
  napi_threadsafe_function function_ = nullptr;
  EventQueue queue_;
  bool armed_ = false;
};

}  // namespace baton
