// SPDX-License-Identifier: Apache-2.0
// Events on their way to whoever takes them. Telling the end of a job takes no memory: its place
// was kept when the job was queued, so that every job ends, whatever runs out meanwhile.
#pragma once

#include <forward_list>

#include "engine/job.h"

namespace baton {

// After it, a job has no other event.
bool isLast(const Event& event);

class EventQueue {
 public:
  EventQueue() = default;
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;

  using Events = std::forward_list<Event>;

  // Keeps a place for the last event of one more job. std::bad_alloc.
  void expect() { kept_.emplace_front(); }

  // std::bad_alloc, and nothing has changed; never of the last event of a job that was expected.
  // Tokens of a job that nobody has taken yet travel together; a newer progress figure replaces an
  // older one.
  void push(Event event);

  // All that is there, oldest first.
  Events take() noexcept;

 private:
  Events queued_;
  Events::iterator tail_ = queued_.before_begin();
  Events kept_;  // places of last events
};

}  // namespace baton
