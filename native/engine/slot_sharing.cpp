// SPDX-License-Identifier: Apache-2.0
#include "engine/slot_sharing.h"

#include <algorithm>
#include <tuple>

namespace baton {
namespace {

const KvSlot& firstOf(const std::vector<KvSlot>& slots, const AttendItem& item) {
  return slots[static_cast<size_t>(item.slotBegin)];
}

const KvSlot& lastOf(const std::vector<KvSlot>& slots, const AttendItem& item) {
  return slots[static_cast<size_t>(item.slotEnd - 1)];
}

// What tells most items that read other blocks apart.
auto keyOf(const std::vector<KvSlot>& slots, const AttendItem& item) {
  return std::tuple(firstOf(slots, item).block, lastOf(slots, item).block,
                    item.slotEnd - item.slotBegin);
}

// Whether both read the same rows of the same blocks, which stand alike in both frames but for a
// distance.
bool readSame(const std::vector<KvSlot>& slots, const AttendItem& one, const AttendItem& other) {
  if (one.slotEnd - one.slotBegin != other.slotEnd - other.slotBegin) return false;
  const int apart = firstOf(slots, other).position - firstOf(slots, one).position;
  const auto begin = slots.begin() + one.slotBegin;
  return std::equal(begin, slots.begin() + one.slotEnd, slots.begin() + other.slotBegin,
                    [&](const KvSlot& a, const KvSlot& b) {
                      return a.block == b.block && a.rows == b.rows && a.causal == b.causal &&
                             b.position - a.position == apart;
                    });
}

}  // namespace

void SlotSharing::join(const std::vector<KvSlot>& slots, int fewRows, int mostRows,
                       const ShareGate& gate, std::vector<AttendItem>& items,
                       std::vector<AttendRow>& rows) {
  addCandidates(slots, items, fewRows);
  groups_.clear();
  for (size_t begin = 0; begin < members_.size();) {
    const AttendItem& leader = items[members_[begin]];
    size_t sameKey = begin + 1;
    while (sameKey < members_.size() &&
           keyOf(slots, items[members_[sameKey]]) == keyOf(slots, leader)) {
      ++sameKey;
    }
    const auto at = [&](size_t i) { return members_.begin() + static_cast<std::ptrdiff_t>(i); };
    const auto end = std::stable_partition(
        at(begin), at(sameKey), [&](size_t i) { return readSame(slots, leader, items[i]); });
    const auto next = static_cast<size_t>(end - members_.begin());
    addGroups(items, begin, next, mostRows, gate.sharers);
    begin = next;
  }
  int shared = 0;
  for (const Group& group : groups_) {
    const AttendItem& leader = items[members_[group.begin]];
    for (int s = leader.slotBegin; s < leader.slotEnd; ++s)
      shared += slots[static_cast<size_t>(s)].rows;
  }
  if (shared < gate.rows) return;
  for (const Group& group : groups_) addItem(slots, group, items, rows);
  items.erase(std::remove_if(items.begin(), items.end(),
                             [](const AttendItem& item) { return item.slotEnd == 0; }),
              items.end());
}

// Only the last slots of a view are causal, so an item whose last one is not has none.
void SlotSharing::addCandidates(const std::vector<KvSlot>& slots,
                                const std::vector<AttendItem>& items, int fewRows) {
  members_.clear();
  for (size_t i = 0; i < items.size(); ++i) {
    const AttendItem& item = items[i];
    if (item.rows <= fewRows && lastOf(slots, item).causal == 0) members_.push_back(i);
  }
  std::sort(members_.begin(), members_.end(), [&](size_t a, size_t b) {
    const auto one = keyOf(slots, items[a]), other = keyOf(slots, items[b]);
    return one == other ? a < b : one < other;
  });
}

// Groups of about as many rows as each other, so that none of them is left with too few readers.
void SlotSharing::addGroups(const std::vector<AttendItem>& items, size_t begin, size_t end,
                            int mostRows, int sharers) {
  int all = 0;
  for (size_t i = begin; i < end; ++i) all += items[members_[i]].rows;
  const int parts = (all + mostRows - 1) / mostRows;
  const int wanted = (all + parts - 1) / parts;
  while (begin < end) {
    Group group{begin, begin, 0};
    while (group.end < end && group.rows < wanted &&
           group.rows + items[members_[group.end]].rows <= mostRows) {
      group.rows += items[members_[group.end++]].rows;
    }
    if (group.end - group.begin >= static_cast<size_t>(sharers)) groups_.push_back(group);
    begin = group.end;
  }
}

// Those that it joins are left without slots.
void SlotSharing::addItem(const std::vector<KvSlot>& slots, const Group& group,
                          std::vector<AttendItem>& items, std::vector<AttendRow>& rows) const {
  const auto first = static_cast<std::ptrdiff_t>(rows.size());
  const AttendItem leader = items[members_[group.begin]];
  for (size_t i = group.begin; i < group.end; ++i) {
    AttendItem& item = items[members_[i]];
    const int apart = firstOf(slots, leader).position - firstOf(slots, item).position;
    for (int row = 0; row < item.rows; ++row)
      rows.push_back({item.queryRow + row, item.position + row + apart, item.state + row});
    item.slotBegin = item.slotEnd = 0;
  }
  std::stable_sort(rows.begin() + first, rows.end(),
                   [](const AttendRow& a, const AttendRow& b) { return a.position < b.position; });
  items.push_back(
      {leader.slotBegin, leader.slotEnd, static_cast<int32_t>(first), group.rows, 0, 0, 0, 1});
}

}  // namespace baton
