// SPDX-License-Identifier: Apache-2.0
// An update of trained prompts by the gradient that steps have summed. It happens whole or not at
// all: once its turn has come nothing stops it.
#pragma once

#include <memory>
#include <optional>

#include "engine/work.h"
#include "tune/trained_prompts.h"

namespace baton {

class TrainUpdate : public Work {
 public:
  // Error(OPTION_INVALID) for prompts in other memory than the pool's.
  TrainUpdate(std::shared_ptr<TrainedPrompts> prompts, const Pool& pool,
              const TrainedPrompts::Hyperparameters& hyperparameters);

  std::optional<EventBody> run(const WorkPlace& place) override;

 private:
  std::shared_ptr<TrainedPrompts> prompts_;
  TrainedPrompts::Hyperparameters hyperparameters_;
};

}  // namespace baton
