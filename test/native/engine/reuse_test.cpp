// SPDX-License-Identifier: Apache-2.0
// Rows that are found instead of computed: how many, why not more, and that nobody can tell from
// the logits. Every world runs on a poisoned pool, so that a block found too early or too late
// shows as NaN.

#include "check.h"
#include "engine/cache_world.h"

using namespace baton;
using namespace baton::test;

namespace {

FoundEvent only(const Told& told) {
  CHECK_EQ(told.found.size(), 1u);
  return told.found.empty() ? FoundEvent{} : told.found[0];
}

}  // namespace

TEST("reuse: the same segment is found whole, takes no block and gives the same bits") {
  for (const int rows : {5, 16, 53, 300}) {
    Cache cache;
    const Ptr first = cache.written(rows, 5);
    CHECK_EQ(only(cache.last).found, 0);
    CHECK(only(cache.last).reason == MissReason::kNeverSeen);
    const size_t before = cache.used();
    const Ptr again = cache.written(rows, 5);
    CHECK_EQ(only(cache.last).found, rows);
    CHECK(only(cache.last).reason == MissReason::kNone);
    CHECK_EQ(cache.last.done.stats.rowsComputed, 0);
    CHECK_EQ(cache.last.done.stats.rowsFound, rows);
    CHECK_EQ(cache.used(), before);
    CHECK_EQ(again->rows(), rows);
    CHECK(again->closed());
    CHECK_EQ(again->identity(rows), first->identity(rows));
    CHECK(cache.readBy(again, rows) == cache.readBy(first, rows));
  }
}

TEST("reuse: it is found after every handle on it is gone") {
  Cache cache;
  Ptr first = cache.written(100, 5);
  const std::vector<float> wanted = cache.readBy(first, 100);
  first.reset();
  CHECK_EQ(cache.used(), 0u);
  const Ptr again = cache.written(100, 5);
  CHECK_EQ(only(cache.last).found, 100);
  CHECK(cache.readBy(again, 100) == wanted);
}

TEST("reuse: whole blocks of a longer or shorter segment, and the rest as if computed in one go") {
  for (const auto& [known, rows] : {std::pair{300, 100}, {100, 300}, {256, 300}, {48, 50}}) {
    Cache cache, cold(0);
    const Ptr first = cache.written(known, 5);
    const Ptr second = cache.written(rows, 5);
    const int found = std::min(known, rows) / 16 * 16;
    CHECK_EQ(only(cache.last).found, found);
    CHECK_EQ(cache.last.done.stats.rowsComputed, rows - found);
    CHECK(cache.readBy(second, rows) == cold.readBy(cold.written(rows, 5), rows));
    CHECK(cache.readBy(first, known) == cold.readBy(cold.written(known, 5), known));
  }
}

TEST("reuse: logits of the last row are computed, with its block") {
  Cache cache, cold(0);
  const Ptr first = cache.written(64, 5);
  for (const int rows : {64, 63, 49, 48, 1}) {
    const auto last = [&](Cache& in) {
      return in.run(World::job({World::tokens(in.segment(), rows)}, LogitsWanted::kLast));
    };
    const Told warm = last(cache);
    const int found = (rows - 1) / 16 * 16;
    CHECK_EQ(only(warm).found, found);
    CHECK_EQ(warm.done.stats.rowsComputed, rows - found);
    CHECK(only(warm).reason == MissReason::kLogitsNeeded);
    CHECK(warm.logits == last(cold).logits);
  }
  const auto generated = [&](Cache& in) {
    return in.run(World::generation(World::tokens(in.segment(), 64), World::greedy(20))).tokens;
  };
  CHECK(generated(cache) == generated(cold));
}

TEST("reuse: a segment that may grow takes whole blocks only, and grows on blocks of its own") {
  Cache cache, cold(0);
  const Ptr first = cache.written(40, 5);
  const auto grown = [](Cache& in) {
    const Ptr open = in.segment();
    in.last = in.run(World::job({World::tokens(open, 40)}));
    in.run(World::job({World::tokens(open, 30, 300)}));
    open->close();
    return open;
  };
  const Ptr open = grown(cache);
  CHECK_EQ(only(cache.last).found, 32);
  CHECK(only(cache.last).reason == MissReason::kPartOfBlock);
  CHECK(cache.readBy(open, 70) == cold.readBy(grown(cold), 70));
  CHECK(cache.readBy(first, 40) == cold.readBy(cold.written(40, 5), 40));
}

TEST("reuse: later segments of one job are identified by the ones that they read") {
  Cache cache, cold(0);
  const auto write = [](Cache& in, int32_t second) {
    const Ptr a = in.segment(), b = in.segment(40, {{a, 40, 0}}),
              c = in.segment(60, {{a, 40, 0}, {b, 20, 0}});
    in.last = in.run(World::job({Cache::closing(World::tokens(a, 40)),
                                 Cache::closing(World::tokens(b, 20, second)),
                                 Cache::closing(World::tokens(c, 35, 9))}));
    std::vector<int> found;
    for (const FoundEvent& event : in.last.found) found.push_back(event.found);
    return std::pair(found, in.readBy(c, 35, 60));
  };
  const auto first = write(cache, 200);
  const auto same = write(cache, 200);
  CHECK(first.first == (std::vector<int>{0, 0, 0}));
  CHECK(same.first == (std::vector<int>{40, 20, 35}));
  CHECK_EQ(cache.last.done.stats.rowsComputed, 0);
  CHECK(same.second == first.second);
  const auto other = write(cache, 201);  // b differs, so c is another segment
  CHECK(other.first == (std::vector<int>{40, 0, 0}));
  CHECK(other.second == write(cold, 201).second);
  CHECK(cache.last.found[2].reason == MissReason::kDifferentFrame);
}

TEST("reuse: at another place only what reads nothing is the same, and is read there by a shift") {
  Cache cache, cold(0);
  const Ptr alone = cache.written(50, 5);
  cache.written(50, 5, 7);  // the same rows, seven positions on
  CHECK_EQ(only(cache.last).found, 0);
  CHECK(only(cache.last).reason == MissReason::kDifferentFrame);
  for (const int shift : {0, 100, 301}) {
    const Ptr again = cache.written(50, 5);
    CHECK_EQ(only(cache.last).found, 50);
    CHECK(cache.readBy(again, 50, shift) == cold.readBy(cold.written(50, 5), 50, shift));
  }
}

TEST("reuse: room is taken from what nobody holds, the oldest first; the miss says so") {
  Cache cache(4 << 20, smallPool());
  const int rows = kBlocks / 4 * 16;
  const Ptr held = cache.written(rows, 1);
  cache.written(rows, 2).reset();
  cache.written(rows, 3).reset();
  cache.written(rows, 2).reset();  // found: now younger than 3
  CHECK_EQ(only(cache.last).found, rows);
  Ptr big = cache.segment();
  CHECK_EQ(cache.run(World::job({World::tokens(big, 2 * rows, 7)})).failed, "");
  big.reset();
  cache.written(rows, 3);
  CHECK_EQ(only(cache.last).found, 0);
  CHECK(only(cache.last).reason == MissReason::kEvicted);
  cache.written(rows, 1);
  CHECK_EQ(only(cache.last).found, rows);  // held all the time
}

TEST("reuse: a job that fails gives back what it found") {
  Cache cache(4 << 20, smallPool());
  cache.written(64, 5).reset();
  const Ptr open = cache.segment();
  const Told told = cache.run(World::job({World::tokens(open, kBlocks * 16 + 1)}));
  CHECK_EQ(told.failed, "CACHE_BUDGET");
  CHECK_EQ(only(told).found, 64);
  CHECK_EQ(open->rows(), 0);
  CHECK_EQ(cache.used(), 0u);
  cache.run(World::job({World::tokens(open, 30, 400)}));  // other content now
  CHECK_EQ(open->rows(), 30);
  Cache cold(0);
  CHECK(cache.readBy(open, 30) == cold.readBy(cold.written(30, 400), 30));
}

TEST("reuse: without a budget nothing is found, and nothing kept") {
  Cache cache(0);
  cache.written(50, 5).reset();
  cache.written(50, 5).reset();
  CHECK_EQ(only(cache.last).found, 0);
  CHECK(only(cache.last).reason == MissReason::kIndexOff);
  CHECK_EQ(cache.engine.pool()->stats().blocksKept, 0u);
}

TEST("reuse: an append that closes its segment ends it") {
  Cache cache;
  const Ptr segment = cache.segment();
  const auto closing = [&] { return Cache::closing(World::tokens(segment, 20)); };
  CHECK_THROWS("OPTION_INVALID",
               cache.engine.submit(World::job({closing(), World::tokens(segment, 1)})));
  CHECK_THROWS("OPTION_INVALID",
               cache.engine.submit(World::generation(closing(), World::greedy(4))));
  cache.run(World::job({closing()}));
  CHECK(segment->closed());
  CHECK_THROWS("OPTION_INVALID", cache.engine.submit(World::job({World::tokens(segment, 1)})));
}

TEST("reuse: counters tell rows computed, found and read, and blocks that several hold") {
  Cache cache;
  const Ptr trunk = cache.written(64, 5);
  std::vector<Ptr> branches;
  for (int32_t i = 0; i < 3; ++i) {
    branches.push_back(cache.segment(64, {{trunk, 64, 0}}));
    cache.run(World::job({World::tokens(branches.back(), 10, 40 * i + 9)}));
  }
  const Ptr twin = cache.written(64, 5);
  CHECK_EQ(cache.engine.rowsComputed(), 64 + 3 * 10);
  CHECK_EQ(cache.engine.rowsReused(), 3 * 64 + 64);
  CHECK_EQ(cache.used(), 4u + 3u);
  const Pool::Census census = cache.engine.pool()->census();
  CHECK_EQ(census.blocksShared, 4u);
  CHECK_EQ(census.blocksOfKind[static_cast<size_t>(SegmentKind::kInput)], 7u);
  CHECK_EQ(census.blocksOfKind[static_cast<size_t>(SegmentKind::kOutput)], 0u);
}

TEST("reuse: an identity is told only when the rows can no longer be taken back") {
  Cache cache;
  const Ptr segment = cache.segment(), reader = cache.segment(10, {{segment, 10, 0}});
  cache.sink->hold();
  const uint64_t job = cache.engine.submit(World::job({World::tokens(segment, 200)}));
  cache.sink->wait(job, [](const Told& told) { return told.progress >= 64; });
  CHECK(segment->rows() > 0);
  CHECK(segment->identity(10).empty());
  CHECK(reader->identity(0).empty());
  cache.engine.cancel(job);
  cache.sink->letGo();
  CHECK_EQ(cache.sink->end(job).failed, "ABORTED");
  cache.run(World::job({World::tokens(segment, 10, 333)}));
  const Ptr same = cache.segment(), sameReader = cache.segment(10, {{same, 10, 0}});
  cache.run(World::job({World::tokens(same, 10, 333)}));
  CHECK_EQ(reader->identity(0), sameReader->identity(0));
  CHECK_EQ(reader->identity(0).size(), 64u);
}
