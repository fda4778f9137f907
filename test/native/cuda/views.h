// SPDX-License-Identifier: Apache-2.0
// Views of a step for the tests of attention on a device: as lists of slots and items, the way the
// kernels read them, and as a table of what each row reads, made from the same views apart.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "cuda/attention.h"

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
  int split = 0;       // slots of an item at most; 0: any number
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

// The lists of a step, and beside them the table that they must be equal to.
struct Plan {
  std::vector<KvSlot> slots;
  std::vector<AttendItem> items;
  std::vector<StateList> lists;          // by row of the result; count -1: a whole item wrote it
  std::vector<std::vector<Pair>> table;  // by row of the result
  int queryRows = 0, states = 0, rows = 0, mostRows = 0;
};

struct Lists {  // of one shift
  int shift, queryRow;
  std::vector<KvSlot> slots;
};

class Planner {
 public:
  Planner(const ViewProblem& p, const std::vector<std::vector<int32_t>>& blocks)
      : p_(p), blocks_(blocks) {
    for (const Reader& reader : p.readers) add(reader);
  }
  const Plan& plan() const { return plan_; }

 private:
  void add(const Reader& reader) {
    std::vector<Lists> lists;
    for (const Read& read : reader.reads) {
      addSlots(listFor(lists, reader, read.shift), read.segment, read.rows,
               segment(read.segment).start + read.shift, false);
    }
    const int seen = reader.firstRow + reader.count;
    addSlots(listFor(lists, reader, 0), reader.own, seen, segment(reader.own).start, true);
    addTable(reader, lists);
    const int step = p_.alone ? 1 : reader.count;
    for (int row = 0; row < reader.count; row += step) addItems(reader, lists, row, step);
    plan_.rows += reader.count;
  }

  Lists& listFor(std::vector<Lists>& lists, const Reader& reader, int shift) {
    for (Lists& list : lists) {
      if (list.shift == shift) return list;
    }
    lists.push_back({shift, plan_.queryRows, {}});
    plan_.queryRows += reader.count;
    return lists.back();
  }

  void addSlots(Lists& to, int of, int rows, int position, bool causal) {
    const auto& blocks = blocks_[static_cast<size_t>(of)];
    for (int row = 0; row < rows; row += kBlockRows) {
      to.slots.push_back({blocks[static_cast<size_t>(row / kBlockRows)], position + row,
                          static_cast<int16_t>(std::min(kBlockRows, rows - row)), causal});
    }
  }

  void addTable(const Reader& reader, const std::vector<Lists>& lists) {
    const auto queryRow = [&](int shift) {
      for (const Lists& list : lists) {
        if (list.shift == shift) return list.queryRow;
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
      plan_.table.push_back(pairs);
    }
  }

  // Of rows [row, row + count) of the reader.
  void addItems(const Reader& reader, const std::vector<Lists>& lists, int row, int count) {
    const size_t first = plan_.items.size();
    const int position = segment(reader.own).start + reader.firstRow + row;
    for (const Lists& list : lists) {
      const int slots = static_cast<int>(list.slots.size());
      const int each = p_.split == 0 ? slots : p_.split;
      const int base = static_cast<int>(plan_.slots.size());
      plan_.slots.insert(plan_.slots.end(), list.slots.begin(), list.slots.end());
      for (int begin = 0; begin < slots; begin += each) {
        plan_.items.push_back({base + begin, base + std::min(slots, begin + each),
                               list.queryRow + row, count, position, 0, 0});
      }
    }
    const int parts = static_cast<int>(plan_.items.size() - first);
    plan_.mostRows = std::max(plan_.mostRows, count);
    if (parts == 1) {
      plan_.items.back().whole = 1;
      plan_.items.back().state = plan_.rows + row;
    }
    for (int i = 0; i < count; ++i)
      plan_.lists.push_back({plan_.states + i, count, parts == 1 ? -1 : parts});
    if (parts == 1) return;
    for (int i = 0; i < parts; ++i)
      plan_.items[first + static_cast<size_t>(i)].state = plan_.states + i * count;
    plan_.states += parts * count;
  }

  const SegmentShape& segment(int i) const { return p_.segments[static_cast<size_t>(i)]; }

  const ViewProblem& p_;
  const std::vector<std::vector<int32_t>>& blocks_;
  Plan plan_;
};

}  // namespace baton::test
