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

// Tiles times kv heads whose states a worker merges before it asks for more: of a single row's, one
// worker does all.
constexpr int kMergesAtOnce = 8;

// Largest score of a state that has read no row.
constexpr float kNothing = -std::numeric_limits<float>::infinity();

}  // namespace

Attention::Attention(const ModelConfig& config, const Ops& ops, ThreadPool& threads,
                     const Pool& pool, const std::vector<RopeTable>& ropes, bool bf16)
    : config_(config),
      ops_(ops),
      threads_(threads),
      pool_(pool),
      ropes_(ropes),
      bf16_(bf16 && ops.attendBf16 != nullptr),
      group_(config.heads / config.kvHeads),
      tileRows_(std::clamp(kMaxQueries / group_, 1, kFullTileRows)) {
  const auto queries = static_cast<size_t>(kMaxQueries);
  stateFloats_ = (queries * (static_cast<size_t>(config.headDim) + 2) + 15) / 16 * 16;
  scratchFloats_ = 2 * stateFloats_ + queries * kPieceRows;
  if (bf16_) scratchFloats_ += attendPairsBytes(config.headDim) / sizeof(float);
  scratch_.ensure(scratchFloats_ * static_cast<size_t>(threads.workers()) * sizeof(float));
}

void Attention::plan(const Batch& batch) {
  plan_.make(batch, tileRows_);
  groups_.make(plan_, kMaxQueries / group_);
  queries_.ensure(static_cast<size_t>(plan_.queryRows) *
                  static_cast<size_t>(config_.heads * config_.headDim) * sizeof(float));
}

void Attention::run(int layer, const float* q, float* k, const float* v, float* out, float* lse) {
  rotateAndStore(layer, q, k, v);
  const trace::Scope scope("attend", [&] { return attendCost(layer); });
  const int whole = static_cast<int>(plan_.tiles.size()) * config_.kvHeads;
  const bool fewTiles = whole < 4 * threads_.workers();
  const bool spreads = threads_.workers() > 1 && fewTiles &&
                       plan_.tilePieceOffset.back() > static_cast<int>(plan_.tiles.size());
  if (spreads || groups_.worthwhile()) {
    runGroups(layer, {out, lse});
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
  const double flops = attendFlops(reads.pairs * config_.heads, config_.headDim);
  return {plan_.rows,
          static_cast<double>(reads.keyRows) * keys + floatBytes(plan_.queryRows, width) +
              floatBytes(plan_.rows, width),
          flops, 0, bf16_ ? flops : 0};
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

bool Attention::gather(int layer, int head, std::span<const Member> members, Queries& all) const {
  const size_t D = static_cast<size_t>(config_.headDim);
  const size_t width = static_cast<size_t>(config_.heads) * D;
  const int window = config_.layerSpecs[static_cast<size_t>(layer)].window;
  bool reads = false;
  for (const Member& member : members) {
    const Tile& tile = plan_.tiles[static_cast<size_t>(member.tile)];
    const Piece& piece = plan_.pieces[static_cast<size_t>(member.piece)];
    const auto& rotation = plan_.rotations[static_cast<size_t>(piece.rotation)];
    const float* query = queries_.as<float>() +
                         static_cast<size_t>(rotation.queryRow + tile.runRow) * width +
                         static_cast<size_t>(head * group_) * D;
    const int count = tile.rows * group_;
    if (AttentionPlan::range(tile, piece, window, group_, all.first + all.count,
                             all.visible + all.count)) {
      reads = true;
    } else {
      std::fill_n(all.first + all.count, count, 0);
      std::fill_n(all.visible + all.count, count, 0);
    }
    for (int i = 0; i < count; ++i) {
      all.q[all.count + i] =
          query + static_cast<size_t>(i / group_) * width + static_cast<size_t>(i % group_) * D;
    }
    all.count += count;
  }
  return reads;
}

void Attention::attend(int layer, int head, std::span<const Member> members, const State& state,
                       int worker, const Item* next) {
  const KvShape& shape = pool_.shape();
  Queries queries;
  if (!gather(layer, head, members, queries)) {
    std::fill_n(state.m, queries.count, kNothing);
    return;
  }
  float* scores =
      scratch_.as<float>() + static_cast<size_t>(worker) * scratchFloats_ + 2 * stateFloats_;
  const auto keys = [&](int of) {
    return pool_.keys(layer) + static_cast<size_t>(of) * shape.headBytes();
  };
  const size_t toValues = static_cast<size_t>(config_.kvHeads) * shape.headBytes();
  AttendArgs args{
      .q = queries.q,
      .Q = queries.count,
      .D = config_.headDim,
      .scale = config_.attentionScale,
      .kv = shape.type,
      .k = keys(head),
      .v = keys(head) + toValues,
      .blockStride = shape.blockBytes(),
      .blocks = plan_.pieces[static_cast<size_t>(members[0].piece)].blocks,
      .visible = queries.visible,
      .o = state.o,
      .m = state.m,
      .d = state.d,
      .scores = scores,
      .first = config_.layerSpecs[static_cast<size_t>(layer)].window == 0 ? nullptr : queries.first,
      .pairs = scores + size_t{kMaxQueries} * kPieceRows};
  if (next != nullptr) {
    args.next = {keys(next->head), keys(next->head) + toValues, next->piece->blocks,
                 (next->piece->rows + kBlockRows - 1) / kBlockRows};
  }
  (bf16_ ? ops_.attendBf16 : ops_.attend)(args);
}

Attention::State Attention::stateAt(float* memory, int queries) const {
  float* o = memory;
  float* m = o + static_cast<size_t>(queries) * static_cast<size_t>(config_.headDim);
  return {o, m, m + queries};
}

void Attention::clear(const State& state, int queries) const {
  std::fill_n(state.o, static_cast<size_t>(queries) * static_cast<size_t>(config_.headDim), 0.0f);
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
        const State total = stateAt(memory, kMaxQueries);
        const State part = stateAt(memory + stateFloats_, kMaxQueries);
        for (int item = begin; item < end; ++item) {
          const int head = item % heads;
          const Tile& tile = plan_.tiles[static_cast<size_t>(item / heads)];
          clear(total, tile.rows * group_);
          for (int p = tile.pieceBegin; p < tile.pieceEnd; ++p) {
            const Member member{item / heads, p, 0};
            const Item next{&plan_.pieces[static_cast<size_t>(p)] + 1, head};
            attend(layer, head, {&member, 1}, part, worker,
                   p + 1 < tile.pieceEnd ? &next : nullptr);
            merge(total, part, tile.rows * group_);
          }
          finish(tile, head, total, to);
        }
      });
}

Attention::Item Attention::itemOf(int item) const {
  const auto& group = groups_.groups[static_cast<size_t>(item / config_.kvHeads)];
  const Member& member = groups_.members[static_cast<size_t>(group.memberBegin)];
  return {&plan_.pieces[static_cast<size_t>(member.piece)], item % config_.kvHeads};
}

Attention::State Attention::partialOf(int group, int head) {
  const auto& of = groups_.groups[static_cast<size_t>(group)];
  const auto row = static_cast<size_t>(of.rowsBefore * config_.kvHeads + of.rows * head);
  const size_t floats = static_cast<size_t>(group_) * static_cast<size_t>(config_.headDim + 2);
  return stateAt(partials_.as<float>() + row * floats, of.rows * group_);
}

// The states of a tile's pieces, in the order of its view.
void Attention::mergeGroups(int tile, int head, const State& total, const Output& to) {
  const Tile& of = plan_.tiles[static_cast<size_t>(tile)];
  const int queries = of.rows * group_;
  const auto D = static_cast<size_t>(config_.headDim);
  clear(total, queries);
  const int pieces = plan_.tilePieceOffset[static_cast<size_t>(tile)];
  for (int p = 0; p < of.pieceEnd - of.pieceBegin; ++p) {
    const auto& place = groups_.places[static_cast<size_t>(pieces + p)];
    const State from = partialOf(place.group, head);
    const auto at = static_cast<size_t>(place.row * group_);
    merge(total, {from.o + at * D, from.m + at, from.d + at}, queries);
  }
  finish(of, head, total, to);
}

// Few tiles (decode), or tiles that read the same pieces (branches of a trunk): groups are spread
// over workers, their states kept, and those of a tile merged in the same order as above.
void Attention::runGroups(int layer, const Output& to) {
  const int heads = config_.kvHeads;
  partials_.ensure(static_cast<size_t>(groups_.rows * config_.heads) *
                   static_cast<size_t>(config_.headDim + 2) * sizeof(float));
  const int items = static_cast<int>(groups_.groups.size()) * heads;
  threads_.forEach(items, 1, [&](int begin, int end, int worker) {
    for (int item = begin; item < end; ++item) {
      const int after = item + 1;  // unless it is another worker's
      const Item next = itemOf(after < items ? after : item);
      const auto& group = groups_.groups[static_cast<size_t>(item / heads)];
      const std::span members(groups_.members.data() + group.memberBegin,
                              groups_.members.data() + group.memberEnd);
      attend(layer, item % heads, members, partialOf(item / heads, item % heads), worker,
             after < items ? &next : nullptr);
    }
  });
  const int tiles = static_cast<int>(plan_.tiles.size());
  threads_.forEach(tiles * heads, kMergesAtOnce, [&](int begin, int end, int worker) {
    const State total =
        stateAt(scratch_.as<float>() + static_cast<size_t>(worker) * scratchFloats_, kMaxQueries);
    for (int item = begin; item < end; ++item) mergeGroups(item / heads, item % heads, total, to);
  });
}

}  // namespace baton
