// SPDX-License-Identifier: Apache-2.0
// Views of a step for the tests of attention on a device: as the engine plans them for the kernels
// (engine/slot_plan.h), and as a table of what each row reads, made from the same views apart.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "cache/segment.h"
#include "engine/slot_plan.h"
#include "kernels/support.h"

namespace baton::test {

struct Read {
  int segment, rows, shift;
};

struct Reader {
  std::vector<Read> reads;
  int own;  // its segment
  int firstRow, count;
};

struct SegmentShape {
  int rows, start;  // start: position of the first row
};

struct ViewProblem {
  std::string name;
  KvType kv;
  int group, G, D;
  std::vector<SegmentShape> segments;
  std::vector<Reader> readers;
  int window = 0;
  int split = 0;       // slots of an item at most; 0: as the engine has it
  bool alone = false;  // every row in items of its own
};

inline std::string describe(const ViewProblem& p) {
  return p.name + " " + kvTypeName(p.kv) + " group=" + std::to_string(p.group) +
         " D=" + std::to_string(p.D) + " window=" + std::to_string(p.window) +
         " split=" + std::to_string(p.split);
}

// A key that a row of the result reads.
struct Pair {
  int queryRow, segment, row;
};

// What the engine makes of the views, and beside it the table that it must be equal to.
struct Plan {
  SlotPlan lists;
  AttentionPlan views;
  std::vector<std::vector<Pair>> table;  // by row of the result
};

class Planner {
 public:
  // Segments whose blocks are strewn over the pool, and a batch of the readers.
  Planner(const ViewProblem& p, Random& random) : p_(p) {
    const KvShape shape{1, p.G, p.D, p.kv};
    size_t count = 0;
    for (const SegmentShape& one : p.segments) count += blocksFor(one.rows);
    pool_ = std::make_shared<Pool>(shape, count * shape.blockBytes());
    std::vector<int32_t> order;
    pool_->allocate(count, order);
    for (size_t i = order.size(); i > 1; --i)
      std::swap(order[i - 1], order[random.below(static_cast<uint32_t>(i))]);
    for (const int32_t block : order) pool_->release(&block, 1);
    for (const SegmentShape& one : p.segments) {
      segments_.push_back(std::make_shared<Segment>(
          pool_, SegmentSpec{SegmentKind::kInput, one.start, {}}, "views"));
      segments_.back()->reserve(one.rows);
      blocks.push_back(segments_.back()->blockNumbers());
    }
    for (const Reader& reader : p.readers) add(reader);
    plan.views.make(batch_, p.alone ? 1 : kSlotTileRows);
    plan.lists.make(plan.views, p.split == 0 ? kItemSlots : p.split);
    for (size_t i = 0; i < p.readers.size(); ++i) addTable(p.readers[i], batch_.runs[i].batchRow);
  }

  std::vector<std::vector<int32_t>> blocks;  // of each segment
  Plan plan;

 private:
  static size_t blocksFor(int rows) {
    return static_cast<size_t>((rows + kBlockRows - 1) / kBlockRows);
  }

  void add(const Reader& reader) {
    std::vector<SegmentRead>& reads = reads_.emplace_back();
    for (const Read& read : reader.reads)
      reads.push_back({segments_[static_cast<size_t>(read.segment)], read.rows, read.shift});
    batch_.add({segments_[static_cast<size_t>(reader.own)].get(), &reads, reader.firstRow,
                reader.count, 0, nullptr, nullptr});
  }

  void addTable(const Reader& reader, int batchRow) {
    const auto queryRow = [&](int shift) {
      for (const AttentionPlan::Rotation& one : plan.views.rotations) {
        if (one.batchRow == batchRow && one.shift == shift) return one.queryRow;
      }
      return -1;
    };
    for (int i = 0; i < reader.count; ++i) {
      std::vector<Pair> pairs;
      const int own = segment(reader.own).start + reader.firstRow + i;
      const auto read = [&](int of, int row, int shift) {
        const int behind = own - (segment(of).start + row + shift);
        if (p_.window == 0 || behind < p_.window) pairs.push_back({queryRow(shift) + i, of, row});
      };
      for (const Read& one : reader.reads) {
        for (int row = 0; row < one.rows; ++row) read(one.segment, row, one.shift);
      }
      for (int row = 0; row <= reader.firstRow + i; ++row) read(reader.own, row, 0);
      plan.table.push_back(pairs);
    }
  }

  const SegmentShape& segment(int i) const { return p_.segments[static_cast<size_t>(i)]; }

  const ViewProblem& p_;
  std::shared_ptr<Pool> pool_;
  std::vector<std::shared_ptr<Segment>> segments_;
  std::deque<std::vector<SegmentRead>> reads_;
  Batch batch_;
};

}  // namespace baton::test
