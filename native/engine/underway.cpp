// SPDX-License-Identifier: Apache-2.0
#include "engine/underway.h"

#include <algorithm>

namespace baton {

void Underway::add(const Digest& identity, JobState& job, int64_t rows) {
  if (rowsUntil(identity) > 0) return;
  entries_.insert_or_assign(identity, Entry{&job, rows});
  job.underway.push_back(identity);
}

int64_t Underway::rowsUntil(const Digest& identity) const {
  const auto found = entries_.find(identity);
  if (found == entries_.end()) return 0;
  return std::max<int64_t>(0, found->second.rows - found->second.job->doneRows);
}

void Underway::end(JobState& job) {
  for (const Digest& identity : job.underway) {
    const auto found = entries_.find(identity);
    if (found != entries_.end() && found->second.job == &job) entries_.erase(found);
  }
  job.underway.clear();
}

}  // namespace baton
