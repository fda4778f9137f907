// SPDX-License-Identifier: Apache-2.0
// The order in which blocks are given up: every policy of the table against a search through all of
// them, and what each is for.
#include "cache/policies/ranking.h"

#include <chrono>
#include <map>
#include <random>
#include <string>
#include <thread>

#include "check.h"

using namespace baton;
using namespace baton::test;

namespace {

// The same by looking at everything, every time.
class Slow {
 public:
  explicit Slow(const Policy& policy) : policy_(policy) {}

  void add(int32_t block, BlockUse use, bool isProtected) {
    use.lastUse = ++uses_;
    blocks_[block] = {isProtected, policy_.worth(use, floor_), uses_};
  }
  void remove(int32_t block) { blocks_.erase(block); }
  int32_t takeLeast() {
    int32_t least = -1;
    for (const auto& [block, rank] : blocks_) {
      if (least < 0 || rank < blocks_[least]) least = block;
    }
    if (least < 0) return -1;
    floor_ = std::max(floor_, std::get<1>(blocks_[least]));
    blocks_.erase(least);
    return least;
  }

 private:
  const Policy& policy_;
  std::map<int32_t, std::tuple<bool, double, double>> blocks_;
  double uses_ = 0, floor_ = 0;
};

constexpr double kLong = 1e15;

}  // namespace

TEST("ranking: every policy gives up what a search through all blocks would") {
  for (const Policy* policy : policies()) {
    std::mt19937 random(7);
    Ranking ranking(*policy);
    Slow slow(*policy);
    std::vector<BlockUse> uses(40);
    for (BlockUse& use : uses)
      use = {.uses = 1, .cost = double(random() % 5), .bytes = double(1 + random() % 3)};
    ranking.reserve(uses.size());
    for (int round = 0; round < 4000; ++round) {
      const auto block = static_cast<int32_t>(random() % uses.size());
      BlockUse& use = uses[static_cast<size_t>(block)];
      switch (random() % 4) {
        case 0:
          ranking.remove(block);
          slow.remove(block);
          break;
        case 1:
          CHECK_EQ(ranking.takeLeast(), slow.takeLeast());
          break;
        default: {
          const bool isProtected = random() % 8 == 0;
          ++use.uses;
          slow.add(block, use, isProtected);
          ranking.add(block, use, {isProtected ? Retain::kResume : Retain::kUsual, kLong});
        }
      }
    }
    for (int32_t least = 0; least >= 0;) {
      least = slow.takeLeast();
      CHECK_EQ(ranking.takeLeast(), least);
    }
  }
}

TEST("ranking: by cost, what is dear and used stays before what was used last") {
  Ranking lru(kLru), cost(kCostAware);
  BlockUse dear{.uses = 3, .cost = 10}, cheap{.uses = 1, .cost = 1};
  for (Ranking* ranking : {&lru, &cost}) {
    ranking->reserve(2);
    ranking->add(0, dear, {});
    ranking->add(1, cheap, {});
  }
  CHECK_EQ(lru.takeLeast(), 0);
  CHECK_EQ(cost.takeLeast(), 1);
}

TEST("ranking: by cost, what was dear goes when others are used for long enough") {
  Ranking ranking(kCostAware);
  ranking.reserve(2);
  BlockUse dear{.uses = 1, .cost = 10}, cheap{.uses = 1, .cost = 1};
  ranking.add(0, dear, {});
  int turns = 0;
  for (;; ++turns) {
    ranking.add(1, cheap, {});
    if (ranking.takeLeast() == 0) break;
  }
  CHECK_EQ(turns, 9);  // the floor rises by 1 each time; at 10 against 10 the older one goes
}

TEST("ranking: what is to be resumed stays until its time is over") {
  Ranking ranking(kLru);
  ranking.reserve(3);
  BlockUse use;
  ranking.add(0, use, {Retain::kResume, Ranking::now() + 20});
  ranking.add(1, use, {});
  ranking.add(2, use, {});
  CHECK_EQ(ranking.takeLeast(), 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(25));
  CHECK_EQ(ranking.takeLeast(), 0);
  CHECK_EQ(ranking.takeLeast(), 2);
  CHECK_EQ(ranking.takeLeast(), -1);
}
