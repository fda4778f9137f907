// SPDX-License-Identifier: Apache-2.0
#include "engine/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/trace.h"
#include "engine/attention_reads.h"
#include "kernels/cost.h"

namespace baton {
namespace {

constexpr int kFullTileRows = 16;

// Largest score of a state that has read no row.
constexpr float kNothing = -std::numeric_limits<float>::infinity();

}  // namespace

Attention::Attention(const ModelConfig& config, const Ops& ops, ThreadPool& threads,
                     const Pool& pool, const std::vector<RopeTable>& ropes)
    : config_(config),
      ops_(ops),
      threads_(threads),
      pool_(pool),
      ropes_(ropes),
      group_(config.heads / config.kvHeads),
      tileRows_(std::clamp(kMaxQueries / group_, 1, kFullTileRows)) {
  const auto queries = static_cast<size_t>(tileRows_) * static_cast<size_t>(group_);
  stateFloats_ = (queries * (static_cast<size_t>(config.headDim) + 2) + 15) / 16 * 16;
  scratchFloats_ = 2 * stateFloats_ + queries * kPieceRows;
  scratch_.ensure(scratchFloats_ * static_cast<size_t>(threads.workers()) * sizeof(float));
}

void Attention::plan(const Batch& batch) {
  plan_.make(batch, tileRows_);
  queries_.ensure(static_cast<size_t>(plan_.queryRows) *
                  static_cast<size_t>(config_.heads * config_.headDim) * sizeof(float));
}

void Attention::run(int layer, const float* q, float* k, const float* v, float* out, float* lse) {
  rotateAndStore(layer, q, k, v);
  const trace::Scope scope("attend", [&] { return attendCost(layer); });
  const int whole = static_cast<int>(plan_.tiles.size()) * config_.kvHeads;
  const bool fewTiles = whole < 4 * threads_.workers();
  if (threads_.workers() > 1 && fewTiles &&
      plan_.tilePieceOffset.back() > static_cast<int>(plan_.tiles.size())) {
    runSplit(layer, {out, lse});
  } else {
    runWhole(layer, {out, lse});
  }
}

// Every row of K and V that is read once, queries and results.
Cost Attention::attendCost(int layer) const {
  const AttentionReads reads =
      attentionReads(plan_, config_.layerSpecs[static_cast<size_t>(layer)].window);
  const double width = double(config_.heads) * config_.headDim;
  const double keys = double(pool_.shape().layerBytes()) / kBlockRows;
  return {plan_.rows,
          static_cast<double>(reads.keyRows) * keys + floatBytes(plan_.queryRows, width) +
              floatBytes(plan_.rows, width),
          attendFlops(reads.pairs * config_.heads, config_.headDim), 0};
}

void Attention::rotateAndStore(int layer, const float* q, float* k, const float* v) {
  const LayerSpec& spec = config_.layerSpecs[static_cast<size_t>(layer)];
  const RopeTable& table = ropes_[static_cast<size_t>(spec.rope)];
  const int width = config_.heads * config_.headDim;
  const int kvWidth = config_.kvHeads * config_.headDim;
  RopeArgs rope{.x = nullptr,
                .ldx = width,
                .out = nullptr,
                .ldo = width,
                .heads = config_.heads,
                .D = config_.headDim,
                .cos = table.cos(),
                .sin = table.sin(),
                .positions = nullptr,
                .pairing = config_.ropePairing};
  const KvShape& shape = pool_.shape();
  const KvStoreArgs store{.k = k,
                          .ldk = kvWidth,
                          .v = v,
                          .ldv = kvWidth,
                          .G = config_.kvHeads,
                          .D = config_.headDim,
                          .kv = shape.type,
                          .kBase = pool_.keys(layer),
                          .vBase = pool_.values(layer),
                          .headStride = shape.headBytes(),
                          .blockStride = shape.blockBytes(),
                          .block = plan_.keyBlock.data(),
                          .slot = plan_.keySlot.data()};
  RopeArgs keys = rope;
  keys.x = keys.out = k;
  keys.ldx = keys.ldo = kvWidth;
  keys.heads = config_.kvHeads;
  keys.positions = plan_.keyPositions.data();
  storeRows(keys, store);
  for (const AttentionPlan::Rotation& rotation : plan_.rotations) {
    RopeArgs queries = rope;
    queries.x = q + static_cast<size_t>(rotation.batchRow) * static_cast<size_t>(width);
    queries.out =
        queries_.as<float>() + static_cast<size_t>(rotation.queryRow) * static_cast<size_t>(width);
    queries.positions = plan_.queryPositions.data() + rotation.queryRow;
    const trace::Scope scope("rope", [&] { return ropeCost(queries, rotation.count); });
    threads_.forEach(rotation.count, 16,
                     [&](int begin, int end, int) { ops_.rope(queries, begin, end); });
  }
}

void Attention::storeRows(const RopeArgs& keys, const KvStoreArgs& store) {
  const trace::Scope scope("rope and kv store", [&] {
    Cost cost = ropeCost(keys, plan_.rows);
    cost += kvStoreCost(store, plan_.rows);
    cost.rows = plan_.rows;
    return cost;
  });
  threads_.forEach(plan_.rows, 16, [&](int begin, int end, int) {
    ops_.rope(keys, begin, end);
    ops_.kvStore(store, begin, end);
  });
}

void Attention::attendPiece(int layer, int head, const Tile& tile, const Piece& piece,
                            const State& state, int worker) {
  const size_t D = static_cast<size_t>(config_.headDim);
  const size_t width = static_cast<size_t>(config_.heads) * D;
  const KvShape& shape = pool_.shape();
  const float* query =
      queries_.as<float>() +
      static_cast<size_t>(plan_.rotations[static_cast<size_t>(piece.rotation)].queryRow +
                          tile.runRow) *
          width +
      static_cast<size_t>(head * group_) * D;
  const int window = config_.layerSpecs[static_cast<size_t>(layer)].window;
  int32_t first[kMaxQueries], visible[kMaxQueries];
  const int queries = tile.rows * group_;
  if (!AttentionPlan::range(tile, piece, window, group_, first, visible)) {
    std::fill_n(state.m, queries, kNothing);
    return;
  }
  const float* q[kMaxQueries];
  for (int i = 0; i < queries; ++i)
    q[i] = query + static_cast<size_t>(i / group_) * width + static_cast<size_t>(i % group_) * D;
  const size_t headOffset = static_cast<size_t>(head) * shape.headBytes();
  ops_.attend({.q = q,
               .Q = queries,
               .D = config_.headDim,
               .scale = config_.attentionScale,
               .kv = shape.type,
               .k = pool_.keys(layer) + headOffset,
               .v = pool_.values(layer) + headOffset,
               .blockStride = shape.blockBytes(),
               .blocks = piece.blocks,
               .visible = visible,
               .o = state.o,
               .m = state.m,
               .d = state.d,
               .scores = scratch_.as<float>() + static_cast<size_t>(worker) * scratchFloats_ +
                         2 * stateFloats_,
               .first = window == 0 ? nullptr : first});
}

Attention::State Attention::stateAt(float* memory) const {
  const auto queries = static_cast<size_t>(tileRows_ * group_);
  float* o = memory;
  float* m = o + queries * static_cast<size_t>(config_.headDim);
  return {o, m, m + queries};
}

void Attention::clear(const State& state) const {
  const auto queries = static_cast<size_t>(tileRows_ * group_);
  std::fill_n(state.o, queries * static_cast<size_t>(config_.headDim), 0.0f);
  std::fill_n(state.m, queries, kNothing);
  std::fill_n(state.d, queries, 0.0f);
}

void Attention::merge(const State& into, const State& from, int queries) const {
  const auto D = static_cast<size_t>(config_.headDim);
  for (int i = 0; i < queries; ++i) {
    // Left out, not merged: whether a piece is visited at all depends on the rows beside this one.
    if (from.m[i] == kNothing) continue;
    const size_t at = static_cast<size_t>(i) * D;
    ops_.merge(
        {into.o + at, into.m + i, into.d + i, from.o + at, from.m[i], from.d[i], config_.headDim});
  }
}

void Attention::finish(const Tile& tile, int head, const State& state, const Output& to) const {
  const auto D = static_cast<size_t>(config_.headDim);
  const size_t width = static_cast<size_t>(config_.heads) * D;
  for (int i = 0; i < tile.rows * group_; ++i) {
    const float scale = 1.0f / state.d[i];  // a row reads at least itself, so d > 0
    const float* o = state.o + static_cast<size_t>(i) * D;
    const auto row = static_cast<size_t>(tile.batchRow + i / group_);
    const auto h = static_cast<size_t>(head * group_ + i % group_);
    float* out = to.out + row * width + h * D;
    if (to.lse != nullptr)
      to.lse[row * static_cast<size_t>(config_.heads) + h] = state.m[i] + std::log(state.d[i]);
    for (size_t j = 0; j < D; ++j) out[j] = o[j] * scale;
  }
}

// Many tiles: a worker takes a tile and a kv head and goes through its pieces.
void Attention::runWhole(int layer, const Output& to) {
  const int heads = config_.kvHeads;
  threads_.forEach(
      static_cast<int>(plan_.tiles.size()) * heads, 1, [&](int begin, int end, int worker) {
        float* memory = scratch_.as<float>() + static_cast<size_t>(worker) * scratchFloats_;
        const State total = stateAt(memory);
        const State part = stateAt(memory + stateFloats_);
        for (int item = begin; item < end; ++item) {
          const Tile& tile = plan_.tiles[static_cast<size_t>(item / heads)];
          clear(total);
          for (int p = tile.pieceBegin; p < tile.pieceEnd; ++p) {
            attendPiece(layer, item % heads, tile, plan_.pieces[static_cast<size_t>(p)], part,
                        worker);
            merge(total, part, tile.rows * group_);
          }
          finish(tile, item % heads, total, to);
        }
      });
}

// Few tiles (decode): pieces are spread over workers, their states kept, and merged in the same
// order as above.
void Attention::runSplit(int layer, const Output& to) {
  const int heads = config_.kvHeads;
  const int pieces = plan_.tilePieceOffset.back();
  partials_.ensure(static_cast<size_t>(pieces * heads) * stateFloats_ * sizeof(float));
  const auto partial = [&](int piece, int head) {
    return stateAt(partials_.as<float>() +
                   static_cast<size_t>(piece * heads + head) * stateFloats_);
  };
  threads_.forEach(pieces * heads, 1, [&](int begin, int end, int worker) {
    for (int item = begin; item < end; ++item) {
      const int piece = item / heads;
      const auto after =
          std::upper_bound(plan_.tilePieceOffset.begin(), plan_.tilePieceOffset.end(), piece);
      const auto t = static_cast<size_t>(after - plan_.tilePieceOffset.begin() - 1);
      const int local = plan_.tiles[t].pieceBegin + piece - plan_.tilePieceOffset[t];
      attendPiece(layer, item % heads, plan_.tiles[t], plan_.pieces[static_cast<size_t>(local)],
                  partial(piece, item % heads), worker);
    }
  });
  const State total = stateAt(scratch_.as<float>());
  for (size_t t = 0; t < plan_.tiles.size(); ++t) {
    for (int head = 0; head < heads; ++head) {
      clear(total);
      for (int p = plan_.tilePieceOffset[t]; p < plan_.tilePieceOffset[t + 1]; ++p) {
        merge(total, partial(p, head), plan_.tiles[t].rows * group_);
      }
      finish(plan_.tiles[t], head, total, to);
    }
  }
}

}  // namespace baton
