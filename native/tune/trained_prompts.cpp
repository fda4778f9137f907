// SPDX-License-Identifier: Apache-2.0
#include "tune/trained_prompts.h"

#include <climits>
#include <cmath>
#include <string>

#include "base/error.h"

namespace baton {
namespace {

constexpr const char* kWhat = "trained prompts and their moments";

// base^exponent by multiplications alone, in the order of src/tune/optimizer.ts: the same bits on
// every platform.
double power(double base, int64_t exponent) {
  double result = 1;
  for (double square = base; exponent > 0; exponent /= 2, square *= square) {
    if (exponent % 2 == 1) result *= square;
  }
  return result;
}

Error invalid(const std::string& message) {
  return Error(code::kOptionInvalid, message);
}

}  // namespace

TrainedPrompts::TrainedPrompts(std::shared_ptr<Memory> memory, int hidden, const Start& start)
    : memory_(std::move(memory)),
      arrays_{DeviceBuffer(*memory_), DeviceBuffer(*memory_), DeviceBuffer(*memory_),
              DeviceBuffer(*memory_)},
      sums_(*memory_),
      report_(*memory_),
      updates_(start.updates) {
  if (start.updates < 0) throw invalid("trained prompts cannot have had fewer than 0 updates");
  if (start.values.empty()) throw invalid("nothing is to be trained");
  for (const std::vector<float>& rows : start.values) {
    if (rows.empty() || rows.size() % static_cast<size_t>(hidden) != 0)
      throw invalid("a trained prompt holds " + std::to_string(rows.size()) +
                    " numbers, which are no rows of " + std::to_string(hidden));
    begins_.push_back(begins_.back() + rows.size());
  }
  if (begins_.back() > INT_MAX) throw invalid("trained prompts hold more than 2^31 - 1 numbers");
  for (DeviceBuffer& array : arrays_) array.ensure(begins_.back() * sizeof(float), kWhat);
  const auto pieces = static_cast<size_t>(adamWPieces(static_cast<int>(begins_.back())));
  sums_.ensure(pieces * sizeof(double), kWhat);
  report_.ensure((1 + pieces) * sizeof(double), kWhat);
  write(Kind::kValues, start.values);
  write(Kind::kFirst, start.first);
  write(Kind::kSecond, start.second);
  memory_->fill(at(Kind::kGradient, 0), 0, begins_.back() * sizeof(float));
}

void TrainedPrompts::requireOn(const Pool& pool) const {
  if (memory_.get() != &pool.memory())
    throw invalid("trained prompts lie on another device than their model");
}

float* TrainedPrompts::at(Kind kind, size_t prompt) {
  return arrays_[static_cast<size_t>(kind)].as<float>() + begins_[prompt];
}

void TrainedPrompts::write(Kind kind, const std::vector<std::vector<float>>& all) {
  if (all.size() != count()) throw invalid("every trained prompt has its moments");
  for (size_t prompt = 0; prompt < all.size(); ++prompt) {
    if (all[prompt].size() != numbers(prompt))
      throw invalid("moments of a trained prompt are as many as its values");
    memory_->upload(at(kind, prompt), all[prompt].data(), numbers(prompt) * sizeof(float));
  }
}

std::vector<std::vector<float>> TrainedPrompts::read(Kind kind, int64_t& updates) {
  const std::lock_guard lock(mutex_);
  std::vector<std::vector<float>> all;
  for (size_t prompt = 0; prompt < count(); ++prompt) {
    std::vector<float>& one = all.emplace_back(numbers(prompt));
    memory_->download(one.data(), at(kind, prompt), one.size() * sizeof(float));
  }
  updates = updates_;
  return all;
}

UpdatedEvent TrainedPrompts::update(Backend& backend, const Hyperparameters& h) {
  const int64_t step = updates_ + 1;
  const auto n = static_cast<int>(begins_.back());
  backend.adamw({.value = at(Kind::kValues, 0),
                 .first = at(Kind::kFirst, 0),
                 .second = at(Kind::kSecond, 0),
                 .gradient = at(Kind::kGradient, 0),
                 .sums = sums_.as<double>(),
                 .report = report_.as<double>(),
                 .n = n,
                 .maxNorm = h.maxNorm,
                 .stepSize = h.learningRate / (1 - power(h.beta1, step)),
                 .secondScale = std::sqrt(1 - power(h.beta2, step)),
                 .kept = 1 - h.learningRate * h.weightDecay,
                 .beta1 = h.beta1,
                 .beta2 = h.beta2,
                 .epsilon = h.epsilon});
  std::vector<double> report(static_cast<size_t>(1 + adamWPieces(n)));
  memory_->download(report.data(), report_.data(), report.size() * sizeof(double));
  if (!std::isfinite(report[0])) return {report[0], true};
  updates_ = step;
  bool finite = true;
  for (size_t piece = 1; piece < report.size(); ++piece) finite = finite && report[piece] == 0;
  return {report[0], finite};
}

}  // namespace baton
