// SPDX-License-Identifier: Apache-2.0
// What is queued comes out in order and together, and the end of a job needs no memory.
#include "engine/event_queue.h"

#include <new>
#include <string>
#include <vector>

#include "check.h"
#include "fuzz/allocations.h"

using namespace baton;
using namespace baton::test;

namespace {

TokensEvent tokens(std::vector<int32_t> ids) {
  TokensEvent event{std::move(ids), {}};
  event.logprobs.top = 2;
  for (const int32_t id : event.ids) {
    event.logprobs.chosen.push_back(static_cast<float>(-id));
    for (int i = 0; i < 2; ++i) {
      event.logprobs.topIds.push_back(id + i);
      event.logprobs.topLogprobs.push_back(static_cast<float>(-id - i));
    }
  }
  return event;
}

std::vector<Event> taken(EventQueue& queue) {
  std::vector<Event> all;
  for (Event& event : queue.take()) all.push_back(std::move(event));
  return all;
}

}  // namespace

TEST(
    "event queue: events come in order; tokens of a job travel together, figures replace older "
    "ones") {
  EventQueue queue;
  queue.push({1, ProgressEvent{1, 9}});
  queue.push({1, ProgressEvent{5, 9}});
  queue.push({2, ProgressEvent{2, 3}});
  queue.push({1, tokens({7})});
  queue.push({1, tokens({8, 9})});
  queue.push({1, DoneEvent{}});
  const std::vector<Event> all = taken(queue);
  CHECK_EQ(all.size(), size_t{4});
  CHECK_EQ(std::get<ProgressEvent>(all[0].body).done, int64_t{5});
  CHECK_EQ(all[1].job, uint64_t{2});
  const TokensEvent expected = tokens({7, 8, 9});
  const auto& merged = std::get<TokensEvent>(all[2].body);
  CHECK(merged.ids == expected.ids);
  CHECK(merged.logprobs.chosen == expected.logprobs.chosen);
  CHECK(merged.logprobs.topIds == expected.logprobs.topIds);
  CHECK(merged.logprobs.topLogprobs == expected.logprobs.topLogprobs);
  CHECK(isLast(all[3]) && !isLast(all[2]));
  CHECK(taken(queue).empty());
  queue.push({3, tokens({4})});  // not into what was taken
  CHECK_EQ(taken(queue).size(), size_t{1});
}

TEST("event queue: the last event of an expected job takes no memory, whatever came before") {
  EventQueue queue;
  queue.expect();
  queue.expect();
  queue.push({1, ProgressEvent{1, 9}});
  Event first{1, DoneEvent{}}, second{2, FailedEvent{Error(code::kIo, "the disk is gone")}};
  failAllocation(1);
  queue.push(std::move(first));
  queue.push(std::move(second));
  const bool asked = failAllocation(0);
  CHECK(!asked);
  const std::vector<Event> all = taken(queue);
  CHECK_EQ(all.size(), size_t{3});
  CHECK(isLast(all[1]) && isLast(all[2]));
  CHECK_EQ(std::string(std::get<FailedEvent>(all[2].body).error.what()), "the disk is gone");
}

TEST("event queue: an event that finds no memory leaves what is queued as it was") {
  int failures = 0;
  for (int64_t site = 1; site < 20; ++site) {
    EventQueue queue;
    queue.push({1, tokens({7})});
    Event more{1, tokens({8, 9})}, other{2, tokens({5})};
    failAllocation(site);
    bool merged = true, queued = true;
    try {
      queue.push(std::move(more));
    } catch (const std::bad_alloc&) {
      merged = false;
    }
    try {
      queue.push(std::move(other));
    } catch (const std::bad_alloc&) {
      queued = false;
    }
    failures += failAllocation(0) ? 1 : 0;
    const std::vector<Event> all = taken(queue);
    CHECK_EQ(all.size(), queued ? size_t{2} : size_t{1});
    const auto& kept = std::get<TokensEvent>(all[0].body);
    CHECK_EQ(kept.ids.size(), merged ? size_t{3} : size_t{1});
    CHECK_EQ(kept.logprobs.chosen.size(), kept.ids.size());
    CHECK_EQ(kept.logprobs.topIds.size(), 2 * kept.ids.size());
    CHECK_EQ(kept.logprobs.topLogprobs.size(), 2 * kept.ids.size());
  }
  CHECK(failures >= 5);  // four vectors and a place
}
