// SPDX-License-Identifier: Apache-2.0
// Work that has a turn of the engine thread to itself, between two batches: a training step, an
// update of what it trains. It is queued, cancelled and answered as a job is; what it does is its
// own business, so that the engine need not know of anything above it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/threads.h"
#include "cache/pool.h"
#include "engine/forward.h"
#include "engine/job.h"
#include "model/model.h"

namespace baton {

// What the engine lends for the turn.
struct WorkPlace {
  const std::shared_ptr<const Model>& model;
  const std::shared_ptr<Pool>& pool;
  ThreadPool& threads;
  const std::string& scope;    // of segments made here
  Forward& serving;            // on the device that the engine has
  std::function<bool()> goOn;  // false: nobody waits any more; to be asked before every layer
};

class Work {
 public:
  virtual ~Work() = default;
  // Its last event, or nothing when `goOn` said no. What it throws is its job's failure.
  virtual std::optional<EventBody> run(const WorkPlace& place) = 0;
};

}  // namespace baton
