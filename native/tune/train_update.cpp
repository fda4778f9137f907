// SPDX-License-Identifier: Apache-2.0
#include "tune/train_update.h"

#include "base/trace.h"

namespace baton {

TrainUpdate::TrainUpdate(std::shared_ptr<TrainedPrompts> prompts, const Pool& pool,
                         const TrainedPrompts::Hyperparameters& hyperparameters)
    : prompts_(std::move(prompts)), hyperparameters_(hyperparameters) {
  prompts_->requireOn(pool);
}

std::optional<EventBody> TrainUpdate::run(const WorkPlace& place) {
  const trace::Scope scope("train update");
  const std::lock_guard lock(prompts_->mutex());
  return EventBody(prompts_->update(place.serving.backend(), hyperparameters_));
}

}  // namespace baton
