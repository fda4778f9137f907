// SPDX-License-Identifier: Apache-2.0
// Constraints in the loop. The mask of a place depends on all tokens before it, so it is made when
// those are certain: behind the forward, while the pool of threads is free, those of several
// outputs at once. Guesses (drafting.cpp) are looked at one place after the other, each with the
// mask of its own, so that an output is the same with them and without.
#include <algorithm>

#include "engine/constrain/constrainers.h"
#include "engine/engine.h"

namespace baton {

std::shared_ptr<const Grammar> Engine::compile(const GrammarSpec& spec) {
  std::shared_ptr<const Constrainer> constrainer;
  {
    const std::lock_guard making(constraining_);
    if (constrainer_ == nullptr) {
      if (constrainerKinds().empty())
        throw Error(code::kConstraintUnavailable, "this build of the addon has no grammars");
      std::shared_ptr<const Vocabulary> vocabulary;
      {
        const std::lock_guard lock(mutex_);
        vocabulary = vocabulary_;
      }
      if (vocabulary == nullptr)
        throw Error(code::kOptionInvalid, "grammars need setVocabulary() first");
      constrainer_ = constrainerKinds().front()->make(std::move(vocabulary));
    }
    constrainer = constrainer_;
  }
  return constrainer->compile(spec);
}

// Masks of wanted_, whose outputs are samplers_. An output whose grammar cannot go on fails, and is
// wanted no more.
void Engine::maskRows() {
  constrained_.clear();
  for (JobState* job : samplers_) {
    if (job->constraint != nullptr) constrained_.push_back(job->constraint.get());
  }
  if (constrained_.empty()) return;
  const int count = static_cast<int>(constrained_.size());
  const trace::Scope scope("mask", "outputs", count);
  threads_.forEach(count, 1, [this](int begin, int end, int) {
    for (int i = begin; i < end; ++i) constrained_[static_cast<size_t>(i)]->prepare();
  });
  size_t kept = 0;
  for (size_t i = 0; i < samplers_.size(); ++i) {
    JobState& job = *samplers_[i];
    if (job.constraint != nullptr) {
      if (const auto& error = job.constraint->error()) {
        fail(job, *error);
        continue;
      }
      wanted_[i].allowed = job.constraint->allowed().data();
    }
    samplers_[kept] = &job;
    wanted_[kept++] = wanted_[i];
  }
  samplers_.resize(kept);
  wanted_.resize(kept);
}

}  // namespace baton
