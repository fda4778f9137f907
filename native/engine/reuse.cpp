// SPDX-License-Identifier: Apache-2.0
// Rows that need not be computed because the very same were, or are about to be: before a job
// begins, what it will append is identified, block by block, and known blocks are held by the new
// segment too. A segment that begins on blocks of another one is read like any other, so its bits
// are those of a segment computed in one go.
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

// The append whose last row gives logits; their number: none.
size_t logitsAppend(const Job& job) {
  size_t last = job.appends.size();
  if (!job.generate && job.logits != LogitsWanted::kLast) return last;
  do --last;
  while (job.appends[last].count == 0 && last > 0);
  return last;
}

AppendContent contentOf(const Append& append, const IdentityChain& chain, bool logitsWanted) {
  AppendContent content;
  const int before = append.segment->rows();
  content.begins = before == 0 && chain.rows() == append.count;
  // Something else comes between, or its first rows share a block with earlier ones.
  if (chain.rows() != before + append.count || before % kBlockRows != 0) return content;
  content.firstBlock = before / kBlockRows;
  content.rows = chain.content(append.segment->scope());
  const int full = append.count / kBlockRows;
  for (int block = 1; block <= full; ++block)
    content.identities.push_back(chain.at(before + block * kBlockRows));
  if (append.close && append.count % kBlockRows != 0)
    content.identities.push_back(chain.at(before + append.count));
  content.findable = content.identities.size();
  content.reason = logitsWanted ? MissReason::kLogitsNeeded : MissReason::kPartOfBlock;
  if (logitsWanted) {
    const auto whole = static_cast<size_t>((append.count - 1) / kBlockRows);
    content.findable = std::min(content.findable, whole);
  }
  return content;
}

}  // namespace

void Engine::identify(JobState& job) const {
  const std::vector<Append>& appends = job.job.appends;
  job.content.resize(appends.size());
  if (job.job.logits == LogitsWanted::kAll) return;  // every row is computed for its logits
  const size_t last = logitsAppend(job.job);
  Chains chains;
  for (size_t i = 0; i < appends.size(); ++i) {
    const Append& append = appends[i];
    if (append.count == 0) continue;
    AppendContent& content = job.content[i];
    IdentityChain* chain =
        pool_->indexed() ? chainOf(chains, *append.segment, job.reads[i]) : nullptr;
    if (chain == nullptr) {
      content.begins = append.segment->rows() == 0;
      content.reason = pool_->indexed() ? MissReason::kNeverSeen : MissReason::kIndexOff;
      continue;
    }
    if (append.tokens.empty()) {
      chain->addSoft(append.embeddings.data(), append.count, model_->config.hidden);
    } else {
      chain->addTokens(append.tokens.data(), append.count);
    }
    content = contentOf(append, *chain, i == last);
  }
}

// A job waits for rows that another one is going to compute, and then finds them: what several jobs
// begin with at the same moment is computed once. Only a job that has started is waited for, and
// one that waits holds nothing and is waited for by nobody, so that no two wait for each other; if
// the other one fails, it computes the rows itself. It does not stand behind a long prefill for a
// few rows: it waits for at most four times the rows that it saves, or one forward.
bool Engine::mustWait(JobState& job) const {
  if (job.awaited && underway_.rowsUntil(*job.awaited) > 0) return true;
  job.awaited.reset();
  int64_t longest = 0, saved = 0;
  for (size_t i = 0; i < job.content.size(); ++i) {
    const AppendContent& content = job.content[i];
    const size_t known = pool_->known(content.identities.data(), content.findable);
    size_t end = known;
    int64_t rows = 0;
    for (; end < content.findable; ++end) {
      const int64_t until = underway_.rowsUntil(content.identities[end]);
      if (until == 0) break;
      rows = std::max(rows, until);
    }
    if (end == known) continue;
    saved += rowsOf(job.job.appends[i], end) - rowsOf(job.job.appends[i], known);
    if (rows <= longest) continue;
    longest = rows;
    job.awaited = content.identities[end - 1];
  }
  if (longest > std::max<int64_t>(4 * saved, options_.maxBatchRows)) job.awaited.reset();
  return job.awaited.has_value();
}

void Engine::reuse(JobState& job) {
  const std::vector<Append>& appends = job.job.appends;
  job.found.assign(appends.size(), 0);
  countReads(job);
  for (size_t i = 0; i < appends.size(); ++i) {
    const int count = appends[i].count;
    const AppendContent& content = job.content[i];
    MissReason reason = content.reason;
    if (!content.identities.empty()) reason = adoptKnown(job, i);
    const int found = job.found[i];
    if (content.begins || found > 0)
      sink_->post({job.id, FoundEvent{static_cast<int>(i), found, count - found, reason}});
  }
  for (const int found : job.found) {
    job.totalRows -= found;
    job.stats.rowsFound += found;
  }
  job.restore.reset();  // what came is held by the segments now
  job.appendRow = job.found[0];
  skipDone(job);
}

// Whole blocks from the append's first row on, and the rest of it if its segment ends there.
MissReason Engine::adoptKnown(JobState& job, size_t index) {
  const Append& append = job.job.appends[index];
  const AppendContent& content = job.content[index];
  std::vector<int32_t> blocks;
  const size_t known = pool_->find(content.identities.data(), content.findable, blocks);
  const int found = rowsOf(append, known);
  if (known > 0) {
    append.segment->adopt(blocks, found % kBlockRows != 0);
    if (append.tokens.empty()) {
      append.segment->commitRows(append.embeddings.data(), found, model_->config.hidden);
    } else {
      append.segment->commitTokens(append.tokens.data(), found);
    }
    job.found[index] = found;
  }
  if (found == append.count) return MissReason::kNone;
  if (known < content.findable) {
    if (content.recompute) return MissReason::kComputedFaster;
    const bool nothing = content.firstBlock == 0 && found == 0;
    return pool_->why(content.identities[known], nothing ? &content.rows : nullptr);
  }
  return content.reason;
}

// What it is going to compute, so that others need not.
void Engine::announce(JobState& job) {
  int64_t rows = 0;  // computed before the append
  for (size_t i = 0; i < job.content.size(); ++i) {
    const Append& append = job.job.appends[i];
    const std::vector<Digest>& identities = job.content[i].identities;
    const int found = job.found[i];
    for (size_t k = static_cast<size_t>(found / kBlockRows); k < identities.size(); ++k) {
      const int end = rowsOf(append, k + 1);
      if (end > found) underway_.add(identities[k], job, rows + end - found);
    }
    rows += append.count - found;
  }
}

// Rows [row, row + count) of the append are computed. Its whole blocks, and all of it if it closes
// its segment, will not be written again: found from now on. If the job fails later, it lets go of
// its blocks, and what is in them stays right.
void Engine::offerDone(const JobState& job, const Append& append, int row, int count) {
  const auto index = static_cast<size_t>(&append - job.job.appends.data());
  const AppendContent& content = job.content[index];
  const auto from = static_cast<size_t>(row / kBlockRows);
  const int end = row + count;
  const size_t to =
      end == append.count ? content.identities.size() : static_cast<size_t>(end / kBlockRows);
  if (content.identities.empty() || to <= from) return;
  const int32_t* blocks = append.segment->blocks() + content.firstBlock;
  pool_->offer(&content.identities[from], blocks + from, to - from, nullptr,
               append.segment->blockCost());
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
