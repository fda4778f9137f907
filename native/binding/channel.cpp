// SPDX-License-Identifier: Apache-2.0
#include "binding/channel.h"

#include <napi.h>

#include <utility>

#include "binding/values.h"

namespace baton {
namespace {

const char* reasonName(DoneReason reason) {
  switch (reason) {
    case DoneReason::kAppended:
      return "appended";
    case DoneReason::kClosed:
      return "closed";
    case DoneReason::kStop:
      return "stop";
    case DoneReason::kLength:
      return "length";
  }
  return "";
}

const char* missName(MissReason reason) {
  switch (reason) {
    case MissReason::kNone:
      return "none";
    case MissReason::kNeverSeen:
      return "never-seen";
    case MissReason::kEvicted:
      return "evicted";
    case MissReason::kDifferentFrame:
      return "different-frame";
    case MissReason::kIndexOff:
      return "index-off";
    case MissReason::kLogitsNeeded:
      return "logits-needed";
    case MissReason::kPartOfBlock:
      return "part-of-block";
    case MissReason::kComputedFaster:
      return "computed-faster";
  }
  return "";
}

napi_value statsObject(JsWriter& js, const JobStats& stats) {
  napi_value object = js.object();
  js.set(object, "rowsComputed", js.number(double(stats.rowsComputed)));
  js.set(object, "rowsFound", js.number(double(stats.rowsFound)));
  js.set(object, "tokens", js.number(double(stats.tokens)));
  js.set(object, "draftedTokens", js.number(double(stats.draftedTokens)));
  js.set(object, "acceptedTokens", js.number(double(stats.acceptedTokens)));
  js.set(object, "firstTokenMs", js.number(stats.firstTokenMs));
  js.set(object, "totalMs", js.number(stats.totalMs));
  js.set(object, "queueMs", js.number(stats.queueMs));
  js.set(object, "turns", js.number(double(stats.turns)));
  js.set(object, "turnsSkipped", js.number(double(stats.turnsSkipped)));
  return object;
}

napi_value logprobsObject(JsWriter& js, const Logprobs& logprobs) {
  napi_value object = js.object();
  js.set(object, "chosen", js.float32s(logprobs.chosen));
  js.set(object, "topIds", js.int32s(logprobs.topIds));
  js.set(object, "topLogprobs", js.float32s(logprobs.topLogprobs));
  return object;
}

napi_value closingObject(JsWriter& js, const DoneEvent& event) {
  napi_value object = js.object();
  js.set(object, "id", js.number(event.closer));
  if (event.closing.top >= 0) js.set(object, "logprobs", logprobsObject(js, event.closing));
  return object;
}

// One overload per kind of event.
struct EventWriter {
  JsWriter& js;
  napi_value object;

  void operator()(const LoadEvent& event) const {
    js.set(object, "type", js.string("load"));
    js.set(object, "done", js.number(double(event.done)));
    js.set(object, "total", js.number(double(event.total)));
  }
  void operator()(const ProgressEvent& event) const {
    js.set(object, "type", js.string("progress"));
    js.set(object, "done", js.number(double(event.done)));
    js.set(object, "total", js.number(double(event.total)));
  }
  void operator()(const FoundEvent& event) const {
    js.set(object, "type", js.string("found"));
    js.set(object, "append", js.number(event.append));
    js.set(object, "found", js.number(event.found));
    js.set(object, "missed", js.number(event.missed));
    js.set(object, "reason", js.string(missName(event.reason)));
  }
  void operator()(const TierEvent& event) const {
    js.set(object, "type", js.string("tier"));
    js.set(object, "append", js.number(event.append));
    js.set(object, "tier", js.string(event.tier));
    js.set(object, "rows", js.number(event.rows));
    js.set(object, "bytes", js.number(double(event.bytes)));
    js.set(object, "restored", js.boolean(event.restored));
    js.set(object, "restoreMs", js.number(event.restoreMs));
    js.set(object, "recomputeMs", js.number(event.recomputeMs));
    js.set(object, "tookMs", js.number(event.tookMs));
  }
  void operator()(const TokensEvent& event) const {
    js.set(object, "type", js.string("tokens"));
    js.set(object, "ids", js.int32s(event.ids));
    if (event.logprobs.top >= 0) js.set(object, "logprobs", logprobsObject(js, event.logprobs));
  }
  void operator()(const LogitsEvent& event) const {
    js.set(object, "type", js.string("logits"));
    js.set(object, "rows", js.number(event.rows));
    js.set(object, "data", js.float32s(event.data));
  }
  void operator()(const DoneEvent& event) const {
    js.set(object, "type", js.string("done"));
    js.set(object, "reason", js.string(reasonName(event.reason)));
    js.set(object, "pending", js.number(event.pending));
    js.set(object, "tail", js.bytes(event.tail));
    if (event.closer >= 0) js.set(object, "closing", closingObject(js, event));
    js.set(object, "accepted", js.boolean(event.accepted));
    js.set(object, "stats", statsObject(js, event.stats));
  }
  void operator()(const TrainedEvent& event) const {
    js.set(object, "type", js.string("trained"));
    js.set(object, "losses", js.float64s(event.losses));
    napi_value gradients = js.array(event.gradients.size());
    for (uint32_t i = 0; i < event.gradients.size(); ++i)
      js.set(gradients, i, js.float32s(event.gradients[i]));
    js.set(object, "gradients", gradients);
    js.set(object, "rowsComputed", js.number(double(event.rowsComputed)));
    js.set(object, "totalMs", js.number(event.totalMs));
  }
  void operator()(const UpdatedEvent& event) const {
    js.set(object, "type", js.string("updated"));
    js.set(object, "norm", js.number(event.norm));
    js.set(object, "finite", js.boolean(event.finite));
  }
  void operator()(const FailedEvent& event) const {
    js.set(object, "type", js.string("failed"));
    js.set(object, "code", js.string(event.error.code()));
    js.set(object, "message", js.string(event.error.what()));
    js.set(object, "facts", js.facts(event.error));
  }
};

}  // namespace

std::shared_ptr<Channel> Channel::create(napi_env env, napi_value onEvents) {
  std::shared_ptr<Channel> channel(new Channel(env));
  auto* share = new std::shared_ptr<Channel>(channel);  // the function's; finalise() gives it up
  napi_threadsafe_function function = nullptr;
  const napi_status status = napi_create_threadsafe_function(
      env, onEvents, nullptr, Napi::String::New(env, "baton events"), 0, 1, share, finalise, share,
      deliver, &function);
  if (status != napi_ok) {
    delete share;
    throw Napi::Error::New(env, "cannot create the event channel");
  }
  channel->function_ = function;
  channel->hooked_ = napi_add_env_cleanup_hook(env, tearDown, share) == napi_ok;
  napi_unref_threadsafe_function(env, function);  // an idle model does not keep the process alive
  return channel;
}

void Channel::expect() {
  const std::lock_guard lock(mutex_);
  queue_.expect();
}

void Channel::post(Event event) {
  const std::lock_guard lock(mutex_);
  if (function_ == nullptr) return;
  queue_.push(std::move(event));
  if (armed_) return;
  armed_ = napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking) == napi_ok;
}

void Channel::deliver(napi_env env, napi_value onEvents, void* context, void*) {
  if (env == nullptr || onEvents == nullptr) return;  // drained after teardown
  const std::shared_ptr<Channel> channel = *static_cast<std::shared_ptr<Channel>*>(context);
  EventQueue::Events events;
  {
    const std::lock_guard lock(channel->mutex_);
    events = channel->queue_.take();
    channel->armed_ = false;
  }
  napi_handle_scope scope = nullptr;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  JsWriter js(env);
  napi_value array = js.array(0);
  uint32_t count = 0;
  size_t ended = 0;
  for (const Event& event : events) {
    napi_value object = js.object();
    js.set(object, "job", js.number(double(event.job)));
    std::visit(EventWriter{js, object}, event.body);
    js.set(array, count++, object);
    ended += isLast(event) ? 1 : 0;
  }
  napi_value receiver = nullptr;
  napi_value result = nullptr;
  if (js.ok() && napi_get_undefined(env, &receiver) == napi_ok &&
      napi_call_function(env, receiver, onEvents, 1, &array, &result) == napi_pending_exception) {
    napi_value exception = nullptr;
    if (napi_get_and_clear_last_exception(env, &exception) == napi_ok)
      napi_fatal_exception(env, exception);
  }
  channel->jobEnded(ended);
  napi_close_handle_scope(env, scope);
}

void Channel::jobSubmitted() {
  const std::lock_guard lock(mutex_);
  if (++jobsInFlight_ == 1 && function_ != nullptr) napi_ref_threadsafe_function(env_, function_);
}

void Channel::jobEnded(size_t count) {
  if (count == 0) return;
  const std::lock_guard lock(mutex_);
  jobsInFlight_ -= count;
  if (jobsInFlight_ == 0 && function_ != nullptr) napi_unref_threadsafe_function(env_, function_);
}

void Channel::close() {
  const std::lock_guard lock(mutex_);
  if (function_ == nullptr) return;
  napi_release_threadsafe_function(function_, napi_tsfn_release);
  function_ = nullptr;
}

// The environment is going away (exit, or a worker that is terminated).
void Channel::tearDown(void* hint) {
  const std::shared_ptr<Channel> channel = *static_cast<std::shared_ptr<Channel>*>(hint);
  {
    const std::lock_guard lock(channel->mutex_);
    channel->function_ = nullptr;
    channel->hooked_ = false;
  }
  if (const auto engine = channel->engine_.lock()) engine->close();
}

void Channel::finalise(napi_env env, void*, void* hint) {
  auto* share = static_cast<std::shared_ptr<Channel>*>(hint);
  if ((*share)->hooked_) napi_remove_env_cleanup_hook(env, tearDown, share);
  delete share;
}

}  // namespace baton
