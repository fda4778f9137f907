// SPDX-License-Identifier: Apache-2.0
// sample of sampling.h: a block for each row. Top-k and top-p look for the last logit that stays by
// its bits from the highest on, 11, 11 and 10 of them: a histogram of how many logits, and of how
// much weight, tells which numbers to look at in the next round.
#include "base/half.h"
#include "cuda/lanes.cuh"
#include "cuda/sampling.h"

namespace baton {
namespace cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kBins = 2048;
constexpr int kWarps = kThreads / kWarp;

using Weight = unsigned long long;

struct Best {
  float logit;
  int id;
};
struct BetterOf {
  __device__ Best operator()(const Best& a, const Best& b) const {
    if (a.logit != b.logit) return b.logit > a.logit ? b : a;
    return b.id < a.id ? b : a;
  }
};

// What a block has in shared memory besides its histograms.
struct Board {
  Weight prefix[kThreads];
  Weight weightAbove, wanted;
  Best best[kWarps];
  double sums[kWarps];
  unsigned key;  // of the last logit that stays, as far as it is known
  unsigned countAbove, keep;
  int token;
};

struct Shared {
  Weight weights[kBins];
  unsigned counts[kBins];
  Board board;
};

// A row, its options, and the weights that they give.
struct Row {
  const float* logits;
  int V;
  float largest, temperature;

  // Order of logits as one of integers; NaN and -infinity are 0, below all others.
  __device__ unsigned keyOf(float x) const {
    if (!(x > -INFINITY)) return 0;
    const unsigned bits = bitsOfFloat(x == 0 ? 0.0f : x);
    return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  }
  __device__ Weight weightOf(float x) const {
    if (!(x > -INFINITY)) return 0;
    return static_cast<Weight>(expf((x - largest) / temperature) * 0x1p40f);
  }
};

// The candidates are the logits whose key is larger than `key`, and `keep` of those that have it,
// in the order of ids, without those that min-p takes away.
struct Candidates {
  unsigned key, keep;
  float lowest;  // least (logit - largest) / temperature
};

__device__ __forceinline__ Best bestOverBlock(Best mine, Board& board) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const Best other{__shfl_xor_sync(kAllLanes, mine.logit, step),
                     __shfl_xor_sync(kAllLanes, mine.id, step)};
    mine = BetterOf{}(mine, other);
  }
  __syncthreads();
  if (threadIdx.x % kWarp == 0) board.best[threadIdx.x / kWarp] = mine;
  __syncthreads();
  Best all = board.best[0];
  for (int w = 1; w < kWarps; ++w) all = BetterOf{}(all, board.best[w]);
  return all;
}

__device__ __forceinline__ Best largestOf(const float* logits, int V, Board& board) {
  Best mine{-INFINITY, 0x7fffffff};
  for (int i = static_cast<int>(threadIdx.x); i < V; i += kThreads) {
    if (logits[i] > mine.logit) mine = {logits[i], i};
  }
  Best all = bestOverBlock(mine, board);
  if (!(all.logit > -INFINITY)) all.id = 0;
  return all;
}

// log(sum e^x) of a row, without the numbers that are none.
__device__ __forceinline__ float logSumOf(const float* logits, int V, Board& board) {
  const float largest = largestOf(logits, V, board).logit;
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < V; i += kThreads) {
    if (logits[i] > -INFINITY) sum += static_cast<double>(expf(logits[i] - largest));
  }
  return logf(static_cast<float>(overBlock(sum, board.sums, Sum{}))) + largest;
}

// The row as its options change it; what was there goes to `replaced`.
__device__ __forceinline__ void edit(const SampleArgs& a, const SampleRow& row, float* logits) {
  for (int i = row.editBegin + static_cast<int>(threadIdx.x); i < row.editEnd; i += kThreads) {
    const SampleEdit one = a.edits[i];
    float x = logits[one.id];
    a.replaced[i] = x;
    x = fabsf(one.bias) == INFINITY ? one.bias : x + one.bias;
    if (one.count > 0) {
      x = x > 0 ? x / row.repetitionPenalty : x * row.repetitionPenalty;
      x = x - static_cast<float>(one.count) * row.frequencyPenalty - row.presencePenalty;
    }
    logits[one.id] = x;
  }
  __syncthreads();
}

__device__ __forceinline__ void restore(const SampleArgs& a, const SampleRow& row, float* logits) {
  __syncthreads();
  for (int i = row.editBegin + static_cast<int>(threadIdx.x); i < row.editEnd; i += kThreads) {
    logits[a.edits[i].id] = a.replaced[i];
  }
  __syncthreads();
}

// Counts and weights of the logits whose bits above `shift` + bits are those of `key`.
__device__ __forceinline__ void histogram(const Row& row, unsigned key, int shift, int bits,
                                          Shared& at) {
  for (int i = static_cast<int>(threadIdx.x); i < kBins; i += kThreads) {
    at.weights[i] = 0;
    at.counts[i] = 0;
  }
  __syncthreads();
  const int above = shift + bits;
  for (int i = static_cast<int>(threadIdx.x); i < row.V; i += kThreads) {
    const float x = row.logits[i];
    const unsigned own = row.keyOf(x);
    if (above < 32 && own >> above != key >> above) continue;
    const unsigned bin = own >> shift & ((1u << bits) - 1);
    atomicAdd(&at.counts[bin], 1u);
    atomicAdd(&at.weights[bin], row.weightOf(x));
  }
  __syncthreads();
}

// One thread: from the largest numbers down to the bin in which the count or the weight is full.
__device__ __forceinline__ void narrow(unsigned most, int shift, int bits, Shared& at) {
  Board& board = at.board;
  int bin = (1 << bits) - 1;
  for (; bin > 0; --bin) {
    const bool full = board.countAbove + at.counts[bin] >= most ||
                      board.weightAbove + at.weights[bin] >= board.wanted;
    if (full) break;
    board.countAbove += at.counts[bin];
    board.weightAbove += at.weights[bin];
  }
  board.key |= static_cast<unsigned>(bin) << shift;
}

// How many of `count` equal logits, each with a share of `weights`, it takes.
__device__ __forceinline__ unsigned equals(unsigned most, unsigned count, Weight weights,
                                           const Board& at) {
  unsigned keep = most - at.countAbove < count ? most - at.countAbove : count;
  if (count == 0 || weights == 0) return keep;
  const Weight each = weights / count;  // all have the same
  const Weight missing = at.wanted > at.weightAbove ? at.wanted - at.weightAbove : 1;
  const Weight needed = (missing + each - 1) / each;
  return needed < keep ? static_cast<unsigned>(needed) : keep;
}

// The fewest of the largest logits that are `most` or weigh `wanted`, whichever is less. Their
// weight is left in board.weightAbove.
__device__ __forceinline__ void select(const Row& row, unsigned most, Weight wanted, Shared& at) {
  Board& board = at.board;
  if (threadIdx.x == 0) {
    board.key = board.countAbove = 0;
    board.weightAbove = 0;
    board.wanted = wanted;
  }
  constexpr int kLastBits = 10;
  for (int above = 32; above > 0;) {
    const int bits = above > kLastBits ? 11 : kLastBits;
    above -= bits;
    __syncthreads();
    histogram(row, board.key, above, bits, at);
    if (threadIdx.x == 0) narrow(most, above, bits, at);
  }
  if (threadIdx.x == 0) {
    const unsigned bin = board.key & ((1u << kLastBits) - 1);
    const unsigned count = at.counts[bin];
    board.keep = equals(most, count, at.weights[bin], board);
    if (count > 0) board.weightAbove += at.weights[bin] / count * board.keep;
  }
  __syncthreads();
}

// What top-k and top-p leave, and the least distance that min-p allows.
__device__ __forceinline__ Candidates filter(const Row& row, const SampleRow& options, Shared& at) {
  const float lowest = options.minP > 0 ? logf(options.minP) : -INFINITY;
  constexpr Weight kAll = ~Weight{0};
  const bool some = options.topK > 0 && options.topK < row.V;
  if (!some && options.topP >= 1) return {0, 0, lowest};
  const unsigned most = some ? static_cast<unsigned>(options.topK) : static_cast<unsigned>(row.V);
  select(row, most, kAll, at);
  if (options.topP < 1) {
    const double all = static_cast<double>(at.board.weightAbove);
    const auto wanted = static_cast<Weight>(ceil(static_cast<double>(options.topP) * all));
    __syncthreads();
    select(row, most, wanted > 0 ? wanted : 1, at);
  }
  return {at.board.key, at.board.keep, lowest};
}

// Of each thread's numbers, to the sum of those of the threads before it.
__device__ __forceinline__ Weight before(Weight mine, Board& board, Weight& all) {
  __syncthreads();
  board.prefix[threadIdx.x] = mine;
  __syncthreads();
  for (unsigned step = 1; step < kThreads; step *= 2) {
    const Weight other = threadIdx.x >= step ? board.prefix[threadIdx.x - step] : 0;
    __syncthreads();
    board.prefix[threadIdx.x] += other;
    __syncthreads();
  }
  all = board.prefix[kThreads - 1];
  return board.prefix[threadIdx.x] - mine;
}

// floor(a b / 2^64).
__device__ __forceinline__ Weight upperProduct(Weight a, Weight b) {
  const Weight low = 0xffffffffu;
  const Weight middle = (a >> 32) * (b & low) + ((a & low) * (b & low) >> 32);
  const Weight other = (a & low) * (b >> 32) + (middle & low);
  return (a >> 32) * (b >> 32) + (middle >> 32) + (other >> 32);
}

// The numbers of a thread are neighbours, so that sums over threads are in the order of ids.
struct Share {
  int begin, end;
};
__device__ __forceinline__ Share shareOf(int V) {
  const int each = (V + kThreads - 1) / kThreads;
  const int begin = each * static_cast<int>(threadIdx.x);
  return {begin < V ? begin : V, begin + each < V ? begin + each : V};
}

// Weight of number i, if it is a candidate. `equal`: how many with the last key came before.
__device__ __forceinline__ Weight weightAt(const Row& row, const Candidates& of, int i,
                                           unsigned& equal) {
  const float x = row.logits[i];
  const unsigned key = row.keyOf(x);
  if (key == 0 || key < of.key) return 0;
  if (of.key != 0 && key == of.key && equal++ >= of.keep) return 0;
  if ((x - row.largest) / row.temperature < of.lowest) return 0;
  return row.weightOf(x);
}

__device__ __forceinline__ int draw(const Row& row, const Candidates& of, uint64_t random, int best,
                                    Board& board) {
  const Share share = shareOf(row.V);
  Weight equalsMine = 0, ignored;
  for (int i = share.begin; i < share.end && of.key != 0; ++i) {
    if (row.keyOf(row.logits[i]) == of.key) ++equalsMine;
  }
  const auto equalBefore = static_cast<unsigned>(before(equalsMine, board, ignored));
  Weight mine = 0, all;
  unsigned equal = equalBefore;
  for (int i = share.begin; i < share.end; ++i) mine += weightAt(row, of, i, equal);
  const Weight start = before(mine, board, all);
  const Weight target = upperProduct(random, all);
  if (threadIdx.x == 0) board.token = best;
  __syncthreads();
  if (start <= target && target < start + mine) {  // one thread at most
    Weight sum = start;
    equal = equalBefore;
    for (int i = share.begin; i < share.end; ++i) {
      sum += weightAt(row, of, i, equal);
      if (target >= sum) continue;
      board.token = i;
      break;
    }
  }
  __syncthreads();
  return board.token;
}

__global__ void __launch_bounds__(kThreads, 2) sample(SampleArgs a, int r0) {
  Shared& at = *sharedMemory<Shared>();
  const size_t r = static_cast<size_t>(r0) + blockIdx.x;
  const SampleRow options = a.rows[r];
  float* logits = a.logits + static_cast<size_t>(options.row) * static_cast<size_t>(a.V);
  const float logSum = a.logprobs == nullptr ? 0.0f : logSumOf(logits, a.V, at.board);
  edit(a, options, logits);
  const Best best = largestOf(logits, a.V, at.board);
  int token = best.id;
  if (options.temperature > 0 && best.logit > -INFINITY) {
    const Row row{logits, a.V, best.logit, options.temperature};
    token = draw(row, filter(row, options, at), options.random, best.id, at.board);
  }
  restore(a, options, logits);
  if (threadIdx.x != 0) return;
  a.tokens[r] = token;
  if (a.logprobs != nullptr) a.logprobs[r] = logits[token] - logSum;
}

}  // namespace
}  // namespace cuda

void sampleCuda(const SampleArgs& a, int r0, int r1) {
  if (r0 >= r1) return;
  cuda::launch(cuda::sample, dim3(static_cast<unsigned>(r1 - r0)), cuda::kThreads,
               sizeof(cuda::Shared), a, r0);
}

}  // namespace baton
