// SPDX-License-Identifier: Apache-2.0
// Rows that a job in flight is going to compute, by identity: whoever needs the same rows may wait
// for them instead of computing them again. An entry holds until its job has computed the rows,
// when they are found in the content index, or has ended. Belongs to the engine thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <unordered_map>

#include "base/hash.h"
#include "engine/job.h"

namespace baton {

class Underway {
 public:
  // Rows that `job` computes: those that end with `identity` are there when it has computed `rows`
  // of its rows. Ignored while another job is going to compute them.
  void add(const Digest& identity, JobState& job, int64_t rows);

  // How many rows are computed before those that end with `identity` are there; 0: nobody is going
  // to compute them.
  int64_t rowsUntil(const Digest& identity) const;

  // The job has ended, however it did.
  void end(JobState& job);

 private:
  struct Hash {
    size_t operator()(const Digest& digest) const noexcept {
      size_t value = 0;
      std::memcpy(&value, digest.data(), sizeof(value));
      return value;
    }
  };
  struct Entry {
    const JobState* job;
    int64_t rows;
  };
  std::unordered_map<Digest, Entry, Hash> entries_;
};

}  // namespace baton
