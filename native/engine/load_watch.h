// SPDX-License-Identifier: Apache-2.0
// How far the weights of a model are made, while it is opened: told to whoever waits for it, who
// may stop it. One thread calls.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "model/model.h"

namespace baton {

class LoadWatch {
 public:
  // Bytes of the file: done, of all. On the thread that loads; must not throw.
  using Tell = std::function<void(uint64_t done, uint64_t total)>;

  LoadWatch() = default;  // nobody waits
  explicit LoadWatch(const std::atomic<int32_t>* cancel, Tell tell = {})
      : cancel_(cancel), tell_(std::move(tell)) {}

  // `bytes` of the model's file have to be gone through; the rest of it counts as done. Told.
  void begin(const Model& model, uint64_t bytes);

  // So many more are done. Told at each hundredth of the file, and at its end.
  // Error(ABORTED) where the load was cancelled, by then or before.
  void add(uint64_t bytes);

 private:
  void tell();
  void requireWanted() const;

  const std::atomic<int32_t>* cancel_ = nullptr;  // nonzero: cancelled
  Tell tell_;
  std::string path_;
  uint64_t done_ = 0, told_ = 0, total_ = 0;
};

}  // namespace baton
