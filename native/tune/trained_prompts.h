// SPDX-License-Identifier: Apache-2.0
// Prompts that are trained, in the memory where the model computes: values, both moments and the
// summed gradient of each. Steps read values and add to the gradient, an update (train_update.h)
// makes the next values, so nothing of them crosses to the host but what somebody reads. They
// outlive the engine: what a lost training left can be read after it was closed.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "cache/pool.h"
#include "device/memory.h"
#include "engine/backend.h"
#include "engine/job.h"

namespace baton {

class TrainedPrompts {
 public:
  enum class Kind { kValues, kFirst, kSecond, kGradient };
  static constexpr int kKinds = 4;

  // What there is to begin with, by prompt [n, hidden].
  struct Start {
    std::vector<std::vector<float>> values, first, second;
    int64_t updates = 0;  // that have led here
  };

  // Error(OPTION_INVALID) when moments are not as long as values, or these are no rows; what Memory
  // throws. Any thread.
  TrainedPrompts(std::shared_ptr<Memory> memory, int hidden, const Start& start);

  // Whoever works with what follows holds it: a step or an update for its whole turn.
  std::mutex& mutex() { return mutex_; }

  // Error(OPTION_INVALID) when they lie elsewhere than the pool's model computes.
  void requireOn(const Pool& pool) const;
  size_t count() const { return begins_.size() - 1; }
  // Of a prompt.
  size_t numbers(size_t prompt) const { return begins_[prompt + 1] - begins_[prompt]; }
  float* at(Kind kind, size_t prompt);

  // Numbers of all prompts, and the updates after which they are so. Locks; any thread.
  std::vector<std::vector<float>> read(Kind kind, int64_t& updates);

  struct Hyperparameters {
    double learningRate, beta1, beta2, epsilon, weightDecay;
    double maxNorm;  // infinity: the gradient is not shortened
  };
  // The next update. Needs mutex().
  UpdatedEvent update(Backend& backend, const Hyperparameters& hyperparameters);

 private:
  void write(Kind kind, const std::vector<std::vector<float>>& all);

  const std::shared_ptr<Memory> memory_;
  std::mutex mutex_;
  std::vector<size_t> begins_{0};  // of each prompt in an array, and its end
  std::array<DeviceBuffer, kKinds> arrays_;
  DeviceBuffer sums_, report_;
  int64_t updates_;
};

}  // namespace baton
