// SPDX-License-Identifier: Apache-2.0
// A segment: a run of rows written once, append-only, in a frame of its own; immutable when closed.
// It owns its blocks and holds the segments that it reads for as long as it is open, because only
// then can a row of it still be written.
//
// Identity (identity.h): the head covers model content, KV format, salt, the segment's kind and
// start and, in view order, identity, rows and shift of everything read; each block adds its rows'
// token ids (or the digest of a soft row). A prefix of a segment therefore has an identity too, and
// a new segment may begin on the blocks of another one whose rows have the same identity.
//
// Threads: rows are appended by the engine thread; handles are closed and asked from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/hash.h"
#include "cache/identity.h"
#include "cache/pool.h"

namespace baton {

enum class SegmentKind : uint8_t { kPrompt, kInput, kOutput };

class Segment;

// One read of a view: the first `rows` rows of `segment`, seen from a reader whose positions are
// the writer's plus `shift`.
struct SegmentRead {
  std::shared_ptr<Segment> segment;
  int rows;
  int shift;
};

struct SegmentSpec {
  SegmentKind kind;
  int start;                       // frame position of row 0
  std::vector<SegmentRead> reads;  // in view order
  std::string salt = {};           // equal rows under another salt are not the same rows
};

class Segment {
 public:
  // `scope` names model content and KV format in identities.
  Segment(std::shared_ptr<Pool> pool, SegmentSpec spec, std::string scope);
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  SegmentKind kind() const { return spec_.kind; }
  int start() const { return spec_.start; }
  const std::string& scope() const { return scope_; }  // with the salt

  int rows() const;
  bool closed() const;
  size_t blockCount() const;
  std::vector<int32_t> blockNumbers() const;

  // Open segments on the longest path of reads that begins here, itself counted; 0 when closed.
  int openDepth() const;

  // Copy of the reads, for a job that must keep them whatever happens to this handle.
  std::vector<SegmentRead> reads() const;

  // Engine thread. Makes room for `rows` rows in all; Error(CACHE_BUDGET) changes nothing. Returned
  // pointer: blocks.
  const int32_t* reserve(int rows);
  const int32_t* blocks() const { return blocks_.data(); }

  // Engine thread. Declares rows written: `count` token ids, or digests of soft rows.
  void commitTokens(const int32_t* ids, int count);
  void commitRows(const float* rows, int count, int width);

  // Engine thread, or before another one knows of it, before the rows are committed. Takes over
  // blocks, each held once for this segment, that have the next rows: only at the end of a whole
  // block. `whole`: the last one is not full, so that no row may follow.
  void adopt(const std::vector<int32_t>& blocks, bool whole);

  // Blocks that `reserve(rows)` would take.
  size_t blocksMissing(int rows) const;

  // Engine thread. Drops rows at and beyond `rows`, and blocks that hold none.
  void truncate(int rows);

  // No more rows; lets go of what it read, and its content may be found. Idempotent.
  void close();

  // Its rows are never found by their content, however it is closed: what they are, only the scope
  // or the salt says.
  void setUnfound();

  // What is to become of its blocks when nobody holds them any more.
  void retain(const Retention& retention);

  // FLOP to compute a block of it again.
  double blockCost() const;

  // The same as close() with `rows` rows of which only the scope says what they are.
  void closeUnfound(int rows);

  // Appends the blocks of the first `rows` rows, each held once more, so that those rows stay what
  // they are for whoever releases them later. Error(OPTION_INVALID) if there are not so many.
  void hold(int rows, std::vector<int32_t>& blocks) const;

  // Appends the token ids of the first `rows` rows, -1 for those that are no tokens.
  void copyTokens(int rows, std::vector<int32_t>& into) const;

  // Identity of the first `rows` rows; nothing while something that it reads is not fully written,
  // and for rows of a job that has not ended, because they may yet be taken back.
  std::optional<Digest> digest(int rows) const;
  std::string identity(int rows) const;  // in hex; empty for none

  // What rows of this segment would be identified by if its reads had these identities, by read.
  // Rows that are there already included.
  IdentityChain chainAfter(const std::vector<SegmentRead>& reads,
                           const std::vector<Digest>& identities) const;

  // One job at a time may append. False if one already does or the segment is closed.
  bool beginAppend();
  void endAppend();
  bool appending() const;

  const std::shared_ptr<Pool>& pool() const { return pool_; }

 private:
  bool sealHead() const;  // needs mutex_
  void offerLocked();
  double blockCostLocked() const;
  Digest headOf(const std::vector<SegmentRead>& reads, const std::vector<Digest>& identities) const;

  std::shared_ptr<Pool> pool_;
  SegmentSpec spec_;
  std::string scope_;
  mutable std::mutex mutex_;
  std::vector<int32_t> blocks_;
  mutable IdentityChain chain_;  // headed once everything that is read is written
  int rows_ = 0;
  int settledRows_ = 0;  // rows_ when the job that appends now began
  bool closed_ = false;
  bool unnamed_ = false;  // of whose rows only the scope says what they are
  bool whole_ = false;    // ends in the middle of a block that others hold too
  bool offered_ = false;
  int openDepth_ = 1;
  bool appending_ = false;
  double rowsRead_ = 0;  // of its view
  Retention retention_;
};

}  // namespace baton
