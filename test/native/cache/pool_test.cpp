// SPDX-License-Identifier: Apache-2.0
// The pool: a budget is never exceeded, a refusal changes nothing, blocks come back, and poison is
// where it should be.
#include "cache/pool.h"

#include <algorithm>
#include <cstdlib>
#include <random>
#include <set>

#include "base/error.h"
#include "check.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr KvShape kShape{.layers = 3, .kvHeads = 2, .headDim = 16, .type = KvType::kF16};

// Sets a variable of the environment for a scope.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Environment() { ::unsetenv(name_); }

 private:
  const char* name_;
};

bool filledWith(const Pool& pool, int32_t block, uint8_t byte) {
  const std::byte* begin = pool.keys(0) + static_cast<size_t>(block) * kShape.blockBytes();
  return std::all_of(begin, begin + kShape.blockBytes(),
                     [byte](std::byte one) { return one == std::byte{byte}; });
}

void fill(const Pool& pool, int32_t block, uint8_t byte) {
  std::byte* begin = pool.keys(0) + static_cast<size_t>(block) * kShape.blockBytes();
  std::fill_n(begin, kShape.blockBytes(), std::byte{byte});
}

}  // namespace

TEST("pool: sizes follow from the shape") {
  CHECK_EQ(kShape.headBytes(), 16u * 16u * 2u);
  CHECK_EQ(kShape.layerBytes(), 2u * 2u * 512u);
  CHECK_EQ(kShape.blockBytes(), 3u * 2048u);
  CHECK_EQ(kShape.rowBytes() * kBlockRows, kShape.blockBytes());
  KvShape f32 = kShape;
  f32.type = KvType::kF32;
  CHECK_EQ(f32.blockBytes(), 2 * kShape.blockBytes());
  KvShape int8 = kShape;
  int8.type = KvType::kInt8;
  CHECK_EQ(int8.headBytes(), 16u * 16u + 16u * 2u);  // quants, scales
  CHECK_EQ(int8.rowBytes() * kBlockRows, int8.blockBytes());
  const Pool pool(kShape, 4 * kShape.blockBytes());
  CHECK_EQ(pool.keys(1) - pool.keys(0), 2048);
  CHECK_EQ(pool.values(1) - pool.keys(1), 1024);
}

TEST("pool: the budget is rounded down to blocks, and must hold one") {
  const size_t block = kShape.blockBytes();
  CHECK_THROWS("OPTION_INVALID", Pool(kShape, 0));
  CHECK_THROWS("OPTION_INVALID", Pool(kShape, block - 1));
  CHECK_EQ(Pool(kShape, block).stats().blocksTotal, 1u);
  CHECK_EQ(Pool(kShape, 3 * block - 1).stats().blocksTotal, 2u);
  CHECK_THROWS("OUT_OF_MEMORY", Pool(kShape, size_t{1} << 62));
}

TEST("pool: all blocks or none, with bytes needed and free") {
  const size_t block = kShape.blockBytes();
  Pool pool(kShape, 5 * block);
  std::vector<int32_t> blocks{-7};
  pool.allocate(3, blocks);
  CHECK_EQ(blocks.size(), 4u);
  const std::vector<int32_t> before = blocks;
  try {
    pool.allocate(3, blocks);
    CHECK(false);
  } catch (const Error& error) {
    CHECK_EQ(std::string(error.code()), "CACHE_BUDGET");
    double needed = 0, unused = 0;
    for (const auto& [name, value] : error.facts()) {
      if (name == "needed") needed = std::get<double>(value);
      if (name == "free") unused = std::get<double>(value);
    }
    CHECK_EQ(needed, double(3 * block));
    CHECK_EQ(unused, double(2 * block));
    CHECK(std::string(error.what()).find(std::to_string(3 * block)) != std::string::npos);
  }
  CHECK(blocks == before);
  CHECK_EQ(pool.stats().blocksUsed, 3u);
  pool.allocate(2, blocks);
  CHECK_EQ(pool.stats().blocksUsed, 5u);
  pool.allocate(0, blocks);
  CHECK_EQ(blocks.size(), 6u);
}

TEST("pool: released blocks are used again, and never two owners share one") {
  Pool pool(kShape, 40 * kShape.blockBytes());
  std::mt19937 random(5);
  std::vector<std::vector<int32_t>> owners;
  size_t held = 0, peak = 0, refusals = 0;
  for (int turn = 0; turn < 5000; ++turn) {
    if (random() % 2 == 0 || owners.empty()) {
      const size_t count = random() % 8;
      std::vector<int32_t> blocks;
      try {
        pool.allocate(count, blocks);
        CHECK(held + count <= 40);
        CHECK_EQ(blocks.size(), count);
        held += count;
        owners.push_back(std::move(blocks));
      } catch (const Error&) {
        ++refusals;
        CHECK(held + count > 40);
      }
    } else {
      const size_t at = random() % owners.size();
      pool.release(owners[at].data(), owners[at].size());
      held -= owners[at].size();
      owners.erase(owners.begin() + static_cast<std::ptrdiff_t>(at));
    }
    peak = std::max(peak, held);
    std::set<int32_t> distinct;
    for (const auto& blocks : owners) distinct.insert(blocks.begin(), blocks.end());
    CHECK_EQ(distinct.size(), held);
    CHECK(distinct.empty() || (*distinct.begin() >= 0 && *distinct.rbegin() < 40));
    CHECK_EQ(pool.stats().blocksUsed, held);
  }
  CHECK_EQ(pool.stats().blocksPeak, peak);
  CHECK(refusals > 10);
}

TEST("pool: BATON_POISON_CACHE=1 fills blocks when they are handed out and when they come back") {
  std::vector<int32_t> blocks;
  {
    const Environment poison("BATON_POISON_CACHE", "1");
    Pool pool(kShape, 3 * kShape.blockBytes());
    pool.allocate(2, blocks);
    CHECK(filledWith(pool, blocks[0], 0xFF) && filledWith(pool, blocks[1], 0xFF));
    fill(pool, blocks[0], 7);
    fill(pool, blocks[1], 7);
    pool.release(&blocks[0], 1);
    CHECK(filledWith(pool, blocks[0], 0xFF));
    CHECK(filledWith(pool, blocks[1], 7));
    fill(pool, blocks[0], 9);
    std::vector<int32_t> again;
    pool.allocate(1, again);
    REQUIRE(again[0] == blocks[0]);
    CHECK(filledWith(pool, again[0], 0xFF));
  }
  const Environment plain("BATON_POISON_CACHE", "0");
  Pool pool(kShape, 3 * kShape.blockBytes());
  std::vector<int32_t> untouched;
  pool.allocate(1, untouched);
  CHECK(filledWith(pool, untouched[0], 0));
}
