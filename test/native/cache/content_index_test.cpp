// SPDX-License-Identifier: Apache-2.0
// The content index and the pool under it: what is found, what is kept, what goes first, and why
// something was missed.
#include "cache/content_index.h"

#include <algorithm>
#include <list>
#include <map>
#include <random>

#include "base/error.h"
#include "cache/pool.h"
#include "check.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr KvShape kShape{.layers = 1, .kvHeads = 1, .headDim = 16, .type = KvType::kF16};
const size_t kBlock = kShape.blockBytes();

Digest named(int number) {
  Sha256 hash;
  hash.update(&number, sizeof(number));
  return hash.digest();
}

// Blocks of one segment: `count` identities from `first` on, offered.
std::vector<int32_t> write(Pool& pool, int first, int count) {
  std::vector<int32_t> blocks;
  pool.allocate(static_cast<size_t>(count), blocks);
  std::vector<Digest> identities;
  for (int i = 0; i < count; ++i) identities.push_back(named(first + i));
  const Digest content = named(-1 - first);
  pool.offer(identities.data(), blocks.data(), blocks.size(), &content);
  return blocks;
}

std::vector<int32_t> find(Pool& pool, int first, int count) {
  std::vector<Digest> identities;
  for (int i = 0; i < count; ++i) identities.push_back(named(first + i));
  std::vector<int32_t> blocks;
  const size_t found = pool.find(identities.data(), identities.size(), blocks);
  CHECK_EQ(found, blocks.size());
  return blocks;
}

void release(Pool& pool, const std::vector<int32_t>& blocks) {
  pool.release(blocks.data(), blocks.size());
}

}  // namespace

TEST("index: what a segment let go is found again, block by block") {
  Pool pool(kShape, 16 * kBlock, 8 * kBlock);
  const std::vector<int32_t> blocks = write(pool, 0, 4);
  CHECK(find(pool, 0, 4) == blocks);  // while it is held, too
  release(pool, blocks);
  CHECK_EQ(pool.stats().blocksUsed, 4u);
  release(pool, blocks);
  CHECK_EQ(pool.stats().blocksUsed, 0u);
  CHECK_EQ(pool.stats().blocksKept, 4u);
  const std::vector<int32_t> again = find(pool, 0, 3);
  CHECK(std::equal(again.begin(), again.end(), blocks.begin()));
  CHECK_EQ(pool.stats().blocksUsed, 3u);
  CHECK_EQ(pool.stats().blocksKept, 1u);
  CHECK(find(pool, 7, 2).empty());
  std::vector<int32_t> longer = find(pool, 2, 9);  // blocks 2 and 3 are known, 4 is not
  CHECK_EQ(longer.size(), 2u);
}

TEST("index: the least recently released goes first, the end of a segment before its beginning") {
  Pool pool(kShape, 6 * kBlock, 6 * kBlock);
  const std::vector<int32_t> a = write(pool, 0, 2), b = write(pool, 10, 2), c = write(pool, 20, 2);
  release(pool, b);
  release(pool, a);
  release(pool, c);
  release(pool, find(pool, 10, 2));  // used again: now the newest
  std::vector<int32_t> taken;
  const auto left = [&] {
    std::vector<int> known;
    for (const int name : {0, 1, 10, 11, 20, 21}) {
      const std::vector<int32_t> found = find(pool, name, 1);
      if (!found.empty()) known.push_back(name);
    }
    return known;
  };
  pool.allocate(1, taken);
  CHECK_EQ(taken[0], a[1]);
  pool.allocate(3, taken);
  CHECK_EQ(taken[1], a[0]);
  CHECK_EQ(taken[2], c[1]);
  CHECK_EQ(taken[3], c[0]);
  CHECK(left() == (std::vector<int>{10, 11}));
}

TEST("index: what is held is never given up, and a refusal changes nothing") {
  Pool pool(kShape, 4 * kBlock, 4 * kBlock);
  const std::vector<int32_t> held = write(pool, 0, 2);
  release(pool, write(pool, 10, 2));
  std::vector<int32_t> taken;
  CHECK_THROWS("CACHE_BUDGET", pool.allocate(3, taken));
  CHECK_EQ(pool.stats().blocksKept, 2u);
  pool.allocate(2, taken);
  CHECK_EQ(pool.stats().blocksKept, 0u);
  CHECK(find(pool, 0, 2) == held);
  CHECK_THROWS("CACHE_BUDGET", pool.allocate(1, taken));
}

TEST("index: its budget bounds what is kept without a holder; 0 switches it off") {
  Pool pool(kShape, 16 * kBlock, 3 * kBlock);
  release(pool, write(pool, 0, 5));
  CHECK_EQ(pool.stats().blocksKept, 3u);
  CHECK_EQ(find(pool, 0, 5).size(), 3u);

  Pool off(kShape, 16 * kBlock, 0);
  CHECK(!off.indexed());
  const std::vector<int32_t> blocks = write(off, 0, 5);
  CHECK(find(off, 0, 5).empty());
  release(off, blocks);
  CHECK_EQ(off.stats().blocksKept, 0u);
  CHECK(off.why(named(0), nullptr) == MissReason::kIndexOff);
  CHECK(!Pool(kShape, 16 * kBlock, kBlock - 1).indexed());  // not one block
}

TEST("index: a miss has its reason") {
  Pool pool(kShape, 2 * kBlock, 2 * kBlock);
  release(pool, write(pool, 0, 1));
  const Digest seen = named(-1), other = named(-2);
  CHECK(pool.why(named(5), &other) == MissReason::kNeverSeen);
  CHECK(pool.why(named(5), &seen) == MissReason::kDifferentFrame);
  CHECK(pool.why(named(5), nullptr) == MissReason::kNeverSeen);
  std::vector<int32_t> taken;
  pool.allocate(2, taken);
  CHECK(pool.why(named(0), &seen) == MissReason::kEvicted);
}

TEST("index: two blocks of one content: the first is known, the other goes when it is let go") {
  Pool pool(kShape, 8 * kBlock, 8 * kBlock);
  const std::vector<int32_t> first = write(pool, 0, 2), second = write(pool, 0, 2);
  CHECK(find(pool, 0, 2) == first);
  release(pool, second);
  CHECK_EQ(pool.stats().blocksKept, 0u);
  CHECK_EQ(pool.stats().blocksUsed, 2u);
}

TEST("index: thousands of random turns agree with a list that is searched") {
  constexpr int kTotal = 24, kBudget = 10;
  Pool pool(kShape, kTotal * kBlock, kBudget * kBlock);
  std::mt19937 random(11);
  struct Held {
    int name;
    std::vector<int32_t> blocks;
  };
  std::vector<Held> held;      // segments of one block
  std::list<int> kept;         // names, oldest first
  std::map<int, int> holders;  // by name
  const auto drop = [&](int name) {
    if (--holders[name] > 0) return;
    kept.push_back(name);
    if (kept.size() > kBudget) kept.pop_front();
  };
  int hits = 0, evictions = 0;
  for (int turn = 0; turn < 20000; ++turn) {
    if (random() % 2 == 0 && !held.empty()) {
      const size_t at = random() % held.size();
      release(pool, held[at].blocks);
      drop(held[at].name);
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
    } else {
      const int name = static_cast<int>(random() % 60);
      const bool known =
          holders[name] > 0 || std::find(kept.begin(), kept.end(), name) != kept.end();
      std::vector<int32_t> blocks = find(pool, name, 1);
      CHECK_EQ(blocks.size(), known ? 1u : 0u);
      if (known) {
        ++hits;
        kept.remove(name);
      } else {
        size_t distinct = 0;
        for (const auto& [other, count] : holders) distinct += count > 0 ? 1 : 0;
        if (distinct == kTotal) continue;
        if (distinct + kept.size() == kTotal) {
          ++evictions;
          kept.pop_front();
        }
        blocks = write(pool, name, 1);
      }
      ++holders[name];
      held.push_back({name, blocks});
    }
    size_t distinct = 0;
    for (const auto& [other, count] : holders) distinct += count > 0 ? 1 : 0;
    CHECK_EQ(pool.stats().blocksUsed, distinct);
    CHECK_EQ(pool.stats().blocksKept, kept.size());
  }
  CHECK(hits > 1000);
  CHECK(evictions > 100);
}
