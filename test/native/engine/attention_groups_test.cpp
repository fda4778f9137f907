// SPDX-License-Identifier: Apache-2.0
// Branches on one trunk: what is attended together is what reads the same rows, every reading is in
// one group, and a branch's attention has the same bits in any company (in bfloat16, too).
#include "engine/attention_groups.h"

#include <deque>
#include <random>
#include <set>

#include "base/half.h"
#include "check.h"
#include "device/device.h"
#include "engine/attention.h"
#include "engine/world.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr int kBranches = 11;

// A trunk of some hundred rows of random K and V, and branches of few rows that read it, some of
// them only its beginning or shifted.
struct Branches {
  explicit Branches(const ModelConfig& of, int rowsOfBranch = 1)
      : config(of),
        shape{config.layers, config.kvHeads, config.headDim, KvType::kF16},
        pool(std::make_shared<Pool>(shape, 400 * shape.blockBytes())) {
    trunk = std::make_shared<Segment>(pool, SegmentSpec{SegmentKind::kInput, 0, {}}, "trunk");
    trunk->reserve(kTrunkRows);
    std::mt19937 random(5);
    for (const int32_t block : trunk->blockNumbers()) {
      auto* halves = reinterpret_cast<uint16_t*>(pool->keys(0) +
                                                 static_cast<size_t>(block) * shape.blockBytes());
      for (size_t i = 0; i < shape.blockBytes() / 2; ++i)
        halves[i] = halfOfFloat(static_cast<float>(random() % 2001) * 1e-3f - 1);
    }
    for (int b = 0; b < kBranches; ++b) {
      const int rows = b % 4 == 3 ? 300 : kTrunkRows;
      reads.push_back({{trunk, rows, b % 3 == 2 ? -7 : 0}});
      segments.emplace_back(pool, SegmentSpec{SegmentKind::kOutput, kTrunkRows, {}}, "branch");
      segments.back().reserve(rowsOfBranch);
      const auto width = static_cast<size_t>(rowsOfBranch * config.headDim);
      std::vector<float> numbers(width * static_cast<size_t>(config.heads + 2 * config.kvHeads));
      for (float& x : numbers) x = static_cast<float>(random() % 2001) * 1e-3f - 1;
      qkv.push_back(std::move(numbers));
      runs.push_back({&segments.back(), &reads.back(), 0, rowsOfBranch, 0, nullptr, nullptr});
    }
  }

  static constexpr int kTrunkRows = 600;

  const ModelConfig& config;
  KvShape shape;
  std::shared_ptr<Pool> pool;
  std::shared_ptr<Segment> trunk;
  std::deque<Segment> segments;
  std::deque<std::vector<SegmentRead>> reads;
  std::vector<std::vector<float>> qkv;
  std::vector<Run> runs;
};

Batch batchOf(const Branches& branches, size_t from, size_t count) {
  Batch batch;
  for (size_t b = from; b < from + count; ++b) batch.add(branches.runs[b]);
  return batch;
}

std::vector<float> attended(Branches& branches, size_t from, size_t count, bool bf16,
                            const std::vector<RopeTable>& ropes) {
  const ModelConfig& c = branches.config;
  ThreadPool threads(2);
  Attention attention(c, cpuOps(), threads, *branches.pool, ropes, bf16);
  attention.plan(batchOf(branches, from, count));
  const auto rows = static_cast<size_t>(branches.runs[0].count);
  const size_t width = rows * static_cast<size_t>(c.headDim);
  const size_t heads = static_cast<size_t>(c.heads), kvHeads = static_cast<size_t>(c.kvHeads);
  std::vector<float> q, k, v;
  for (size_t b = from; b < from + count; ++b) {
    const float* of = branches.qkv[b].data();
    q.insert(q.end(), of, of + width * heads);
    k.insert(k.end(), of + width * heads, of + width * (heads + kvHeads));
    v.insert(v.end(), of + width * (heads + kvHeads), of + width * (heads + 2 * kvHeads));
  }
  std::vector<float> out(q.size());
  attention.run(0, q.data(), k.data(), v.data(), out.data());
  return out;
}

void checkGroups(const Branches& branches, int mostRows) {
  AttentionPlan plan;
  plan.make(batchOf(branches, 0, branches.runs.size()), 16);
  AttentionGroups groups;
  groups.make(plan, mostRows);
  std::set<std::pair<int, int>> seen;
  int rows = 0;
  for (size_t g = 0; g < groups.groups.size(); ++g) {
    const auto& group = groups.groups[g];
    CHECK_EQ(group.rowsBefore, rows);
    int inGroup = 0;
    for (int m = group.memberBegin; m < group.memberEnd; ++m) {
      const auto& member = groups.members[static_cast<size_t>(m)];
      const auto& first = groups.members[static_cast<size_t>(group.memberBegin)];
      const auto& tile = plan.tiles[static_cast<size_t>(member.tile)];
      const auto& piece = plan.pieces[static_cast<size_t>(member.piece)];
      const auto& same = plan.pieces[static_cast<size_t>(first.piece)];
      CHECK(piece.segment == same.segment && piece.segmentRow == same.segmentRow);
      CHECK(piece.rows == same.rows && (!piece.own || group.memberEnd - group.memberBegin == 1));
      CHECK_EQ(member.row, inGroup);
      inGroup += tile.rows;
      CHECK(seen.insert({member.tile, member.piece}).second);
      const auto at = static_cast<size_t>(plan.tilePieceOffset[static_cast<size_t>(member.tile)] +
                                          member.piece - tile.pieceBegin);
      CHECK_EQ(groups.places[at].group, static_cast<int>(g));
      CHECK_EQ(groups.places[at].row, member.row);
    }
    CHECK_EQ(group.rows, inGroup);
    CHECK(inGroup <= mostRows || group.memberEnd - group.memberBegin == 1);
    rows += inGroup;
  }
  CHECK_EQ(groups.rows, rows);
  CHECK_EQ(static_cast<int>(seen.size()), plan.tilePieceOffset.back());
}

}  // namespace

TEST("attention groups: every reading once, with readings of the same rows and no others") {
  const auto model = tinyModel();
  for (const int rows : {1, 3, 16, 40}) {
    const Branches branches(model->config, rows);
    for (const int most : {1, 4, 21, 64}) checkGroups(branches, most);
  }
}

TEST("attention groups: what branches share is found, and what they do not is left alone") {
  const auto model = tinyModel();
  AttentionPlan plan;
  AttentionGroups groups;
  const Branches branches(model->config);
  plan.make(batchOf(branches, 0, branches.runs.size()), 16);
  groups.make(plan, 64);
  // Of 600 rows three pieces, of which the second has two lengths; and every branch's own.
  CHECK_EQ(groups.groups.size(), size_t{4 + kBranches});
  CHECK(groups.worthwhile());
  plan.make(batchOf(branches, 0, 1), 16);
  groups.make(plan, 64);
  CHECK(!groups.worthwhile());
}

TEST("attention groups: a branch has the same bits alone and beside others") {
  const auto model = tinyModel();
  std::vector<RopeTable> ropes;
  for (const RopeSpec& spec : model->config.ropes) {
    ropes.emplace_back(model->config.headDim, spec);
    ropes.back().grow(2 * Branches::kTrunkRows);
  }
  for (const int rows : {1, 3, 4, 20}) {
    Branches branches(model->config, rows);
    const std::vector<float> all = attended(branches, 0, kBranches, false, ropes);
    const std::vector<float> rounded = attended(branches, 0, kBranches, true, ropes);
    const size_t each = all.size() / kBranches;
    for (size_t b = 0; b < kBranches; ++b) {
      const auto at = static_cast<int64_t>(b * each);
      const std::vector<float> alone = attended(branches, b, 1, false, ropes);
      CHECK(std::equal(alone.begin(), alone.end(), all.begin() + at));
      const std::vector<float> roundedAlone = attended(branches, b, 1, true, ropes);
      CHECK(std::equal(roundedAlone.begin(), roundedAlone.end(), rounded.begin() + at));
    }
    for (size_t i = 0; i < all.size(); ++i) CHECK_NEAR(rounded[i], all[i], 0.02);
  }
}
