// SPDX-License-Identifier: Apache-2.0
#include "engine/load_watch.h"

#include <algorithm>

#include "base/error.h"

namespace baton {

void LoadWatch::begin(const Model& model, uint64_t bytes) {
  path_ = model.file().path();
  total_ = std::max<uint64_t>(model.file().size(), bytes);  // tensors of a file may overlap
  done_ = total_ - bytes;
  requireWanted();
  tell();
}

void LoadWatch::add(uint64_t bytes) {
  requireWanted();
  done_ += bytes;
  if (done_ == total_ || done_ - told_ >= std::max<uint64_t>(total_ / 100, 1)) tell();
}

void LoadWatch::tell() {
  told_ = done_;
  if (tell_) tell_(done_, total_);
}

void LoadWatch::requireWanted() const {
  if (cancel_ == nullptr || cancel_->load(std::memory_order_relaxed) == 0) return;
  throw Error(code::kAborted, "Loading model file " + path_ + " was cancelled.");
}

}  // namespace baton
