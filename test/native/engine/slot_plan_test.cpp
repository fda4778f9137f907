// SPDX-License-Identifier: Apache-2.0
// Plans of views for a device: whatever the views, each visible pair of a row and a key is read
// once, with the query rotated as its shift asks, and what a row reads is cut in the same places
// whatever batch it stands in.
#include "engine/slot_plan.h"

#include <map>
#include <set>
#include <tuple>

#include "check.h"
#include "cuda/ops.h"
#include "cuda/views.h"

using namespace baton;
using namespace baton::test;

namespace {

// A key as the pool has it.
using Key = std::pair<int32_t, int>;  // block, row of it

// What a row reads of one item, in order.
struct Part {
  int state;  // -1: a whole item's, whose place is the row of the result
  std::vector<std::pair<int, Key>> reads;  // rotated query, key
};

// The rows of an item, with their states.
std::vector<AttendRow> rowsOf(const SlotPlan& lists, const AttendItem& item) {
  std::vector<AttendRow> rows;
  for (int i = 0; i < item.rows; ++i) {
    if (item.shared != 0) {
      rows.push_back(lists.rows[static_cast<size_t>(item.queryRow + i)]);
    } else {
      rows.push_back({item.queryRow + i, item.position + i, item.state + i});
    }
  }
  return rows;
}

// A row's parts, in the order of its states, as attention.h says that items are read.
std::vector<std::vector<Part>> expand(const ViewProblem& p, const Plan& plan) {
  std::vector<std::vector<Part>> rows(static_cast<size_t>(plan.views.rows));
  for (const AttendItem& item : plan.lists.items) {
    for (const auto& [query, position, state] : rowsOf(plan.lists, item)) {
      const auto row = static_cast<size_t>(plan.lists.queryRow[static_cast<size_t>(query)]);
      Part part{item.whole != 0 ? -1 : state, {}};
      if (item.whole != 0) CHECK_EQ(static_cast<size_t>(state), row);
      for (int s = item.slotBegin; s < item.slotEnd; ++s) {
        const KvSlot& slot = plan.lists.slots[static_cast<size_t>(s)];
        for (int key = 0; key < slot.rows; ++key) {
          const int behind = position - (slot.position + key);
          if (slot.causal != 0 && behind < 0) continue;
          if (p.window != 0 && behind >= p.window) continue;
          part.reads.push_back({query, {slot.block, key}});
        }
      }
      rows[row].push_back(std::move(part));
    }
  }
  for (std::vector<Part>& parts : rows) {
    std::sort(parts.begin(), parts.end(),
              [](const Part& a, const Part& b) { return a.state < b.state; });
  }
  return rows;
}

std::vector<std::pair<int, Key>> readsOf(const std::vector<Part>& parts) {
  std::vector<std::pair<int, Key>> all;
  for (const Part& part : parts) all.insert(all.end(), part.reads.begin(), part.reads.end());
  return all;
}

// Equal to the table, which the views give apart, and in view order.
void checkPairs(const ViewProblem& p, const Planner& planner, const std::string& name) {
  const auto rows = expand(p, planner.plan);
  REQUIRE(rows.size() == planner.plan.table.size());
  for (size_t row = 0; row < rows.size(); ++row) {
    std::vector<std::pair<int, Key>> want;
    for (const Pair& pair : planner.plan.table[row]) {
      const auto& blocks = planner.blocks[static_cast<size_t>(pair.segment)];
      want.push_back({pair.queryRow,
                      {blocks[static_cast<size_t>(pair.row / kBlockRows)], pair.row % kBlockRows}});
    }
    expect(readsOf(rows[row]) == want, __FILE__, __LINE__, name + ", row " + std::to_string(row));
  }
}

// Every state is written by one item for one row, and merged for that row, in order of the items.
void checkStates(const ViewProblem& p, const Planner& planner, const std::string& name) {
  const SlotPlan& lists = planner.plan.lists;
  const auto rows = expand(p, planner.plan);
  std::vector<int> writers(static_cast<size_t>(lists.states));
  for (size_t row = 0; row < rows.size(); ++row) {
    const StateList& list = lists.lists[row];
    if (list.count < 0) {
      expect(rows[row].size() == 1 && rows[row][0].state == -1, __FILE__, __LINE__, name);
      continue;
    }
    CHECK(lists.merges);
    REQUIRE(rows[row].size() == static_cast<size_t>(list.count));
    for (int i = 0; i < list.count; ++i) {
      CHECK_EQ(rows[row][static_cast<size_t>(i)].state, list.first + i * list.step);
      ++writers[static_cast<size_t>(list.first + i * list.step)];
    }
  }
  expect(std::all_of(writers.begin(), writers.end(), [](int count) { return count == 1; }),
         __FILE__, __LINE__, name + ": states");
}

// Keys by item, without items of which a row reads nothing.
std::vector<std::vector<Key>> cutsOf(const std::vector<Part>& parts) {
  std::vector<std::vector<Key>> cuts;
  for (const Part& part : parts) {
    if (part.reads.empty()) continue;
    cuts.emplace_back();
    for (const auto& [query, key] : part.reads) cuts.back().push_back(key);
  }
  return cuts;
}

// Segments that read some of those before them, with the shifts of chains; of some only the last
// rows are new, and some rows are read by several (forks).
ViewProblem anyProblem(Random& random) {
  ViewProblem p{.name = "random",
                .kv = KvType::kF16,
                .group = 2,
                .G = 1,
                .D = 16,
                .segments = {},
                .readers = {}};
  const auto below = [&](int n) {
    return static_cast<int>(random.below(static_cast<uint32_t>(n)));
  };
  const int sizes[] = {1, 15, 16, 17, 255, 256, 257, 512, 513, 1 + below(700)};
  const int count = 1 + below(7);
  for (int s = 0; s < count; ++s) {
    p.segments.push_back({sizes[below(10)], below(3) == 0 ? -below(40) : below(900)});
    Reader reader{{}, s, 0, 0};
    for (int read = 0; read < s; ++read) {
      if (below(3) == 0) continue;
      const int rows = p.segments[static_cast<size_t>(read)].rows;
      reader.reads.push_back({read, 1 + below(rows), below(2) == 0 ? 0 : 13 * below(3) - 9});
    }
    const int rows = p.segments.back().rows;
    reader.firstRow = below(2) == 0 ? rows - 1 : below(rows);
    reader.count = 1 + below(std::min(40, rows - reader.firstRow));
    if (below(4) != 0 || s + 1 == count) p.readers.push_back(reader);
  }
  const int windows[] = {0, 0, 1, 16, 100, 600};
  p.window = windows[below(6)];
  const int splits[] = {0, 0, 1, 2, 5};
  p.split = splits[below(5)];
  p.tileRows = below(2) == 0 ? kSlotTileRows : kWideTileRows;
  return p;
}

// Branches of a tree: some trunks, the later ones of which some branches read, too, at a shift or
// behind what only they read; each branch with a few rows of its own.
ViewProblem anyTree(Random& random) {
  ViewProblem p{.name = "tree",
                .kv = KvType::kF16,
                .group = 2,
                .G = 1,
                .D = 16,
                .segments = {},
                .readers = {}};
  const auto below = [&](int n) {
    return static_cast<int>(random.below(static_cast<uint32_t>(n)));
  };
  const int trunks = 1 + below(3), branches = 2 + below(24);
  for (int trunk = 0; trunk < trunks; ++trunk) p.segments.push_back({1 + below(400), 0});
  for (int branch = 0; branch < branches; ++branch) {
    Reader reader{{}, 0, 0, 0};
    if (below(6) == 0) {
      p.segments.push_back({1 + below(40), -below(40)});  // only this branch reads it
      reader.reads.push_back({static_cast<int>(p.segments.size()) - 1, p.segments.back().rows, 0});
    }
    for (int trunk = 0; trunk < trunks; ++trunk) {
      const int rows = p.segments[static_cast<size_t>(trunk)].rows;
      if (trunk > 0 && below(3) == 0) continue;
      const int shift = below(4) == 0 ? 7 * below(3) : 0;
      reader.reads.push_back({trunk, below(5) == 0 ? 1 + below(rows) : rows, shift});
    }
    const int rows = 1 + below(60);
    reader.own = static_cast<int>(p.segments.size());
    p.segments.push_back({rows, 300 + below(200)});
    reader.firstRow = below(rows);
    reader.count = 1 + below(std::min(below(8) == 0 ? 30 : 3, rows - reader.firstRow));
    p.readers.push_back(reader);
  }
  const int windows[] = {0, 0, 100, 300};
  p.window = windows[below(4)];
  p.split = 1 + below(6);
  p.sharing = below(2) == 0 ? Sharing::kFew : Sharing::kWide;
  p.tileRows = p.sharing == Sharing::kWide ? kWideTileRows : kSlotTileRows;
  p.gate.sharers = 2 + below(3);
  return p;
}

// What is joined: rows of several readers, which see all of it; items that tensor cores attend
// stand behind the others.
void checkShared(const ViewProblem& p, const SlotPlan& lists, const std::string& name) {
  const int most = p.sharing == Sharing::kWide ? kWideTileRows : kSlotTileRows;
  for (size_t i = 0; i < lists.items.size(); ++i) {
    const AttendItem& item = lists.items[i];
    const bool few = item.rows <= kFewRows && (item.shared == 0 || p.sharing != Sharing::kWide);
    expect(few == (static_cast<int>(i) < lists.few), __FILE__, __LINE__, name + ": order");
    if (few) CHECK(item.rows <= lists.mostFew);
    CHECK(item.rows <= lists.mostRows);
    if (item.shared == 0) continue;
    CHECK(item.rows >= p.gate.sharers && item.rows <= most && item.whole == 0);
    for (int s = item.slotBegin; s < item.slotEnd; ++s)
      CHECK_EQ(lists.slots[static_cast<size_t>(s)].causal, 0);
    const std::vector<AttendRow> rows = rowsOf(lists, item);
    for (size_t row = 1; row < rows.size(); ++row)
      CHECK(rows[row - 1].position <= rows[row].position);
  }
}

// How often slots are read, one reading for each item.
int readingsOf(const SlotPlan& lists) {
  int readings = 0;
  for (const AttendItem& item : lists.items) readings += item.slotEnd - item.slotBegin;
  return readings;
}

}  // namespace

TEST("slot plan: every visible pair once, in view order, of whatever views") {
  for (uint32_t seed = 1; seed <= 150; ++seed) {
    Random random(seed);
    const ViewProblem p = anyProblem(random);
    const Planner planner(p, random);
    const std::string name = "seed " + std::to_string(seed);
    checkPairs(p, planner, name);
    checkStates(p, planner, name);
    const SlotPlan& lists = planner.plan.lists;
    for (const AttendItem& item : lists.items) {
      CHECK(item.slotBegin < item.slotEnd);
      CHECK(item.slotEnd - item.slotBegin <= (p.split == 0 ? kItemSlots : p.split));
      CHECK(item.rows >= 1 && item.rows <= lists.mostRows && item.rows <= p.tileRows);
    }
  }
}

static_assert(kSlotTileRows == kFewRows);

TEST("slot plan: items of few rows stand before the others, and are counted") {
  for (uint32_t seed = 400; seed < 440; ++seed) {
    Random random(seed);
    const ViewProblem p = anyProblem(random);
    const Planner planner(p, random);
    const SlotPlan& lists = planner.plan.lists;
    int few = 0, mostFew = 0;
    for (size_t i = 0; i < lists.items.size(); ++i) {
      const int rows = lists.items[i].rows;
      expect((rows <= kFewRows) == (static_cast<int>(i) < lists.few), __FILE__, __LINE__,
             "seed " + std::to_string(seed) + ", item " + std::to_string(i));
      if (rows <= kFewRows) ++few, mostFew = std::max(mostFew, rows);
    }
    CHECK_EQ(lists.few, few);
    CHECK_EQ(lists.mostFew, mostFew);
  }
}

TEST("slot plan: queries are rotated to their position less the shift") {
  for (uint32_t seed = 200; seed < 230; ++seed) {
    Random random(seed);
    const ViewProblem p = anyProblem(random);
    const Planner planner(p, random);
    const AttentionPlan& views = planner.plan.views;
    REQUIRE(planner.plan.lists.queryRow.size() == views.queryPositions.size());
    for (const AttentionPlan::Rotation& one : views.rotations) {
      for (int i = 0; i < one.count; ++i) {
        const auto at = static_cast<size_t>(one.queryRow + i);
        CHECK_EQ(planner.plan.lists.queryRow[at], one.batchRow + i);
        CHECK_EQ(views.queryPositions[at],
                 views.keyPositions[static_cast<size_t>(one.batchRow + i)] - one.shift);
      }
    }
  }
}

TEST("slot plan: a row's view is cut in the same places alone and in any batch") {
  for (uint32_t seed = 300; seed < 360; ++seed) {
    Random random(seed), again(seed);
    ViewProblem p = anyProblem(random);
    anyProblem(again);
    const Planner together(p, random);
    const auto rows = expand(p, together.plan);
    size_t row = 0;
    for (const Reader& reader : p.readers) {
      for (int i = 0; i < reader.count; ++i, ++row) {
        ViewProblem one = p;
        one.readers = {reader};
        one.readers[0].firstRow += i;
        one.readers[0].count = 1;
        Random same = again;  // the same blocks
        const Planner alone(one, same);
        expect(cutsOf(expand(one, alone.plan)[0]) == cutsOf(rows[row]), __FILE__, __LINE__,
               "seed " + std::to_string(seed) + ", row " + std::to_string(row));
      }
    }
  }
}

TEST("slot plan: a short chain is whole items, a long view is split and merged") {
  ViewProblem p{.name = "chain",
                .kv = KvType::kF16,
                .group = 1,
                .G = 1,
                .D = 16,
                .segments = {{40, 0}, {30, 40}, {600, 0}, {1, 600}},
                .readers = {{{{0, 40, 0}}, 1, 29, 1}, {{{2, 600, 0}}, 3, 0, 1}}};
  Random random(1);
  const Planner planner(p, random);
  const SlotPlan& lists = planner.plan.lists;
  REQUIRE(lists.items.size() == 3);
  CHECK_EQ(lists.items[0].whole, 1);
  CHECK_EQ(lists.lists[0].count, -1);
  CHECK_EQ(lists.items[1].slotEnd - lists.items[1].slotBegin, kItemSlots);
  CHECK_EQ(lists.lists[1].count, 2);
  CHECK_EQ(lists.states, 2);
  CHECK(lists.merges);
}

TEST("slot plan: joined items read what each reader's own ones do, into the same states") {
  int joined = 0, readings = 0, apart = 0;
  for (uint32_t seed = 500; seed < 620; ++seed) {
    Random random(seed);
    ViewProblem p = anyTree(random);
    Random same = random;
    const std::string name = "seed " + std::to_string(seed);
    const Planner together(p, random);
    checkPairs(p, together, name);
    checkStates(p, together, name);
    checkShared(p, together.plan.lists, name);
    p.sharing = Sharing::kNone;
    const Planner by(p, same);
    CHECK(by.plan.lists.rows.empty());
    const auto rows = expand(p, together.plan), want = expand(p, by.plan);
    REQUIRE(rows.size() == want.size());
    for (size_t row = 0; row < rows.size(); ++row) {
      expect(cutsOf(rows[row]) == cutsOf(want[row]), __FILE__, __LINE__, name);
      const StateList &one = together.plan.lists.lists[row], &other = by.plan.lists.lists[row];
      expect(one.first == other.first && one.step == other.step && one.count == other.count,
             __FILE__, __LINE__, name + ": states of row " + std::to_string(row));
    }
    joined += static_cast<int>(together.plan.lists.rows.size());
    readings += readingsOf(together.plan.lists);
    apart += readingsOf(by.plan.lists);
  }
  CHECK(joined > 1000);
  CHECK(2 * readings < apart);
}

// Eight branches that decode behind a trunk of four items, and the gate at its default.
TEST(
    "slot plan: a trunk that many read is read once, one that few read as often as it has "
    "readers") {
  ViewProblem p{.name = "trunk",
                .kv = KvType::kF16,
                .group = 4,
                .G = 1,
                .D = 16,
                .segments = {{2048, 0}},
                .readers = {}};
  p.gate = {};
  p.sharing = Sharing::kFew;
  for (int branch = 0; branch < 8; ++branch) {
    p.readers.push_back({{{0, 2048, 0}}, branch + 1, 20 + branch, 1});
    p.segments.push_back({40, 2048});
  }
  const auto sharedItems = [&] {
    Random random(1);
    const Planner planner(p, random);
    const auto& items = planner.plan.lists.items;
    return std::count_if(items.begin(), items.end(),
                         [](const AttendItem& item) { return item.shared != 0; });
  };
  CHECK_EQ(sharedItems(), 4);
  for (Reader& reader : p.readers) reader.reads[0].rows = 1023;  // one item is of the trunk alone
  CHECK_EQ(sharedItems(), 0);
  for (Reader& reader : p.readers) reader.reads[0].rows = 1024;
  CHECK_EQ(sharedItems(), 2);
  p.readers.resize(3);
  CHECK_EQ(sharedItems(), 0);
}

TEST("slot plan: no rows are no items") {
  AttentionPlan views;
  views.make(Batch{}, kSlotTileRows);
  SlotPlan lists;
  lists.make(views, {.sharing = Sharing::kFew, .gate = {1, 0}});
  CHECK(lists.items.empty() && lists.slots.empty() && lists.lists.empty());
  CHECK_EQ(lists.mostRows, 0);
  CHECK(!lists.merges);
}
