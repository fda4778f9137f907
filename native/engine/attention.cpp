// SPDX-License-Identifier: Apache-2.0
#include "engine/attention.h"

#include <algorithm>
#include <cstring>
#include <limits>

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

// ---- plan
// ------------------------------------------------------------------------------------------------------

void Attention::plan(const Batch& batch) {
  rotations_.clear();
  pieces_.clear();
  tiles_.clear();
  queryPositions_.clear();
  keyPositions_.clear();
  keyBlock_.clear();
  keySlot_.clear();
  queryRows_ = 0;
  rows_ = batch.rows;
  for (const Run& run : batch.runs) planRun(run);
  tilePieceOffset_.assign(1, 0);
  for (const Tile& tile : tiles_) {
    tilePieceOffset_.push_back(tilePieceOffset_.back() + tile.pieceEnd - tile.pieceBegin);
  }
  queries_.ensure(static_cast<size_t>(queryRows_) *
                  static_cast<size_t>(config_.heads * config_.headDim) * sizeof(float));
}

void Attention::planRun(const Run& run) {
  const size_t firstRotation = rotations_.size();
  const int pieceBegin = static_cast<int>(pieces_.size());
  for (const SegmentRead& read : *run.reads) {
    addPieces(read.segment->blocks(), read.rows, false, read.segment->start() + read.shift,
              rotationFor(run, firstRotation, read.shift));
  }
  const int ownPieces = static_cast<int>(pieces_.size());
  const int start = run.segment->start();
  addPieces(run.segment->blocks(), run.firstRow + run.count, true, start,
            rotationFor(run, firstRotation, 0));

  for (int row = 0; row < run.count; row += tileRows_) {
    const int rows = std::min(tileRows_, run.count - row);
    const int seen = run.firstRow + row + rows;  // own rows that the tile's last row reads
    const int pieceEnd = ownPieces + (seen + kPieceRows - 1) / kPieceRows;
    tiles_.push_back({run.batchRow + row, rows, row, run.firstRow + row, start + run.firstRow + row,
                      pieceBegin, pieceEnd});
  }
  for (int row = 0; row < run.count; ++row) {
    const int segmentRow = run.firstRow + row;
    keyPositions_.push_back(start + segmentRow);
    keyBlock_.push_back(run.segment->blocks()[segmentRow / kBlockRows]);
    keySlot_.push_back(segmentRow % kBlockRows);
  }
}

void Attention::addPieces(const int32_t* blocks, int rows, bool own, int position, int rotation) {
  for (int begin = 0; begin < rows; begin += kPieceRows) {
    pieces_.push_back({blocks + begin / kBlockRows, std::min(kPieceRows, rows - begin),
                       own ? begin : -1, position + begin, rotation});
  }
}

int Attention::rotationFor(const Run& run, size_t firstRotation, int shift) {
  for (size_t i = firstRotation; i < rotations_.size(); ++i) {
    if (rotations_[i].shift == shift) return static_cast<int>(i);
  }
  rotations_.push_back({run.batchRow, run.count, shift, queryRows_});
  queryRows_ += run.count;
  for (int row = 0; row < run.count; ++row) {
    queryPositions_.push_back(run.segment->start() + run.firstRow + row - shift);
  }
  return static_cast<int>(rotations_.size()) - 1;
}

// ---- run
// -------------------------------------------------------------------------------------------------------

void Attention::run(int layer, const float* q, float* k, const float* v, float* out) {
  rotateAndStore(layer, q, k, v);
  const int whole = static_cast<int>(tiles_.size()) * config_.kvHeads;
  const bool fewTiles = whole < 4 * threads_.workers();
  if (threads_.workers() > 1 && fewTiles &&
      tilePieceOffset_.back() > static_cast<int>(tiles_.size())) {
    runSplit(layer, out);
  } else {
    runWhole(layer, out);
  }
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
                          .block = keyBlock_.data(),
                          .slot = keySlot_.data()};
  RopeArgs keys = rope;
  keys.x = keys.out = k;
  keys.ldx = keys.ldo = kvWidth;
  keys.heads = config_.kvHeads;
  keys.positions = keyPositions_.data();
  threads_.forEach(rows_, 16, [&](int begin, int end, int) {
    ops_.rope(keys, begin, end);
    ops_.kvStore(store, begin, end);
  });
  for (const Rotation& rotation : rotations_) {
    RopeArgs queries = rope;
    queries.x = q + static_cast<size_t>(rotation.batchRow) * static_cast<size_t>(width);
    queries.out =
        queries_.as<float>() + static_cast<size_t>(rotation.queryRow) * static_cast<size_t>(width);
    queries.positions = queryPositions_.data() + rotation.queryRow;
    threads_.forEach(rotation.count, 16,
                     [&](int begin, int end, int) { ops_.rope(queries, begin, end); });
  }
}

void Attention::attendPiece(int layer, int head, const Tile& tile, const Piece& piece,
                            const State& state, int worker) {
  const size_t D = static_cast<size_t>(config_.headDim);
  const size_t width = static_cast<size_t>(config_.heads) * D;
  const KvShape& shape = pool_.shape();
  const float* query =
      queries_.as<float>() +
      static_cast<size_t>(rotations_[static_cast<size_t>(piece.rotation)].queryRow + tile.runRow) *
          width +
      static_cast<size_t>(head * group_) * D;
  const int window = config_.layerSpecs[static_cast<size_t>(layer)].window;
  // Row of the piece at which the window of the tile's first row begins; later rows' begin later.
  const int begin = tile.position - window + 1 - piece.position;
  if (window != 0 && begin >= piece.rows) {
    std::fill_n(state.m, tile.rows * group_, kNothing);
    return;
  }
  const float* q[kMaxQueries];
  int32_t first[kMaxQueries], visible[kMaxQueries];
  int queries = 0;
  for (int row = 0; row < tile.rows; ++row) {
    const int seen = piece.ownBegin < 0
                         ? piece.rows
                         : std::clamp(tile.segmentRow + row + 1 - piece.ownBegin, 0, piece.rows);
    for (int h = 0; h < group_; ++h, ++queries) {
      q[queries] = query + static_cast<size_t>(row) * width + static_cast<size_t>(h) * D;
      first[queries] = std::clamp(begin + row, 0, piece.rows);
      visible[queries] = seen;
    }
  }
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

void Attention::finish(const Tile& tile, int head, const State& state, float* out) const {
  const auto D = static_cast<size_t>(config_.headDim);
  const size_t width = static_cast<size_t>(config_.heads) * D;
  for (int i = 0; i < tile.rows * group_; ++i) {
    const float scale = 1.0f / state.d[i];  // a row reads at least itself, so d > 0
    const float* o = state.o + static_cast<size_t>(i) * D;
    float* to = out + static_cast<size_t>(tile.batchRow + i / group_) * width +
                static_cast<size_t>(head * group_ + i % group_) * D;
    for (size_t j = 0; j < D; ++j) to[j] = o[j] * scale;
  }
}

// Many tiles: a worker takes a tile and a kv head and goes through its pieces.
void Attention::runWhole(int layer, float* out) {
  const int heads = config_.kvHeads;
  threads_.forEach(static_cast<int>(tiles_.size()) * heads, 1, [&](int begin, int end, int worker) {
    float* memory = scratch_.as<float>() + static_cast<size_t>(worker) * scratchFloats_;
    const State total = stateAt(memory);
    const State part = stateAt(memory + stateFloats_);
    for (int item = begin; item < end; ++item) {
      const Tile& tile = tiles_[static_cast<size_t>(item / heads)];
      clear(total);
      for (int p = tile.pieceBegin; p < tile.pieceEnd; ++p) {
        attendPiece(layer, item % heads, tile, pieces_[static_cast<size_t>(p)], part, worker);
        merge(total, part, tile.rows * group_);
      }
      finish(tile, item % heads, total, out);
    }
  });
}

// Few tiles (decode): pieces are spread over workers, their states kept, and merged in the same
// order as above.
void Attention::runSplit(int layer, float* out) {
  const int heads = config_.kvHeads;
  const int pieces = tilePieceOffset_.back();
  partials_.ensure(static_cast<size_t>(pieces * heads) * stateFloats_ * sizeof(float));
  const auto partial = [&](int piece, int head) {
    return stateAt(partials_.as<float>() +
                   static_cast<size_t>(piece * heads + head) * stateFloats_);
  };
  threads_.forEach(pieces * heads, 1, [&](int begin, int end, int worker) {
    for (int item = begin; item < end; ++item) {
      const int piece = item / heads;
      const auto after = std::upper_bound(tilePieceOffset_.begin(), tilePieceOffset_.end(), piece);
      const auto t = static_cast<size_t>(after - tilePieceOffset_.begin() - 1);
      const int local = tiles_[t].pieceBegin + piece - tilePieceOffset_[t];
      attendPiece(layer, item % heads, tiles_[t], pieces_[static_cast<size_t>(local)],
                  partial(piece, item % heads), worker);
    }
  });
  const State total = stateAt(scratch_.as<float>());
  for (size_t t = 0; t < tiles_.size(); ++t) {
    for (int head = 0; head < heads; ++head) {
      clear(total);
      for (int p = tilePieceOffset_[t]; p < tilePieceOffset_[t + 1]; ++p) {
        merge(total, partial(p, head), tiles_[t].rows * group_);
      }
      finish(tiles_[t], head, total, out);
    }
  }
}

}  // namespace baton
