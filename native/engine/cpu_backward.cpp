// SPDX-License-Identifier: Apache-2.0
// Backward on a CPU.
#include "base/trace.h"
#include "engine/attention_backward.h"
#include "engine/cpu_backend.h"
#include "engine/linear_backward.h"
#include "kernels/cost.h"

namespace baton {

void CpuBackend::planBackward(const Batch& batch, std::vector<KvGradient>& outside) {
  if (attentionBackward_ == nullptr) {
    attentionBackward_ = std::make_unique<AttentionBackward>(model_->config, ops_, threads_, pool_,
                                                             ropes_, options_.int8Activations);
  }
  attentionBackward_->plan(attention_.plan(), batch, outside);
}

void CpuBackend::attendBackward(const LayerAttentionBackward& args) {
  attentionBackward_->run(args);
}

void CpuBackend::multiplyBackward(const char* name, const Weight& weight, const float* dy,
                                  float* dx, int rows, bool accumulate) {
  linearBackward(name, ops_, threads_, backwardScratch_, weight, dy, dx, rows, accumulate,
                 options_.int8Activations);
}

void CpuBackend::rmsnormBackward(const DRmsNormArgs& args, int rows) {
  const trace::Scope scope("d norm", [&] { return dRmsnormCost(args, rows); });
  threads_.forEach(rows, 16, [&](int begin, int end, int) { ops_.dRmsnorm(args, begin, end); });
}

void CpuBackend::gateBackward(const DGluArgs& args, Activation activation, int rows) {
  const bool gelu = activation == Activation::kGelu;
  const trace::Scope scope("d glu", [&] { return dGluCost(args, rows, gelu); });
  const DGluFn gated = gelu ? ops_.dGeglu : ops_.dSwiglu;
  threads_.forEach(rows, 8, [&](int begin, int end, int) { gated(args, begin, end); });
}

void CpuBackend::score(const LinearArgs& head, const ScoreArgs& args) {
  this->head(head);
  float* logits = this->logits(0, head.R);
  const CrossEntropyArgs entropy{logits, args.labels, args.scales, args.losses, head.N};
  {
    const trace::Scope scope("cross entropy", [&] { return crossEntropyCost(entropy, head.R); });
    threads_.forEach(head.R, 1,
                     [&](int begin, int end, int) { ops_.crossEntropy(entropy, begin, end); });
  }
  if (args.scales != nullptr)
    multiplyBackward("d logits", weights_.output, logits, args.dx, head.R, false);
}

void CpuBackend::adamw(const AdamWArgs& args) {
  const trace::Scope scope("adamw", [&] { return adamWCost(args); });
  for (const AdamWFn half : {ops_.squareSums, ops_.adamw}) {
    threads_.forEach(adamWPieces(args.n), 8,
                     [&](int begin, int end, int) { half(args, begin, end); });
  }
}

}  // namespace baton
