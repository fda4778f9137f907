// SPDX-License-Identifier: Apache-2.0
// Jobs that begin with the same rows at the same moment: one computes them, the others wait and
// find them. Counted in rows, which are the same however the threads fall.
#include "engine/underway.h"
#include "check.h"
#include "engine/cache_world.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr int kDocument = 200, kQuestion = 20, kTokens = 6;

// A document alone, a question of its own behind it, and what is generated from there.
Job asking(Cache& in, int question, int32_t document = 5) {
  const Ptr text = in.segment();
  const Ptr ask = in.segment(kDocument, {{text, kDocument, 0}});
  const Ptr output = in.segment(kDocument + kQuestion, {{text, kDocument, 0}, {ask, kQuestion, 0}});
  Job job = World::generation(World::tokens(output, 1, 9), World::greedy(kTokens));
  job.appends.insert(job.appends.begin(),
                     {Cache::closing(World::tokens(text, kDocument, document)),
                      Cache::closing(World::tokens(ask, kQuestion, 100 + question))});
  return job;
}

// Rows of a job that asks, besides those of its document: every token but the last becomes a row.
constexpr int kOwnRows = kQuestion + 1 + kTokens - 1;

Job one(Cache& in, int rows, int32_t first) {
  return World::job({Cache::closing(World::tokens(in.segment(), rows, first))});
}

}  // namespace

TEST("underway: sixteen jobs at once compute the document that all begin with once") {
  Cache cache, cold(0);
  std::vector<uint64_t> jobs;
  for (int i = 0; i < 16; ++i) jobs.push_back(cache.engine.submit(asking(cache, i)));
  int64_t computed = 0, found = 0;
  for (int i = 0; i < 16; ++i) {
    const Told told = cache.sink->end(jobs[static_cast<size_t>(i)]);
    CHECK_EQ(told.failed, "");
    computed += told.done.stats.rowsComputed;
    found += told.done.stats.rowsFound;
    if (i % 5 == 0) CHECK(told.tokens == cold.run(asking(cold, i)).tokens);
  }
  CHECK_EQ(computed, kDocument + 16 * kOwnRows);
  CHECK_EQ(found, 15 * kDocument);
  CHECK_EQ(cache.engine.rowsComputed(), computed);
}

TEST("underway: the same documents in different orders, longer and shorter ones, each once") {
  Cache cache;
  const auto both = [&](int32_t a, int32_t b) {
    return World::job({Cache::closing(World::tokens(cache.segment(), 96, a)),
                       Cache::closing(World::tokens(cache.segment(), 96, b))});
  };
  std::vector<uint64_t> jobs;
  for (int i = 0; i < 6; ++i) {
    jobs.push_back(cache.engine.submit(i % 2 == 0 ? both(5, 6) : both(6, 5)));
    jobs.push_back(cache.engine.submit(one(cache, 96 + 16 * (i + 1), 5)));
    jobs.push_back(cache.engine.submit(one(cache, 48, 6)));
  }
  for (const uint64_t job : jobs) CHECK_EQ(cache.sink->end(job).failed, "");
  CHECK_EQ(cache.engine.rowsComputed(), (96 + 6 * 16) + 96);
}

TEST("underway: who waits computes what is left when the other one is aborted") {
  Cache cache, cold(0);
  cache.sink->hold();
  const uint64_t first = cache.engine.submit(asking(cache, 1));
  const int64_t before = cache.sink->wait(first, [](const Told& told) { return told.progress > 0; })
                             .progress;  // a first chunk, of maxBatchRows
  CHECK_EQ(before, 64);
  const uint64_t second = cache.engine.submit(asking(cache, 2));
  cache.engine.cancel(first);
  cache.sink->letGo();
  CHECK_EQ(cache.sink->end(first).failed, "ABORTED");
  const Told told = cache.sink->end(second);
  CHECK_EQ(told.failed, "");
  CHECK_EQ(told.done.stats.rowsFound, before);  // what was computed is not lost
  CHECK_EQ(told.done.stats.rowsComputed, kDocument - before + kOwnRows);
  CHECK(told.tokens == cold.run(asking(cold, 2)).tokens);
}

TEST("underway: one that waits is aborted without a trace, and the others go on") {
  Cache cache;
  cache.sink->hold();
  const uint64_t first = cache.engine.submit(asking(cache, 1));
  cache.sink->wait(first, [](const Told& told) { return told.progress > 0; });
  const uint64_t second = cache.engine.submit(asking(cache, 2));
  const uint64_t third = cache.engine.submit(asking(cache, 3));
  cache.engine.cancel(second);
  cache.sink->letGo();
  CHECK_EQ(cache.sink->end(second).failed, "ABORTED");
  for (const uint64_t job : {first, third}) CHECK_EQ(cache.sink->end(job).failed, "");
  CHECK_EQ(cache.engine.rowsComputed(), kDocument + 2 * kOwnRows);
  CHECK_EQ(cache.used(), 0u);
}

TEST("underway: nobody stands behind a long prefill for a few rows") {
  Cache cache;
  cache.sink->hold();
  const uint64_t first =
      cache.engine.submit(World::job({Cache::closing(World::tokens(cache.segment(), 400, 7)),
                                      Cache::closing(World::tokens(cache.segment(), 16, 5))}));
  cache.sink->wait(first, [](const Told& told) { return told.progress > 0; });
  const uint64_t second = cache.engine.submit(one(cache, 16, 5));
  cache.sink->letGo();
  CHECK_EQ(cache.sink->end(second).done.stats.rowsComputed, 16);
  CHECK_EQ(cache.sink->end(first).failed, "");
}

TEST("underway: what does not fit twice is shared, and one that waits takes no room") {
  Cache cache(4 << 20, smallPool());  // 16 blocks: ten of a document and one for each of six
  std::vector<Ptr> kept;
  std::vector<uint64_t> jobs;
  for (int i = 0; i < 6; ++i) {
    const Ptr text = cache.segment();
    const Ptr ask = cache.segment(160, {{text, 160, 0}});
    kept.insert(kept.end(), {text, ask});
    jobs.push_back(
        cache.engine.submit(World::job({Cache::closing(World::tokens(text, 160)),
                                        Cache::closing(World::tokens(ask, 16, 30 + 7 * i))})));
  }
  for (const uint64_t job : jobs) CHECK_EQ(cache.sink->end(job).failed, "");
  CHECK_EQ(cache.used(), 16u);
  CHECK_EQ(cache.engine.rowsComputed(), 160 + 6 * 16);
}

TEST("underway: without an index budget everybody computes for himself") {
  Cache cache(0);
  std::vector<uint64_t> jobs;
  for (int i = 0; i < 3; ++i) jobs.push_back(cache.engine.submit(asking(cache, i)));
  for (const uint64_t job : jobs) CHECK_EQ(cache.sink->end(job).failed, "");
  CHECK_EQ(cache.engine.rowsComputed(), 3 * (kDocument + kOwnRows));
}

TEST("underway: whole blocks of a segment that is still open are found, and stay right") {
  Cache cache, cold(0);
  const auto begin = [](Cache& in) {
    const Ptr open = in.segment();
    in.last = in.run(World::job({World::tokens(open, 40)}));
    return open;
  };
  const Ptr first = begin(cache);
  const Ptr second = begin(cache);
  CHECK_EQ(cache.last.done.stats.rowsFound, 32);
  cache.run(World::job({World::tokens(first, 30, 300)}));
  cache.run(World::job({World::tokens(second, 30, 301)}));
  const Ptr alone = begin(cold);
  cold.run(World::job({World::tokens(alone, 30, 301)}));
  CHECK(cache.readBy(second, 70) == cold.readBy(alone, 70));
}

TEST("underway: an entry lasts until its rows are computed or its job has ended") {
  Underway underway;
  JobState a, b;
  Digest one{}, two{};
  one[0] = 1;
  two[0] = 2;
  underway.add(one, a, 16);
  underway.add(two, a, 32);
  underway.add(two, b, 99);  // somebody is about it already
  CHECK_EQ(underway.rowsUntil(one), 16);
  CHECK_EQ(underway.rowsUntil(two), 32);
  a.doneRows = 20;
  CHECK_EQ(underway.rowsUntil(one), 0);
  CHECK_EQ(underway.rowsUntil(two), 12);
  underway.add(one, b, 5);  // computed, lost and computed again
  CHECK_EQ(underway.rowsUntil(one), 5);
  underway.end(a);
  CHECK_EQ(underway.rowsUntil(one), 5);
  CHECK_EQ(underway.rowsUntil(two), 0);
  underway.end(b);
  CHECK_EQ(underway.rowsUntil(one), 0);
}
