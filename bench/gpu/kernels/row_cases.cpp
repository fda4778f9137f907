// SPDX-License-Identifier: Apache-2.0
// What works row by row: norms, K and V of new rows into the pool, the token of a row of logits.
#include "base/half.h"
#include "cuda/sampling.h"
#include "gpu/kernels/bench.h"
#include "kernels/cost.h"

namespace baton::bench {
namespace {

void rmsnorm(GpuBench& bench, int columns, int rows) {
  const auto count = static_cast<size_t>(columns) * static_cast<size_t>(rows);
  RmsNormArgs args{};
  args.M = columns;
  args.epsilon = 1e-5f;
  const Cost cost = rmsnormCost(args, rows);
  const int copies = bench.copiesOf(cost.bytes);
  const auto all = static_cast<size_t>(copies) * count;
  DeviceBuffer x = bench.floats(all), weight = bench.floats(static_cast<size_t>(columns));
  DeviceBuffer y = bench.room(4 * all);
  args.weight = weight.as<float>();
  bench.measure({cost.bytes, cost.flops}, copies, {y.as<float>(), all}, [&](int i) {
    args.x = x.as<float>() + static_cast<size_t>(i) * count;
    args.y = y.as<float>() + static_cast<size_t>(i) * count;
    bench.kernels().ops->rmsnorm(args, 0, rows);
  });
}

struct AppendShape {
  int H, G, D, rows;
};

// Rows of one input, each read as it was written: one rotated copy of q.
void append(GpuBench& bench, const AppendShape& s) {
  const auto R = static_cast<size_t>(s.rows), D = static_cast<size_t>(s.D);
  const size_t queries = R * static_cast<size_t>(s.H) * D, keys = R * static_cast<size_t>(s.G) * D;
  const size_t headBytes = kvHeadBytes(KvType::kBF16, s.D);
  const size_t blockBytes = 2 * static_cast<size_t>(s.G) * headBytes;
  const size_t blocks = (R + kBlockRows - 1) / kBlockRows;
  std::vector<int32_t> positions, block, slot;
  for (int row = 0; row < s.rows; ++row) {
    positions.push_back(row);
    block.push_back(row / kBlockRows);
    slot.push_back(row % kBlockRows);
  }
  DeviceBuffer at = bench.list(positions), into = bench.list(block), inside = bench.list(slot);
  DeviceBuffer cos = bench.floats(R * D / 2), sin = bench.floats(R * D / 2);
  const double turns = static_cast<double>(R * D) * 4;  // both tables
  // q read and its copy written, k and v read in float32 and written in bfloat16.
  const double bytes =
      8.0 * static_cast<double>(queries) + 2 * 6.0 * static_cast<double>(keys) + turns;
  const int copies = bench.copiesOf(bytes);
  const auto times = static_cast<size_t>(copies);
  DeviceBuffer q = bench.floats(times * queries), kv = bench.floats(times * 2 * keys);
  DeviceBuffer pool = bench.room(times * blocks * blockBytes);
  DeviceBuffer rotated = bench.room(4 * times * queries);
  KvAppendArgs args{};
  args.ldq = s.H * s.D;
  args.ldk = args.ldv = s.G * s.D;
  args.rows = args.queryRows = s.rows;
  args.H = s.H;
  args.G = s.G;
  args.D = s.D;
  args.epsilon = 1e-5f;
  args.cos = cos.as<float>();
  args.sin = sin.as<float>();
  args.pairing = RopePairing::kHalves;
  args.keyPositions = args.queryPositions = args.queryRow = at.as<int32_t>();
  args.kv = KvType::kBF16;
  args.headStride = headBytes;
  args.blockStride = blockBytes;
  args.block = into.as<int32_t>();
  args.slot = inside.as<int32_t>();
  bench.measure({bytes, 0}, copies, {rotated.as<float>(), times * queries}, [&](int i) {
    const auto copy = static_cast<size_t>(i);
    args.q = q.as<float>() + copy * queries;
    args.k = kv.as<float>() + copy * 2 * keys;
    args.v = args.k + keys;
    args.kBase = pool.data() + copy * blocks * blockBytes;
    args.vBase = args.kBase + static_cast<size_t>(s.G) * headBytes;
    args.rotated = rotated.as<float>() + copy * queries;
    bench.kernels().kvAppend(args);
  });
}

struct SampleOptions {
  float temperature;
  int32_t topK;
  float topP;
};

void sample(GpuBench& bench, const SampleOptions& options, int vocab, int rows) {
  const auto V = static_cast<size_t>(vocab), R = static_cast<size_t>(rows);
  std::vector<SampleRow> requests;
  for (int row = 0; row < rows; ++row) {
    requests.push_back({row, options.temperature, options.topK, options.topP, 0, 1, 0, 0, 0, 0,
                        uint64_t{1} << 63});
  }
  DeviceBuffer rowList = bench.list(requests);
  const double bytes = floatBytes(rows, vocab);
  const int copies = bench.copiesOf(bytes);
  const auto times = static_cast<size_t>(copies);
  DeviceBuffer logits = bench.floats(times * R * V), tokens = bench.room(4 * R);
  DeviceBuffer logprobs = bench.room(4 * R);
  SampleArgs args{};
  args.V = vocab;
  args.rows = rowList.as<SampleRow>();
  args.tokens = tokens.as<int32_t>();
  args.logprobs = logprobs.as<float>();
  bench.measure({bytes, 0}, copies, {args.logprobs, R}, [&](int i) {
    args.logits = logits.as<float>() + static_cast<size_t>(i) * R * V;
    sampleCuda(args, 0, rows);
  });
}

}  // namespace

std::vector<GpuCase> rowCases(const GpuShapes& shapes) {
  std::vector<GpuCase> all;
  for (const int rows : shapes.normRows) {
    all.push_back({"rmsnorm x" + std::to_string(rows),
                   [rows, columns = shapes.normColumns](GpuBench& bench) {
                     rmsnorm(bench, columns, rows);
                   }});
  }
  for (const int rows : shapes.appendRows) {
    const AppendShape shape{shapes.heads, shapes.kvHeads, shapes.dim, rows};
    all.push_back({"append x" + std::to_string(rows),
                   [shape](GpuBench& bench) { append(bench, shape); }});
  }
  const std::pair<const char*, SampleOptions> ways[] = {{"greedy", {0, 0, 1}},
                                                        {"top-k 40 top-p 0.9", {0.8f, 40, 0.9f}}};
  for (const auto& [way, options] : ways) {
    for (const int rows : shapes.sampleRows) {
      all.push_back({std::string("sample ") + way + " x" + std::to_string(rows),
                     [options = options, rows, vocab = shapes.vocab](GpuBench& bench) {
                       sample(bench, options, vocab, rows);
                     }});
    }
  }
  return all;
}

}  // namespace baton::bench
