// SPDX-License-Identifier: Apache-2.0
// Backward on a CUDA device.
#include "engine/cuda_backward.h"

#include "engine/cuda_backend.h"

namespace baton {
namespace {

constexpr const char* kGradients = "the gradients of attention";

std::vector<int32_t> negated(const std::vector<int32_t>& from) {
  std::vector<int32_t> to;
  for (const int32_t at : from) to.push_back(-at);
  return to;
}

}  // namespace

CudaBackward& CudaBackend::backward() {
  if (backward_ == nullptr) backward_ = std::make_unique<CudaBackward>(*device_);
  return *backward_;
}

template <class T>
void CudaBackend::uploadList(DeviceBuffer& to, const std::vector<T>& list) {
  const size_t bytes = list.size() * sizeof(T);
  to.ensure(bytes, "the views of a step");
  if (bytes > 0) device_->upload(to.data(), list.data(), bytes);
}

void CudaBackend::planBackward(const Batch& batch, std::vector<KvGradient>& outside) {
  const ModelConfig& c = model_->config;
  CudaBackward& b = backward();
  weights_->addRows(*model_);
  std::vector<const Segment*> others;
  for (const KvGradient& gradient : outside) others.push_back(gradient.segment);
  b.lists.make(plan_, slots_, batch, others);
  b.outside = &outside;
  uploadList(b.items, b.lists.items);
  uploadList(b.states, b.lists.lists);
  uploadList(b.positions, b.lists.positions);
  uploadList(b.uses, b.lists.uses);
  uploadList(b.parts, b.lists.parts);
  uploadList(b.targets, b.lists.targets);
  uploadList(b.keyPositions, negated(plan_.keyPositions));
  const auto parts = static_cast<int>(b.lists.parts.size()) * kBlockRows;
  b.delta.ensure(matrixBytes(plan_.rows, c.heads), kGradients);
  b.partQ.ensure(matrixBytes(b.lists.states, c.heads * c.headDim), kGradients);
  b.partK.ensure(matrixBytes(parts, c.kvHeads * c.headDim), kGradients);
  b.partV.ensure(matrixBytes(parts, c.kvHeads * c.headDim), kGradients);
}

// The arguments of the forward's launch, of which backward wants the same.
DAttendSlotsArgs CudaBackend::backwardArgs(const LayerAttentionBackward& a) {
  CudaBackward& b = *backward_;
  const AttendSlotsArgs forward = slotArgs({a.layer, {}, {}, {}, {}, {}, {}, {}});
  return {.q = forward.q,
          .dout = a.dout,
          .lse = a.lse,
          .delta = b.delta.as<float>(),
          .H = forward.H,
          .G = forward.G,
          .D = forward.D,
          .scale = forward.scale,
          .window = forward.window,
          .kv = forward.kv,
          .k = forward.k,
          .v = forward.v,
          .headStride = forward.headStride,
          .blockStride = forward.blockStride,
          .slots = forward.slots,
          .items = b.items.as<DAttendItem>(),
          .mostRows = b.lists.mostRows,
          .dq = b.partQ.as<float>(),
          .uses = b.uses.as<KeyUse>(),
          .parts = b.parts.as<KeyPart>(),
          .dk = b.partK.as<float>(),
          .dv = b.partV.as<float>()};
}

// q is rotated once more, by the launch of the forward without its keys.
void CudaBackend::attendBackward(const LayerAttentionBackward& a) {
  const ModelConfig& c = model_->config;
  CudaBackward& b = *backward_;
  KvAppendArgs rotate = appendArgs(
      {a.layer, const_cast<float*>(a.q), nullptr, nullptr, a.qNorm, nullptr, nullptr, nullptr});
  rotate.rows = 0;
  const DAttendDeltaArgs delta{a.dout, a.attended, c.heads, c.headDim, b.delta.as<float>()};
  const DAttendSlotsArgs args = backwardArgs(a);
  const int width = c.kvHeads * c.headDim;
  const DAttendTurnArgs turn{args.dq,
                             b.positions.as<int32_t>(),
                             b.states.as<StateList>(),
                             c.heads,
                             c.headDim,
                             rotate.cos,
                             rotate.sin,
                             c.ropePairing,
                             a.dq};
  const RopeArgs back{.x = a.dk,
                      .ldx = width,
                      .out = a.dk,
                      .ldo = width,
                      .heads = c.kvHeads,
                      .D = c.headDim,
                      .cos = rotate.cos,
                      .sin = rotate.sin,
                      .positions = b.keyPositions.as<int32_t>(),
                      .pairing = c.ropePairing};
  device_->issue([&](const BatonCudaKernels& kernels) {
    const auto gather = [&](const SlotBackward::Range& range, float* dk, float* dv) {
      kernels.dAttendKeys(args, range.partBegin, range.partEnd);
      kernels.dAttendGather({args.dk, args.dv, b.targets.as<KeyTarget>(), width, dk, dv},
                            range.targetBegin, range.targetEnd);
    };
    kernels.kvAppend(rotate);
    kernels.dAttendDelta(delta, 0, plan_.rows);
    for (size_t i = 0; i < b.outside->size(); ++i) {
      KvGradient& gradient = (*b.outside)[i];
      const size_t layer = matrixBytes(a.layer * gradient.rows, width);
      gather(b.lists.outside[i], reinterpret_cast<float*>(gradient.dk.data() + layer),
             reinterpret_cast<float*>(gradient.dv.data() + layer));
    }
    if (a.dq == nullptr) return;
    kernels.dAttendQueries(args, 0, static_cast<int>(b.lists.items.size()));
    kernels.dAttendTurn(turn, 0, plan_.rows);
    gather(b.lists.batch, a.dk, a.dv);
    kernels.ops->rope(back, 0, plan_.rows);
  });
}

void CudaBackend::multiplyBackward(const char*, const Weight& weight, const float* dy, float* dx,
                                   int rows, bool accumulate) {
  const DLinearArgs args{.weight = weights_->rowsOf(weight),
                         .type = weight.type,
                         .N = weight.rows,
                         .K = weight.cols,
                         .dy = dy,
                         .ldy = weight.rows,
                         .dx = dx,
                         .ldx = weight.cols,
                         .R = rows,
                         .accumulate = accumulate};
  device_->issue(
      [&](const BatonCudaKernels& kernels) { kernels.ops->dLinear(args, 0, args.K, nullptr); });
}

void CudaBackend::rmsnormBackward(const DRmsNormArgs& args, int rows) {
  device_->issue([&](const BatonCudaKernels& kernels) { kernels.ops->dRmsnorm(args, 0, rows); });
}

void CudaBackend::gateBackward(const DGluArgs& args, Activation activation, int rows) {
  device_->issue([&](const BatonCudaKernels& kernels) {
    const bool gelu = activation == Activation::kGelu;
    (gelu ? kernels.ops->dGeglu : kernels.ops->dSwiglu)(args, 0, rows);
  });
}

// Logits stay where they are; losses come back.
void CudaBackend::score(const LinearArgs& head, const ScoreArgs& args) {
  CudaBackward& b = backward();
  const auto rows = static_cast<size_t>(head.R);
  LinearArgs logits = head;
  logits.y = logits_.as<float>();
  logits.ldy = head.N;
  multiply("logits", &logits, 1);
  uploadList(b.labels, std::vector(args.labels, args.labels + rows));
  if (args.scales != nullptr) {
    weights_->addRows(*model_);
    uploadList(b.scales, std::vector(args.scales, args.scales + rows));
  }
  b.losses.ensure(rows * sizeof(float), kGradients);
  const CrossEntropyArgs entropy{logits.y, b.labels.as<int32_t>(),
                                 args.scales == nullptr ? nullptr : b.scales.as<float>(),
                                 b.losses.as<float>(), head.N};
  device_->issue(
      [&](const BatonCudaKernels& kernels) { kernels.ops->crossEntropy(entropy, 0, head.R); });
  if (args.scales != nullptr)
    multiplyBackward("d logits", weights().output, logits.y, args.dx, head.R, false);
  device_->download(args.losses, b.losses.data(), rows * sizeof(float));
}

void CudaBackend::adamw(const AdamWArgs& args) {
  device_->issue([&](const BatonCudaKernels& kernels) {
    kernels.ops->squareSums(args, 0, adamWPieces(args.n));
    kernels.ops->adamw(args, 0, adamWPieces(args.n));
  });
}

}  // namespace baton
