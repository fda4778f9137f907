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
#include "kernels/kv_pool.h"
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
  int tileRows = kSlotTileRows;
  Sharing sharing = Sharing::kNone;
  ShareGate gate{2, 1};  // as often as there are two
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
    pool_ = std::make_shared<baton::Pool>(shape, count * shape.blockBytes());
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
    plan.views.make(batch_, p.alone ? 1 : p.tileRows);
    plan.lists.make(
        plan.views,
        {.itemSlots = p.split == 0 ? kItemSlots : p.split, .sharing = p.sharing, .gate = p.gate});
    for (size_t i = 0; i < p.readers.size(); ++i) addTable(p.readers[i], batch_.runs[i].batchRow);
  }

  std::vector<std::vector<int32_t>> blocks;  // of each segment
  Plan plan;

  const Batch& batch() const { return batch_; }
  const Segment* segmentAt(int i) const { return segments_[static_cast<size_t>(i)].get(); }

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
  std::shared_ptr<baton::Pool> pool_;
  std::vector<std::shared_ptr<Segment>> segments_;
  std::deque<std::vector<SegmentRead>> reads_;
  Batch batch_;
};

// The pool of all segments; rows that no row of the result reads hold NaN.
struct StoredViews {
  std::vector<std::vector<int32_t>> blocks;
  std::vector<std::vector<float>> k, v;  // [rows, G, D] of each segment, as stored
  std::vector<float> q;                  // [query rows, H, D]
  Misaligned<std::byte> pool;
  size_t headBytes, blockStride;

  StoredViews(const ViewProblem& p, std::vector<std::vector<int32_t>> numbers, Random& random)
      : blocks(std::move(numbers)),
        pool(poolBytes(p), 0, std::byte{0xff}),
        headBytes(kvHeadBytes(p.kv, p.D)),
        blockStride(2 * static_cast<size_t>(p.G) * headBytes + 64) {
    for (const SegmentShape& segment : p.segments) {
      for (auto* all : {&k, &v}) {
        std::vector<float> rows(static_cast<size_t>(segment.rows * p.G * p.D));
        random.fill(rows);
        for (int i = 0; i < segment.rows * p.G; ++i) roundRow(p.kv, rows.data() + i * p.D, p.D);
        all->push_back(rows);
      }
    }
  }

  static size_t poolBytes(const ViewProblem& p) {
    size_t count = 1;
    for (const SegmentShape& segment : p.segments)
      count += static_cast<size_t>((segment.rows + kBlockRows - 1) / kBlockRows);
    return count * (2 * static_cast<size_t>(p.G) * kvHeadBytes(p.kv, p.D) + 64);
  }

  void store(const ViewProblem& p, int segment, int row) {
    const auto s = static_cast<size_t>(segment);
    const int width = p.G * p.D, at = row * width;
    const int32_t block = blocks[s][static_cast<size_t>(row / kBlockRows)];
    const int32_t slot = row % kBlockRows;
    kScalarOps.kvStore(
        {k[s].data() + at, width, v[s].data() + at, width, p.G, p.D, p.kv, pool.data(),
         pool.data() + static_cast<size_t>(p.G) * headBytes, headBytes, blockStride, &block, &slot},
        0, 1);
  }
};

}  // namespace baton::test
