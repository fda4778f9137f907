// SPDX-License-Identifier: Apache-2.0
#include "cuda/gemm.h"

#include <initializer_list>

namespace baton::cuda {
namespace {

constexpr uint32_t kMostAlignment = 256;

// The largest power of two, up to what cuBLASLt asks for, at whose multiples all rows begin.
uint32_t alignmentOf(const void* first, size_t rowBytes) {
  const uint64_t bits = reinterpret_cast<uintptr_t>(first) | rowBytes | kMostAlignment;
  return static_cast<uint32_t>(bits & (~bits + 1));
}

template <class T>
const T* at(const T* first, int row, int width) {
  return first + static_cast<size_t>(row) * static_cast<size_t>(width);
}

}  // namespace

Gemm::~Gemm() {
  if (library_ == nullptr) return;
  for (Plan& plan : plans_) clear(plan);
  if (preference_ != nullptr) library_->preferenceDestroy(preference_);
  if (product_ != nullptr) library_->productDestroy(product_);
  if (handle_ != nullptr) library_->destroy(handle_);
  if (workspace_ != nullptr) memory_.release(device_, workspace_);
}

// Once: what failed will fail again.
bool Gemm::open() {
  if (tried_) return ready_;
  tried_ = true;
  library_ = find_();
  if (library_ == nullptr || library_->create(&handle_) != 0) return false;
  if (library_->productCreate(&product_, lt::kComputeFloat32, lt::kFloat32) != 0) return false;
  const int32_t transpose = lt::kTranspose;
  if (library_->productSet(product_, lt::kTransposeA, &transpose, sizeof transpose) != 0) {
    return false;
  }
  if (library_->preferenceCreate(&preference_) != 0) return false;
  workspace_ = memory_.allocate(device_, kWorkspaceBytes);
  const uint64_t most = workspace_ == nullptr ? 0 : kWorkspaceBytes;
  ready_ = library_->preferenceSet(preference_, lt::kMostWorkspace, &most, sizeof most) == 0;
  return ready_;
}

void Gemm::clear(Plan& plan) {
  for (void* layout : {plan.weight, plan.x, plan.y}) {
    if (layout != nullptr) library_->layoutDestroy(layout);
  }
  plan = {};
}

// Y^T = W X^T with everything column-major: rows of W and X are columns of K numbers.
bool Gemm::make(Plan& plan) {
  const Shape& s = plan.shape;
  const auto rows = static_cast<uint64_t>(s.rows), columns = static_cast<uint64_t>(s.columns),
             depth = static_cast<uint64_t>(s.depth);
  if (library_->layoutCreate(&plan.weight, lt::kBfloat16, depth, columns, s.depth) != 0 ||
      library_->layoutCreate(&plan.x, lt::kBfloat16, depth, rows, s.depth) != 0 ||
      library_->layoutCreate(&plan.y, lt::kFloat32, columns, rows, s.ldy) != 0) {
    return false;
  }
  const struct {
    int attribute;
    uint32_t value;
  } alignments[] = {{lt::kLeastAlignmentOfA, s.alignWeight},
                    {lt::kLeastAlignmentOfB, s.alignX},
                    {lt::kLeastAlignmentOfC, s.alignY},
                    {lt::kLeastAlignmentOfD, s.alignY}};
  for (const auto& [attribute, value] : alignments) {
    if (library_->preferenceSet(preference_, attribute, &value, sizeof value) != 0) return false;
  }
  lt::Heuristic found{};
  int count = 0;
  const lt::Status status = library_->heuristic(handle_, product_, plan.weight, plan.x, plan.y,
                                                plan.y, preference_, 1, &found, &count);
  if (status != 0 || count < 1 || found.state != 0) return false;
  plan.algorithm = found.algorithm;
  return true;
}

Gemm::Plan& Gemm::planOf(const Shape& shape) {
  for (int i = 0; i < used_; ++i) {
    if (plans_[i].shape == shape) return plans_[i];
  }
  Plan& plan = plans_[used_ < kPlans ? used_++ : oldest_++ % kPlans];
  clear(plan);
  plan.shape = shape;
  plan.usable = make(plan);
  return plan;
}

bool Gemm::multiply(const LinearArgs& a, int n0, int n1) {
  if (!open()) return false;
  const uint16_t* weight = at(static_cast<const uint16_t*>(a.weight), n0, a.K);
  float* y = a.y + n0;
  const size_t rowBytes = static_cast<size_t>(a.K) * sizeof(uint16_t);
  Plan& plan =
      planOf({a.R, n1 - n0, a.K, a.ldy, alignmentOf(weight, rowBytes), alignmentOf(a.xb, rowBytes),
              alignmentOf(y, static_cast<size_t>(a.ldy) * sizeof(float))});
  if (!plan.usable) return false;
  const float alpha = 1, beta = a.accumulate ? 1.0f : 0.0f;
  const size_t bytes = workspace_ == nullptr ? 0 : kWorkspaceBytes;
  plan.usable =
      library_->multiply(handle_, product_, &alpha, weight, plan.weight, a.xb, plan.x, &beta, y,
                         plan.y, y, plan.y, &plan.algorithm, workspace_, bytes, stream_) == 0;
  return plan.usable;
}

}  // namespace baton::cuda
