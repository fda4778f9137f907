// SPDX-License-Identifier: Apache-2.0
#include "engine/event_queue.h"

#include <type_traits>
#include <utility>

namespace baton {
namespace {

static_assert(std::is_nothrow_move_assignable_v<Event>);

bool isFigure(const Event& event) {
  return std::holds_alternative<ProgressEvent>(event.body) ||
         std::holds_alternative<LoadEvent>(event.body);
}

bool mergeInto(Event& last, Event& next) {
  if (last.job != next.job) return false;
  if (auto* tokens = std::get_if<TokensEvent>(&last.body)) {
    const auto* more = std::get_if<TokensEvent>(&next.body);
    if (more == nullptr) return false;
    makeRoom(tokens->ids, more->ids.size());
    tokens->logprobs.append(more->logprobs);
    tokens->ids.insert(tokens->ids.end(), more->ids.begin(), more->ids.end());
    return true;
  }
  if (!isFigure(last) || last.body.index() != next.body.index()) return false;
  last = std::move(next);
  return true;
}

}  // namespace

bool isLast(const Event& event) {
  return std::holds_alternative<DoneEvent>(event.body) ||
         std::holds_alternative<TrainedEvent>(event.body) ||
         std::holds_alternative<UpdatedEvent>(event.body) ||
         std::holds_alternative<FailedEvent>(event.body);
}

void EventQueue::push(Event event) {
  if (!queued_.empty() && mergeInto(*tail_, event)) return;
  if (isLast(event) && !kept_.empty()) {
    queued_.splice_after(tail_, kept_, kept_.before_begin());
    *++tail_ = std::move(event);
  } else {
    tail_ = queued_.insert_after(tail_, std::move(event));
  }
}

EventQueue::Events EventQueue::take() noexcept {
  Events all;
  all.swap(queued_);
  tail_ = queued_.before_begin();
  return all;
}

}  // namespace baton
