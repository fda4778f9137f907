// SPDX-License-Identifier: Apache-2.0
#include "engine/attention_backward.h"

#include <algorithm>
#include <cstring>

#include "base/trace.h"
#include "engine/attention_reads.h"
#include "kernels/cost.h"

namespace baton {
namespace {

constexpr int kChunkRows = 128;  // rows of K and V that one worker gathers for at a time

}  // namespace

// What a kernel call needs of each query besides its numbers of the plan.
struct QueryPointers {
  const float* q[kMaxQueries];
  const float* dout[kMaxQueries];
  float lse[kMaxQueries];
  float delta[kMaxQueries];
  int32_t first[kMaxQueries];
  int32_t visible[kMaxQueries];
};

AttentionBackward::AttentionBackward(const ModelConfig& config, const Ops& ops, ThreadPool& threads,
                                     const Pool& pool, const std::vector<RopeTable>& ropes,
                                     bool fast)
    : config_(config),
      ops_(ops),
      threads_(threads),
      pool_(pool),
      ropes_(ropes),
      group_(config.heads / config.kvHeads),
      fast_(fast),
      scratchFloats_((dAttendScratchFloats(config.headDim) + 15) / 16 * 16) {
  scratch_.ensure(scratchFloats_ * static_cast<size_t>(threads.workers()) * sizeof(float));
}

// ---- plan
// ------------------------------------------------------------------------------------------------------

void AttentionBackward::plan(const AttentionPlan& plan, const Batch& batch,
                             std::vector<KvGradient>& outside) {
  plan_ = &plan;
  batchRows_.clear();
  outside_.clear();
  chunkOf_.clear();
  chunks_.clear();
  for (const Run& run : batch.runs) batchRows_[run.segment] = run.batchRow;
  for (KvGradient& gradient : outside) outside_[gradient.segment] = &gradient;
  for (int tile = 0; tile < static_cast<int>(plan.tiles.size()); ++tile) {
    const AttentionPlan::Tile& one = plan.tiles[static_cast<size_t>(tile)];
    for (int piece = one.pieceBegin; piece < one.pieceEnd; ++piece) addUses(tile, piece);
  }
  const auto negate = [](const std::vector<int32_t>& from, std::vector<int32_t>& to) {
    to.resize(from.size());
    std::transform(from.begin(), from.end(), to.begin(), [](int32_t at) { return -at; });
  };
  negate(plan.queryPositions, queryPositions_);
  negate(plan.keyPositions, keyPositions_);
  const auto width = static_cast<size_t>(config_.heads * config_.headDim);
  queries_.ensure(static_cast<size_t>(plan.queryRows) * width * sizeof(float));
  dqueries_.ensure(static_cast<size_t>(plan.queryRows) * width * sizeof(float));
  delta_.ensure(static_cast<size_t>(plan.rows * config_.heads) * sizeof(float));
}

void AttentionBackward::addUses(int tile, int piece) {
  const AttentionPlan::Piece& read = plan_->pieces[static_cast<size_t>(piece)];
  const auto inBatch = batchRows_.find(read.segment);
  const auto outside = outside_.find(read.segment);
  if (inBatch == batchRows_.end() && outside == outside_.end()) return;  // frozen
  std::vector<int>& chunks = chunkOf_[read.segment];
  for (int row = 0; row < read.rows; row += kChunkRows) {
    const int segmentRow = read.segmentRow + row;
    const auto at = static_cast<size_t>(segmentRow / kChunkRows);
    if (chunks.size() <= at) chunks.resize(at + 1, -1);
    if (chunks[at] < 0) {
      chunks[at] = static_cast<int>(chunks_.size());
      KeyChunk chunk{};
      chunk.batchRow = inBatch == batchRows_.end() ? -1 : inBatch->second + segmentRow;
      chunk.outside = outside == outside_.end() ? nullptr : outside->second;
      chunk.segmentRow = segmentRow;
      chunks_.push_back(std::move(chunk));
    }
    KeyChunk& chunk = chunks_[static_cast<size_t>(chunks[at])];
    chunk.rows = std::max(chunk.rows, std::min(kChunkRows, read.rows - row));
    chunk.uses.push_back({tile, piece, row});
  }
}

// ---- run
// -------------------------------------------------------------------------------------------------------

void AttentionBackward::run(const LayerAttentionBackward& a) {
  findDelta(a.dout, a.attended);
  rotateQueries(a.layer, a.q);
  if (a.dq != nullptr) gatherQueries(a.layer, a.lse, a.dout);
  gatherKeys(a.layer, a.lse, a.dout, a.dk, a.dv);
  if (a.dq != nullptr) turnBack(a.layer, a.dq, a.dk);
}

// delta = dout . out, by row and head (FlashAttention-2, arXiv 2307.08691, algorithm 2).
void AttentionBackward::findDelta(const float* dout, const float* attended) {
  const auto D = static_cast<size_t>(config_.headDim);
  const double width = double(config_.heads) * config_.headDim;
  const trace::Scope scope("d delta", [&] {
    return Cost{plan_->rows, 2 * floatBytes(plan_->rows, width), 2.0 * plan_->rows * width, 0};
  });
  float* delta = delta_.as<float>();
  threads_.forEach(plan_->rows * config_.heads, 64, [&](int begin, int end, int) {
    for (int i = begin; i < end; ++i) {
      const float* a = dout + static_cast<size_t>(i) * D;
      const float* b = attended + static_cast<size_t>(i) * D;
      float sum = 0;
      for (size_t d = 0; d < D; ++d) sum += a[d] * b[d];
      delta[i] = sum;
    }
  });
}

RopeArgs AttentionBackward::ropeArgs(int layer, int heads) const {
  const LayerSpec& spec = config_.layerSpecs[static_cast<size_t>(layer)];
  const RopeTable& table = ropes_[static_cast<size_t>(spec.rope)];
  return {.x = nullptr,
          .ldx = heads * config_.headDim,
          .out = nullptr,
          .ldo = heads * config_.headDim,
          .heads = heads,
          .D = config_.headDim,
          .cos = table.cos(),
          .sin = table.sin(),
          .positions = nullptr,
          .pairing = config_.ropePairing};
}

void AttentionBackward::rotateQueries(int layer, const float* q) {
  const auto width = static_cast<size_t>(config_.heads * config_.headDim);
  for (const AttentionPlan::Rotation& rotation : plan_->rotations) {
    RopeArgs rope = ropeArgs(layer, config_.heads);
    rope.x = q + static_cast<size_t>(rotation.batchRow) * width;
    rope.out = queries_.as<float>() + static_cast<size_t>(rotation.queryRow) * width;
    rope.positions = plan_->queryPositions.data() + rotation.queryRow;
    const trace::Scope scope("rope", [&] { return ropeCost(rope, rotation.count); });
    threads_.forEach(rotation.count, 16,
                     [&](int begin, int end, int) { ops_.rope(rope, begin, end); });
  }
}

// Arguments of the queries of a tile for a piece, but for the outputs; 0 queries: nothing is read.
int AttentionBackward::fill(DAttendArgs& args, int layer, int head, const AttentionPlan::Tile& tile,
                            const AttentionPlan::Piece& piece, const float* lse, const float* dout,
                            QueryPointers& pointers) const {
  const int window = config_.layerSpecs[static_cast<size_t>(layer)].window;
  if (!AttentionPlan::range(tile, piece, window, group_, pointers.first, pointers.visible))
    return 0;
  const auto D = static_cast<size_t>(config_.headDim);
  const auto heads = static_cast<size_t>(config_.heads);
  const AttentionPlan::Rotation& rotation = plan_->rotations[static_cast<size_t>(piece.rotation)];
  const int queries = tile.rows * group_;
  for (int i = 0; i < queries; ++i) {
    const auto h = static_cast<size_t>(head * group_ + i % group_);
    const auto row = static_cast<size_t>(tile.batchRow + i / group_) * heads + h;
    const auto query =
        static_cast<size_t>(rotation.queryRow + tile.runRow + i / group_) * heads + h;
    pointers.q[i] = queries_.as<float>() + query * D;
    pointers.dout[i] = dout + row * D;
    pointers.lse[i] = lse[row];
    pointers.delta[i] = delta_.as<float>()[row];
  }
  const KvShape& shape = pool_.shape();
  const size_t headOffset = static_cast<size_t>(head) * shape.headBytes();
  args.q = pointers.q;
  args.dout = pointers.dout;
  args.lse = pointers.lse;
  args.delta = pointers.delta;
  args.Q = queries;
  args.D = config_.headDim;
  args.scale = config_.attentionScale;
  args.kv = shape.type;
  args.k = pool_.keys(layer) + headOffset;
  args.v = pool_.values(layer) + headOffset;
  args.blockStride = shape.blockBytes();
  args.blocks = piece.blocks;
  args.visible = pointers.visible;
  args.first = pointers.first;
  args.bf16 = fast_;
  return queries;
}

void AttentionBackward::gatherQueries(int layer, const float* lse, const float* dout) {
  const trace::Scope scope("d attend query", [&] { return queriesCost(layer); });
  const int heads = config_.kvHeads;
  const auto D = static_cast<size_t>(config_.headDim);
  float* dqueries = dqueries_.as<float>();
  std::memset(dqueries, 0,
              static_cast<size_t>(plan_->queryRows * config_.heads) * D * sizeof(float));
  threads_.forEach(
      static_cast<int>(plan_->tiles.size()) * heads, 1, [&](int begin, int end, int worker) {
        for (int item = begin; item < end; ++item) {
          const AttentionPlan::Tile& tile = plan_->tiles[static_cast<size_t>(item / heads)];
          for (int p = tile.pieceBegin; p < tile.pieceEnd; ++p) {
            const AttentionPlan::Piece& piece = plan_->pieces[static_cast<size_t>(p)];
            QueryPointers pointers;
            DAttendArgs args{};
            const int queries = fill(args, layer, item % heads, tile, piece, lse, dout, pointers);
            if (queries == 0) continue;
            float* dq[kMaxQueries];
            for (int i = 0; i < queries; ++i)
              dq[i] = dqueries + (pointers.q[i] - queries_.as<float>());
            args.dq = dq;
            args.scratch = scratch_.as<float>() + static_cast<size_t>(worker) * scratchFloats_;
            ops_.dAttendQuery(args);
          }
        }
      });
}

void AttentionBackward::gatherKeys(int layer, const float* lse, const float* dout, float* dk,
                                   float* dv) {
  const trace::Scope scope("d attend key", [&] { return keysCost(layer, dk != nullptr); });
  const int heads = config_.kvHeads;
  const auto width = static_cast<size_t>(heads * config_.headDim);
  const auto gather = [&](const KeyChunk& chunk, int head, int worker) {
    if (dk == nullptr && chunk.batchRow >= 0) return;
    float* ks = dk;
    float* vs = dv;
    auto first = static_cast<size_t>(chunk.batchRow);
    if (chunk.batchRow < 0) {
      ks = chunk.outside->dk.as<float>();
      vs = chunk.outside->dv.as<float>();
      first = static_cast<size_t>(layer * chunk.outside->rows + chunk.segmentRow);
    }
    const size_t at = first * width + static_cast<size_t>(head * config_.headDim);
    for (const Use& use : chunk.uses) {
      const AttentionPlan::Tile& tile = plan_->tiles[static_cast<size_t>(use.tile)];
      const AttentionPlan::Piece& piece = plan_->pieces[static_cast<size_t>(use.piece)];
      QueryPointers pointers;
      DAttendArgs args{};
      const int queries = fill(args, layer, head, tile, piece, lse, dout, pointers);
      int most = 0;
      for (int i = 0; i < queries; ++i) {
        pointers.first[i] = std::clamp(pointers.first[i] - use.row, 0, kChunkRows);
        pointers.visible[i] = std::clamp(pointers.visible[i] - use.row, 0, kChunkRows);
        most = std::max(most, pointers.visible[i] - pointers.first[i]);
      }
      if (most == 0) continue;
      args.blocks = piece.blocks + use.row / kBlockRows;
      args.dk = ks + at;
      args.dv = vs + at;
      args.ldk = static_cast<int>(width);
      args.scratch = scratch_.as<float>() + static_cast<size_t>(worker) * scratchFloats_;
      ops_.dAttendKey(args);
    }
  };
  threads_.forEach(static_cast<int>(chunks_.size()) * heads, 1,
                   [&](int begin, int end, int worker) {
                     for (int item = begin; item < end; ++item)
                       gather(chunks_[static_cast<size_t>(item / heads)], item % heads, worker);
                   });
}

// K and V that are read, queries, their outputs' gradients, and dq.
Cost AttentionBackward::queriesCost(int layer) const {
  const AttentionReads reads =
      attentionReads(*plan_, config_.layerSpecs[static_cast<size_t>(layer)].window);
  const double width = double(config_.heads) * config_.headDim;
  const double keys = double(pool_.shape().layerBytes()) / kBlockRows;
  const double flops = reads.pairs * config_.heads * dAttendQueryFlops(config_.headDim);
  return {plan_->rows,
          static_cast<double>(reads.keyRows) * keys + 2 * floatBytes(plan_->queryRows, width) +
              floatBytes(plan_->rows, width),
          flops, 0, fast_ ? flops : 0};
}

// K and V of live rows, those of the batch as well or not, their gradients read and written,
// queries and their outputs' gradients.
Cost AttentionBackward::keysCost(int layer, bool ofBatch) const {
  const int window = config_.layerSpecs[static_cast<size_t>(layer)].window;
  double pairs = 0, rows = 0;
  for (const KeyChunk& chunk : chunks_) {
    if (!ofBatch && chunk.batchRow >= 0) continue;
    rows += chunk.rows;
    for (const Use& use : chunk.uses) {
      pairs += pairsOf(plan_->tiles[static_cast<size_t>(use.tile)],
                       plan_->pieces[static_cast<size_t>(use.piece)], window, use.row, kChunkRows);
    }
  }
  const double width = double(config_.heads) * config_.headDim;
  const double keys = double(pool_.shape().layerBytes()) / kBlockRows;
  const double flops = pairs * config_.heads * dAttendKeyFlops(config_.headDim);
  return {static_cast<int64_t>(rows),
          rows * keys + 4 * floatBytes(rows, double(config_.kvHeads) * config_.headDim) +
              floatBytes(plan_->queryRows, width) + floatBytes(plan_->rows, width),
          flops, 0, fast_ ? flops : 0};
}

// A rotation's gradient is the rotation back; a query's copies add up.
void AttentionBackward::turnBack(int layer, float* dq, float* dk) {
  const trace::Scope scope("rope back", [&] {
    Cost cost = ropeCost(ropeArgs(layer, config_.heads), plan_->queryRows);
    cost += ropeCost(ropeArgs(layer, config_.kvHeads), plan_->rows);
    return cost;
  });
  const auto width = static_cast<size_t>(config_.heads * config_.headDim);
  std::memset(dq, 0, static_cast<size_t>(plan_->rows) * width * sizeof(float));
  float* dqueries = dqueries_.as<float>();
  for (const AttentionPlan::Rotation& rotation : plan_->rotations) {
    RopeArgs rope = ropeArgs(layer, config_.heads);
    float* rows = dqueries + static_cast<size_t>(rotation.queryRow) * width;
    rope.x = rope.out = rows;
    rope.positions = queryPositions_.data() + rotation.queryRow;
    threads_.forEach(rotation.count, 16, [&](int begin, int end, int) {
      ops_.rope(rope, begin, end);
      float* to = dq + static_cast<size_t>(rotation.batchRow) * width;
      for (size_t i = static_cast<size_t>(begin) * width; i < static_cast<size_t>(end) * width; ++i)
        to[i] += rows[i];
    });
  }
  RopeArgs keys = ropeArgs(layer, config_.kvHeads);
  keys.x = keys.out = dk;
  keys.positions = keyPositions_.data();
  threads_.forEach(plan_->rows, 16, [&](int begin, int end, int) { ops_.rope(keys, begin, end); });
}

}  // namespace baton
