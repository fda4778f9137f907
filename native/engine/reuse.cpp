// SPDX-License-Identifier: Apache-2.0
// Rows that need not be computed because a closed segment had the very same: before a job begins,
// what it will append is identified, block by block, and known blocks are held by the new segment
// too. A segment that begins on blocks of another one is read like any other, so its bits are those
// of a segment computed in one go.
#include <algorithm>
#include <map>
#include <utility>

#include "engine/engine.h"

namespace baton {
namespace {

// Identities of the rows of a job's segments as they will be.
using Chains = std::map<const Segment*, IdentityChain>;

// Null: something that the segment reads has no identity.
IdentityChain* chainOf(Chains& chains, const Segment& segment,
                       const std::vector<SegmentRead>& reads) {
  const auto known = chains.find(&segment);
  if (known != chains.end()) return &known->second;
  std::vector<Digest> identities;
  for (const SegmentRead& read : reads) {
    const auto own = chains.find(read.segment.get());
    if (own != chains.end() && read.rows <= own->second.rows()) {
      identities.push_back(own->second.at(read.rows));
      continue;
    }
    const std::optional<Digest> identity = read.segment->digest(read.rows);
    if (!identity) return nullptr;
    identities.push_back(*identity);
  }
  return &chains.emplace(&segment, segment.chainAfter(reads, identities)).first->second;
}

}  // namespace

void Engine::reuse(JobState& job) {
  const std::vector<Append>& appends = job.job.appends;
  job.found.assign(appends.size(), 0);
  countReads(job);
  if (job.job.logits == LogitsWanted::kAll) return;  // every row is computed for its logits
  size_t last = appends.size();                      // the append whose last row gives logits
  if (job.job.generate || job.job.logits == LogitsWanted::kLast) {
    do --last;
    while (appends[last].count == 0 && last > 0);
  }
  Chains chains;
  for (size_t i = 0; i < appends.size(); ++i) {
    const Append& append = appends[i];
    if (append.count == 0) continue;
    IdentityChain* chain =
        pool_->indexed() ? chainOf(chains, *append.segment, job.reads[i]) : nullptr;
    const int before = append.segment->rows();
    const bool first = before == 0 && (chain == nullptr || chain->rows() == 0);
    const bool all = chain != nullptr && chain->rows() == before;  // nothing else comes between
    if (chain != nullptr) {
      if (append.tokens.empty()) {
        chain->addSoft(append.embeddings.data(), append.count, model_->config.hidden);
      } else {
        chain->addTokens(append.tokens.data(), append.count);
      }
    }
    MissReason reason = pool_->indexed() ? MissReason::kNeverSeen : MissReason::kIndexOff;
    if (all && before % kBlockRows == 0) reason = adoptKnown(job, i, *chain, i == last);
    if (first || job.found[i] > 0) {
      const int found = job.found[i];
      sink_->post({job.id, FoundEvent{static_cast<int>(i), found, append.count - found, reason}});
    }
  }
  for (const int found : job.found) {
    job.totalRows -= found;
    job.stats.rowsFound += found;
  }
  job.appendRow = job.found[0];
  skipDone(job);
}

// Whole blocks from the append's first row on, and the rest of it if its segment ends there.
MissReason Engine::adoptKnown(JobState& job, size_t index, const IdentityChain& chain,
                              bool logitsWanted) {
  const Append& append = job.job.appends[index];
  const int before = append.segment->rows();
  const int most = logitsWanted ? (append.count - 1) / kBlockRows * kBlockRows : append.count;
  const int full = most / kBlockRows;
  const bool tail = append.close && most == append.count && most % kBlockRows != 0;
  std::vector<Digest> identities;
  for (int block = 1; block <= full; ++block)
    identities.push_back(chain.at(before + block * kBlockRows));
  if (tail) identities.push_back(chain.at(before + append.count));

  std::vector<int32_t> blocks;
  const size_t known = pool_->find(identities.data(), identities.size(), blocks);
  const bool everything = tail && known == identities.size();
  const int found = everything ? append.count : static_cast<int>(known) * kBlockRows;
  if (known > 0) {
    append.segment->adopt(blocks, everything);
    if (append.tokens.empty()) {
      append.segment->commitRows(append.embeddings.data(), found, model_->config.hidden);
    } else {
      append.segment->commitTokens(append.tokens.data(), found);
    }
    job.found[index] = found;
  }
  if (found == append.count) return MissReason::kNone;
  if (known == identities.size())
    return most < append.count ? MissReason::kLogitsNeeded : MissReason::kPartOfBlock;
  const Digest content = chain.content();
  return pool_->why(identities[known], before + found == 0 ? &content : nullptr);
}

// Rows that the job's new segments read and that are there already.
void Engine::countReads(JobState& job) {
  for (size_t j = 0; j < job.claimed.size(); ++j) {
    if (job.rowsBefore[j] > 0) continue;
    size_t i = 0;
    while (job.job.appends[i].segment != job.claimed[j]) ++i;
    for (const SegmentRead& read : job.reads[i]) {
      const auto& own = job.claimed;
      if (std::find(own.begin(), own.end(), read.segment) == own.end()) job.rowsRead += read.rows;
    }
  }
}

// On to the next row to compute: over appends without any left (all found, or an output without
// opener, whose first token comes from the row before) and over the found rows of the one after.
void Engine::skipDone(JobState& job) {
  while (job.prefilling() && job.appendRow == job.job.appends[job.append].count) {
    ++job.append;
    job.appendRow = job.prefilling() ? job.found[job.append] : 0;
  }
}

}  // namespace baton
