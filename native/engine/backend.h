// SPDX-License-Identifier: Apache-2.0
// What a forward runs on: a device's memory, the model's weights in it, and operations over all
// rows of a batch. Forward issues them in order and never asks which device it has; how an
// operation is dealt out (to threads, or in a launch) is the backend's business. Arguments are
// those of the kernels (kernels/ops.h), with pointers into memory(). One thread calls.
//
// Operations may be done later than they are issued, in order; logits() and sample() are where
// their results, and what went wrong with them, arrive at the latest. Every call may throw what
// Memory throws.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "device/memory.h"
#include "engine/attention_plan.h"
#include "engine/batch.h"
#include "engine/kv_gradient.h"
#include "engine/rope_table.h"
#include "engine/sampler.h"
#include "engine/weight_panels.h"
#include "kernels/ops.h"
#include "model/model.h"

namespace baton {

struct ForwardOptions {
  int maxRows;  // most rows of a batch
  // For quantised weights; those in BF16 then take bfloat16 activations where there are kernels for
  // it. False: weights are dequantised exactly and activations stay float32.
  bool int8Activations;
  bool batchInvariant;  // same bits for a row whatever the batch
  // Of the model, for int8Activations (packWeights()) on a CPU.
  std::shared_ptr<const WeightPanels> panels = {};
  int logitRows = 8;  // most rows of one call of head()
};

// The first half of a gated unit, from rows that both layers read to the rows that down reads.
struct GateUp {
  LinearArgs gate, up;  // their y is the backend's business
  Activation activation;
  float* hidden;           // [R, F], or null:
  QuantizeArgs quantised;  // [R, F] where these go, x is not looked at
  // [R, F] of gate and up for a tape; null where none is kept.
  float* keptGate;
  float* keptUp;
};

// Attention of one layer over the views of the planned batch: norms of heads, rotation, K and V
// into the pool.
struct LayerAttention {
  int layer;
  float* q;            // [R, H, D]; what is left here, normed or not, is what backward takes
  float* k;            // [R, G, D], undefined afterwards
  const float* v;      // [R, G, D]
  const float* qNorm;  // [D] or null
  const float* kNorm;  // [D] or null
  float* out;          // [R, H, D]
  float* lse;          // [R, H] log of each softmax denominator, for backward; or null
};

// Backward of it, for what the forward left (tape.h): from dout to the gradients of q and k before
// the rotation, and of v. Readers outside of the batch may have added to dk and dv before, in the
// frame that K was stored in. Gradients that `planBackward` named outside of the batch are added
// to, too; they are all that is done where dq, dk and dv are null.
struct LayerAttentionBackward {
  int layer;
  const float* q;  // [R, H, D] as attend() left it
  const float* qNorm;
  const float* attended;  // [R, H, D]
  const float* lse;       // [R, H]
  const float* dout;      // [R, H, D]
  float* dq;              // [R, H, D], of q as it is rotated
  float* dk;              // [R, G, D]
  float* dv;              // [R, G, D]
};

// Cross entropy of rows of logits (kernels/loss) and its gradient with respect to what the head
// reads. All but dx in memory of the host.
struct ScoreArgs {
  const int32_t* labels;  // [R]
  const float* scales;    // [R] of each loss, or null: no gradient
  float* losses;          // [R]
  float* dx;              // [R, M]
};

class Backend {
 public:
  virtual ~Backend() = default;

  // The same over the same model, weights and pool, for forwards of other sizes.
  virtual std::unique_ptr<Backend> another(const ForwardOptions& options) const = 0;

  virtual Memory& memory() = 0;
  virtual const ModelWeights& weights() const = 0;
  virtual bool multipliesBf16() const = 0;

  // Rotary tables as the host has them; positions that they hold before a batch with those may run.
  virtual const std::vector<RopeTable>& ropes() const = 0;
  virtual void growPositions(int limit) = 0;

  // Makes `batch` the one that attend() speaks of.
  virtual void plan(const Batch& batch) = 0;
  virtual const AttentionPlan& plan() const = 0;

  // A forward of the planned batch: `issue` issues it, from embed() to the last norm; false is that
  // it gave up. A device may write down what was issued for a batch of the same shape and issue
  // that at once instead.
  virtual bool step(const std::function<bool()>& issue) = 0;

  // `tokens` are the planned batch's.
  virtual void embed(const EmbedArgs& args, int rows) = 0;
  virtual void rmsnorm(const RmsNormArgs& args, int rows) = 0;
  virtual void rmsnormQuantize(const RmsNormQuantizeArgs& args, int rows) = 0;
  virtual void quantize(const QuantizeArgs& args, int rows) = 0;
  virtual void toBf16(const ToBf16Args& args, int rows) = 0;
  virtual void addBias(const AddBiasArgs& args, int rows) = 0;

  // At most kMostProjections layers that read the same rows. `name` is what the trace calls it.
  static constexpr int kMostProjections = 3;
  virtual void multiply(const char* name, const LinearArgs* args, int count) = 0;

  virtual void gateUp(const GateUp& args) = 0;
  virtual void attend(const LayerAttention& args) = 0;

  // The head over at most logitRows rows of x or xb: where int8 arithmetic would lose too much, as
  // good as in float32. Its logits [R, V] stay where they are made until the next call.
  virtual void head(const LinearArgs& args) = 0;
  // Some of these rows in memory of the host, writable, valid until the next call of either.
  virtual float* logits(int row, int count) = 0;
  // Tokens of some of these rows, each at most once: what Sampler::sample takes.
  virtual void sample(const SampleWanted* wanted, int count, Sampled* out) = 0;

  // Backward. Of the planned batch, each of whose runs is a whole segment: `outside` are gradients
  // of live segments that it reads, for as long as the plan is.
  virtual void planBackward(const Batch& batch, std::vector<KvGradient>& outside) = 0;
  virtual void attendBackward(const LayerAttentionBackward& args) = 0;
  // dx[rows, K] (+)= dy[rows, N] W of weights(). Where activations are rounded, so may factors be
  // (dlinear.h).
  virtual void multiplyBackward(const char* name, const Weight& weight, const float* dy, float* dx,
                                int rows, bool accumulate) = 0;
  virtual void rmsnormBackward(const DRmsNormArgs& args, int rows) = 0;
  virtual void gateBackward(const DGluArgs& args, Activation activation, int rows) = 0;
  // Of rows as head() has them.
  virtual void score(const LinearArgs& head, const ScoreArgs& args) = 0;
  // All of it; its sums and its report lie in memory(), too.
  virtual void adamw(const AdamWArgs& args) = 0;
};

}  // namespace baton
