// SPDX-License-Identifier: Apache-2.0
// Segments: what an identity depends on and what it does not; truncation; what a closed segment
// lets go of.
#include "cache/segment.h"

#include <numeric>

#include "base/error.h"
#include "check.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr KvShape kShape{.layers = 1, .kvHeads = 1, .headDim = 16, .type = KvType::kF16};
using Ptr = std::shared_ptr<Segment>;

struct World {
  std::shared_ptr<Pool> pool = std::make_shared<Pool>(kShape, 64 * kShape.blockBytes());

  Ptr make(SegmentSpec spec, const std::string& scope = "model/f16") const {
    return std::make_shared<Segment>(pool, std::move(spec), scope);
  }
  Ptr input(int start = 0) const { return make({SegmentKind::kInput, start, {}}); }
};

void write(Segment& segment, const std::vector<int32_t>& tokens, size_t piece = 1 << 20) {
  for (size_t at = 0; at < tokens.size(); at += piece) {
    const int count = static_cast<int>(std::min(piece, tokens.size() - at));
    segment.reserve(segment.rows() + count);
    segment.commitTokens(tokens.data() + at, count);
  }
}

std::vector<int32_t> counting(int count) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), 100);
  return tokens;
}

std::string identityOf(const Ptr& segment) {
  return segment->identity(segment->rows());
}

}  // namespace

TEST("segment: equal content has equal identity, whatever the pieces") {
  const World world;
  const Ptr whole = world.input();
  write(*whole, counting(53));
  CHECK_EQ(identityOf(whole).size(), 64u);
  for (size_t piece = 1; piece <= 53; ++piece) {
    const Ptr other = world.input();
    write(*other, counting(53), piece);
    if (piece % 3 == 0) identityOf(other);  // asked in between: nothing may change
    CHECK_EQ(identityOf(other), identityOf(whole));
  }
}

TEST("segment: identity of a prefix is that of the shorter segment") {
  const World world;
  const Ptr whole = world.input();
  write(*whole, counting(50));
  for (int rows = 0; rows <= 50; ++rows) {
    const Ptr shorter = world.input();
    write(*shorter, counting(rows));
    CHECK_EQ(whole->identity(rows), identityOf(shorter));
    if (rows > 0) CHECK(whole->identity(rows) != whole->identity(rows - 1));
  }
  CHECK(whole->identity(51).empty());
}

TEST("segment: identity differs by token, start, kind, model and KV format") {
  const World world;
  const auto identity = [&](SegmentSpec spec, std::vector<int32_t> tokens, const char* scope) {
    const Ptr segment = world.make(std::move(spec), scope);
    write(*segment, tokens);
    return identityOf(segment);
  };
  const std::string base = identity({SegmentKind::kInput, 0, {}}, counting(20), "model/f16");
  CHECK_EQ(identity({SegmentKind::kInput, 0, {}}, counting(20), "model/f16"), base);
  for (size_t row : {size_t{0}, size_t{15}, size_t{16}, size_t{19}}) {
    std::vector<int32_t> tokens = counting(20);
    ++tokens[row];
    CHECK(identity({SegmentKind::kInput, 0, {}}, tokens, "model/f16") != base);
  }
  CHECK(identity({SegmentKind::kInput, 1, {}}, counting(20), "model/f16") != base);
  CHECK(identity({SegmentKind::kOutput, 0, {}}, counting(20), "model/f16") != base);
  CHECK(identity({SegmentKind::kInput, 0, {}}, counting(20), "model/f32") != base);
  CHECK(identity({SegmentKind::kInput, 0, {}}, counting(20), "other/f16") != base);
}

TEST("segment: identity differs by what is read, how much of it, its shift and its order") {
  const World world;
  const Ptr a = world.input(), b = world.input(), twin = world.input();
  write(*a, counting(20));
  write(*twin, counting(20), 7);
  write(*b, {1, 2, 3});
  const auto reading = [&](std::vector<SegmentRead> reads) {
    const Ptr segment = world.make({SegmentKind::kOutput, 23, std::move(reads)});
    write(*segment, {5, 6});
    return identityOf(segment);
  };
  const std::string base = reading({{a, 20, 0}, {b, 3, 20}});
  CHECK_EQ(reading({{twin, 20, 0}, {b, 3, 20}}), base);  // other segment, same content
  CHECK(reading({{b, 3, 20}, {a, 20, 0}}) != base);
  CHECK(reading({{a, 19, 0}, {b, 3, 20}}) != base);
  CHECK(reading({{a, 20, 1}, {b, 3, 20}}) != base);
  CHECK(reading({{a, 20, 0}}) != base);
  CHECK(reading({}) != base);
}

TEST("segment: soft rows count by their bytes, and apart from tokens") {
  const World world;
  const std::vector<float> rows{1, 2, 3, 4, 5, 6};
  const auto identity = [&](const std::vector<float>& content, int piece) {
    const Ptr segment = world.make({SegmentKind::kPrompt, -3, {}});
    for (int row = 0; row < 3; row += piece) {
      const int count = std::min(piece, 3 - row);
      segment->reserve(row + count);
      segment->commitRows(content.data() + row * 2, count, 2);
    }
    return identityOf(segment);
  };
  CHECK_EQ(identity(rows, 1), identity(rows, 3));
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<float> other = rows;
    other[i] += 0.5f;
    CHECK(identity(other, 3) != identity(rows, 3));
  }
  const Ptr mixed = world.input(), swapped = world.input();
  mixed->reserve(2);
  mixed->commitTokens(std::vector<int32_t>{9}.data(), 1);
  mixed->commitRows(rows.data(), 1, 2);
  swapped->reserve(2);
  swapped->commitRows(rows.data(), 1, 2);
  swapped->commitTokens(std::vector<int32_t>{9}.data(), 1);
  CHECK(identityOf(mixed) != identityOf(swapped));
}

TEST("segment: no identity while something that it reads is not written") {
  const World world;
  const Ptr read = world.input();
  const Ptr reader = world.make({SegmentKind::kOutput, 4, {{read, 4, 0}}});
  CHECK(identityOf(reader).empty());
  write(*read, counting(3));
  CHECK(identityOf(reader).empty());
  write(*read, {7});
  CHECK_EQ(identityOf(reader).size(), 64u);
  const std::string sealed = identityOf(reader);
  write(*read, {8, 9});  // more rows of it are not what is read
  CHECK_EQ(identityOf(reader), sealed);
}

TEST("segment: truncate drops rows and whole blocks, and gives the shorter segment's identity") {
  const World world;
  const Ptr segment = world.input();
  write(*segment, counting(50));
  identityOf(segment);
  CHECK_EQ(segment->blockCount(), 4u);
  segment->truncate(60);
  CHECK_EQ(segment->rows(), 50);
  for (const auto& [rows, blocks] : {std::pair{33, 3u}, {32, 2u}, {17, 2u}, {1, 1u}, {0, 0u}}) {
    segment->truncate(rows);
    CHECK_EQ(segment->rows(), rows);
    CHECK_EQ(segment->blockCount(), blocks);
    CHECK_EQ(world.pool->stats().blocksUsed, blocks);
    const Ptr shorter =
        std::make_shared<Segment>(world.pool, SegmentSpec{SegmentKind::kInput, 0, {}}, "model/f16");
    shorter->commitTokens(counting(rows).data(), rows);
    CHECK_EQ(identityOf(segment), identityOf(shorter));
  }
  write(*segment, counting(20));
  const Ptr again = world.input();
  write(*again, counting(20));
  CHECK_EQ(identityOf(segment), identityOf(again));
}

TEST("segment: reserve takes blocks once, and a refusal changes nothing") {
  const World world;
  const Ptr segment = world.input();
  segment->reserve(16);
  CHECK_EQ(segment->blockCount(), 1u);
  segment->reserve(10);
  CHECK_EQ(segment->blockCount(), 1u);
  segment->reserve(17);
  CHECK_EQ(segment->blockCount(), 2u);
  CHECK_THROWS("CACHE_BUDGET", segment->reserve(65 * 16));
  CHECK_EQ(segment->blockCount(), 2u);
  CHECK_EQ(world.pool->stats().blocksUsed, 2u);
}

TEST("segment: close keeps the identity and drops what was read") {
  const World world;
  Ptr read = world.input();
  write(*read, counting(20));
  const std::weak_ptr<Segment> watched = read;
  Ptr reader = world.make({SegmentKind::kOutput, 20, {{read, 20, 0}}});
  write(*reader, {1, 2});
  read.reset();
  CHECK(!watched.expired());
  CHECK_EQ(world.pool->stats().segments, 2u);
  CHECK_EQ(world.pool->stats().blocksUsed, 3u);
  const std::string identity = identityOf(reader);
  CHECK(reader->beginAppend());
  CHECK(!reader->beginAppend());
  reader->endAppend();
  reader->close();
  reader->close();
  CHECK(reader->closed());
  CHECK(!reader->beginAppend());
  CHECK(watched.expired());
  CHECK(reader->reads().empty());
  CHECK_EQ(identityOf(reader), identity);
  CHECK_EQ(world.pool->stats().blocksUsed, 1u);
  reader.reset();
  CHECK_EQ(world.pool->stats().blocksUsed, 0u);
  CHECK_EQ(world.pool->stats().segments, 0u);
}

TEST("segment: the depth of open reads is counted, and closing ends it") {
  const World world;
  const Ptr a = world.input();
  const Ptr b = world.make({SegmentKind::kOutput, 0, {{a, 0, 0}}});
  const Ptr c = world.make({SegmentKind::kOutput, 0, {{a, 0, 0}, {b, 0, 0}}});
  CHECK_EQ(a->openDepth(), 1);
  CHECK_EQ(b->openDepth(), 2);
  CHECK_EQ(c->openDepth(), 3);
  b->close();
  CHECK_EQ(world.make({SegmentKind::kOutput, 0, {{b, 0, 0}}})->openDepth(), 1);
}
