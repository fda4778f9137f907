// SPDX-License-Identifier: Apache-2.0
// Layers of few rows on a CUDA device, where a launch costs as much as what it does: whoever wants
// rows as int8 has to wait until the layers that read them are issued, and both are one launch
// (cuda/few_rows.h). Anything else that is issued first has the quants made by themselves.
#include "engine/cuda_backend.h"

namespace baton {

void CudaBackend::wait(const Quants& quants) {
  makeQuants();
  waiting_ = quants;
  // Rows that somebody reads as float32, too, are written anyway.
  const bool fusable = quants.rows <= kMostFusedRows && !options_.batchInvariant;
  if (!fusable || quants.args.y != nullptr) makeQuants();
}

void CudaBackend::makeQuants() {
  if (!waiting_) return;
  const Quants made = *waiting_;
  waiting_.reset();
  device_->issue([&](const BatonCudaKernels& kernels) {
    const RmsNormQuantizeArgs& args = made.args;
    if (args.weight != nullptr) return kernels.ops->rmsnormQuantize(args, 0, made.rows);
    kernels.ops->quantize({args.x, args.q, args.d, args.s, args.M}, 0, made.rows);
  });
}

void CudaBackend::rmsnormQuantize(const RmsNormQuantizeArgs& args, int rows) {
  wait({args, rows});
}

void CudaBackend::quantize(const QuantizeArgs& args, int rows) {
  RmsNormQuantizeArgs plain{};
  plain.x = args.x;
  plain.q = args.q;
  plain.d = args.d;
  plain.s = args.s;
  plain.M = args.K;
  wait({plain, rows});
}

// Some int8 layers that read the same rows as one launch, which makes those that wait. False: not
// of that kind, and what waited is made.
bool CudaBackend::fuse(const LinearArgs* layers, int count, GatedUnit unit) {
  FewRowsArgs few{};
  few.count = count;
  few.unit = unit;
  bool same = layers[0].R <= kMostFusedRows;
  for (int i = 0; i < count; ++i) {
    few.layers[i] = layers[i];
    same = same && layers[i].xq != nullptr && layers[i].xq == layers[0].xq;
  }
  if (!same) {
    makeQuants();
    return false;
  }
  if (waiting_ && waiting_->args.q == layers[0].xq && waiting_->rows == layers[0].R) {
    few.x = waiting_->args.x;
    few.norm = waiting_->args.weight;
    few.epsilon = waiting_->args.epsilon;
  } else {
    makeQuants();
  }
  bool fused = false;
  device_->issue([&](const BatonCudaKernels& kernels) { fused = kernels.fewRows(few); });
  if (fused) {
    waiting_.reset();
  } else {
    makeQuants();
  }
  return fused;
}

void CudaBackend::multiply(const char*, const LinearArgs* args, int count) {
  if (fuse(args, count, GatedUnit::kNone)) return;
  device_->issue([&](const BatonCudaKernels& kernels) {
    for (int i = 0; i < count; ++i) {
      const LinearFn linear = args[i].xb != nullptr ? kernels.ops->linearBf16 : kernels.ops->linear;
      linear(args[i], 0, args[i].N, nullptr);
    }
  });
}

void CudaBackend::gateUp(const GateUp& args) {
  const bool gelu = args.activation == Activation::kGelu;
  float* const hidden = args.hidden != nullptr ? args.hidden : gate_.as<float>();
  const bool kept = args.keptGate != nullptr;
  LinearArgs pair[] = {args.gate, args.up};
  pair[0].y = hidden;
  if (kept || !fuse(pair, 2, gelu ? GatedUnit::kGeglu : GatedUnit::kSwiglu)) {
    pair[0].y = kept ? args.keptGate : gate_.as<float>();
    pair[1].y = kept ? args.keptUp : up_.as<float>();
    multiply("linear gate up", pair, 2);
    const GluArgs glu{pair[0].y, pair[1].y, hidden, args.gate.N};
    device_->issue([&](const BatonCudaKernels& kernels) {
      (gelu ? kernels.ops->geglu : kernels.ops->swiglu)(glu, 0, args.gate.R);
    });
  }
  if (args.hidden != nullptr) return;
  QuantizeArgs quants = args.quantised;
  quants.x = gate_.as<float>();
  quantize(quants, args.gate.R);
}

}  // namespace baton
