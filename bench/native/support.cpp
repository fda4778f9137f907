// SPDX-License-Identifier: Apache-2.0
#include "support.h"

#include <sys/mman.h>

#include <cstdio>

#include "base/half.h"
#include "device/limits.h"
#include "kernels/linear/panels.h"

namespace baton::bench {
namespace {

// Whose kernel the table has for `op`, which begins with the name of its slot.
Isa isaOf(const std::string& op, const Ops& ops) {
  for (const KernelSlot& slot : kernelSlots()) {
    const size_t length = std::strlen(slot.name);
    if (op.compare(0, length, slot.name) != 0) continue;
    if (op.size() > length && op[length] != ' ') continue;
    for (const Ops* table : availableOps()) {
      if (slot.same(*table, ops)) return table->isa;
    }
  }
  return ops.isa;
}

void printSpread(const char* name, const Spread& spread, double factor) {
  std::printf("\"%s\":{\"median\":%.6g,\"min\":%.6g,\"max\":%.6g}", name, factor * spread.median,
              factor * spread.min, factor * spread.max);
}

std::string mebibytes(size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "read %g MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

}  // namespace

Matrix randomMatrix(const QuantType& type, int N, int K) {
  const int depth = (K + type.blockElements - 1) / type.blockElements * type.blockElements;
  Matrix m{std::vector<std::byte>(quantRowBytes(type, int64_t{N} * depth)), &type, N, depth, {}};
  std::mt19937 random(1);
  std::vector<float> values(256 * 16);
  for (float& value : values) value = static_cast<float>(random() % 2001) * 1e-5f - 0.01f;
  std::vector<std::byte> pattern(quantRowBytes(type, static_cast<int64_t>(values.size())));
  type.quantize(values.data(), pattern.data(), values.size());
  for (size_t at = 0; at < m.bytes.size(); at += pattern.size()) {
    std::memcpy(&m.bytes[at], pattern.data(), std::min(pattern.size(), m.bytes.size() - at));
  }
  if (!isInteger(type.dtype)) return m;
  m.panels = Buffer(panelsBytes(type.dtype, N, depth), size_t{2} << 20);
  ::madvise(m.panels.data(), m.panels.size(), MADV_HUGEPAGE);
  packPanels(type.dtype, m.bytes.data(), N, depth, 0, panelCount(N), m.panels.data());
  return m;
}

std::vector<Matrix> randomLayers(const QuantType& type, int layers) {
  std::vector<Matrix> all;
  for (int layer = 0; layer < layers; ++layer) {
    for (const auto& [N, K] : {std::pair{kM, kM},
                               {kG * kD, kM},
                               {kG * kD, kM},
                               {kM, kM},
                               {kF, kM},
                               {kF, kM},
                               {kM, kF}}) {
      all.push_back(randomMatrix(type, N, K));
    }
  }
  return all;
}

std::vector<float> randomFloats(size_t n) {
  std::mt19937 random(3);
  std::vector<float> out(n);
  for (float& x : out) x = static_cast<float>(random() >> 8) * 0x1p-23f - 1;
  return out;
}

std::vector<std::byte> randomKv(KvType type, size_t bytes) {
  std::vector<std::byte> out(bytes);
  std::mt19937 random(2);
  const size_t size = type == KvType::kF32 ? 4 : 2;
  for (size_t at = 0; at < bytes; at += size) {
    const float value = static_cast<float>(random() % 200) * 0.01f - 1;
    // In int8 the same bytes are scales and any integers.
    const uint16_t half = type == KvType::kBF16 ? bfloatOfFloat(value) : halfOfFloat(value);
    std::memcpy(&out[at], size == 4 ? static_cast<const void*>(&value) : &half, size);
  }
  return out;
}

Spread spreadOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  const double median = n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
  return {median, values.front(), values.back()};
}

Suite::Suite(const Options& options, const Ops& ops)
    : options_(options), ops_(ops), pool_(options.threads) {
  // K of the longest rows, with room for longer blocks.
  scratchBytes_ = std::max({linearScratchBytes(kF + 256), dLinearScratchBytes(),
                            dAttendScratchFloats(kD) * sizeof(float)});
  scratchBytes_ = (scratchBytes_ + 63) / 64 * 64;
  scratch_ = Buffer(scratchBytes_ * static_cast<size_t>(options.threads));
}

float* Suite::scratch(int worker) {
  return reinterpret_cast<float*>(scratch_.data() + static_cast<size_t>(worker) * scratchBytes_);
}

int Suite::layersFor(double flopsPerLayer) const {
  const double most = (options_.quick ? 1e9 : 4e9) * options_.threads;
  return static_cast<int>(std::clamp(most / flopsPerLayer, 1.0, static_cast<double>(kL)));
}

bool Suite::wants(const char* op, const std::string& type, int rows) const {
  const std::string name = std::string(op) + " " + type + " R=" + std::to_string(rows);
  return name.find(options_.filter) != std::string::npos;
}

void Suite::add(Result result) {
  result.isa = isaOf(result.op, ops_);
  results_.push_back(std::move(result));
}

// ---- limits
// ----------------------------------------------------------------------------------------------------

Limit& Suite::limit(const std::string& name, const char* unit, size_t bytes) {
  for (Limit& one : limits_) {
    if (one.name == name) return one;
  }
  limits_.push_back({name, unit, bytes, {}});
  return limits_.back();
}

void Suite::measureLimits() {
  const Probes& probes = cpuProbes();
  const int64_t rounds = 200'000;
  const double all = static_cast<double>(rounds) * options_.threads;
  const auto rates = [&](Limit& into, double work, const auto& fn) {
    for (const double seconds : samples(options_.repeat, options_.threads, fn))
      into.values.push_back(work / seconds);
  };
  rates(limit(probes.fmaName, "FLOP/s", 0), probes.fmaFlops * all,
        [&] { spinFma(pool_, probes, rounds); });
  if (probes.int8 != nullptr) {
    rates(limit(probes.int8Name, "OP/s", 0), probes.int8Ops * all,
          [&] { spinInt8(pool_, probes, rounds); });
  }
  if (probes.bf16 != nullptr) {
    rates(limit(probes.bf16Name, "FLOP/s", 0), probes.bf16Flops * all,
          [&] { spinBf16(pool_, probes, rounds); });
  }
  // Beyond the last level of cache, as far as memory allows.
  const uint64_t room = availableMemory() / 4;
  const int most = options_.quick ? 28 : 30;
  for (int bits = 18; bits <= most && (uint64_t{1} << bits) <= room; bits += 2) {
    const Buffer buffer = probeBuffer(pool_, size_t{1} << bits);
    const int passes = std::max(1, (1 << 26 >> bits));
    rates(limit(mebibytes(size_t{1} << bits), "B/s", buffer.size()),
          static_cast<double>(buffer.size()) * passes,
          [&] { readPasses(pool_, probes, buffer, passes); });
  }
}

// Of the smallest buffer that holds as much.
double Suite::bandwidthFor(double bytes) const {
  double found = 0;
  for (const Limit& one : limits_) {
    if (one.bytes == 0) continue;
    found = spreadOf(one.values).max;
    if (static_cast<double>(one.bytes) >= bytes) break;
  }
  return found;
}

// The time that it would take at the limit, as a share of the time that it took. The limit is the
// best that was seen: what others on the machine took meanwhile is none of it.
double Suite::share(const Result& result, const char** bound) const {
  double arithmetic = 0;
  const char* const bf16 = cpuProbes().bf16Name;
  for (const Limit& one : limits_) {
    const Cost& cost = result.cost;
    const double best = spreadOf(one.values).max;
    if (bf16 != nullptr && one.name == bf16) {
      arithmetic += cost.bf16 / best;
    } else if (one.unit == "FLOP/s") {
      arithmetic += (cost.flops - cost.int8 - (bf16 == nullptr ? 0 : cost.bf16)) / best;
    } else if (one.unit == "OP/s") {
      arithmetic += cost.int8 / best;
    }
  }
  const double memory = result.cost.bytes / bandwidthFor(result.cost.bytes);
  *bound = memory >= arithmetic ? "memory" : "arithmetic";
  return std::max(memory, arithmetic) / result.seconds.median;
}

// ---- output
// ----------------------------------------------------------------------------------------------------

void Suite::print() const {
  options_.json ? printJson() : printText();
}

void Suite::printText() const {
  std::printf("%s, %d threads, %s, median of %d\n", cpuBrand().c_str(), options_.threads,
              isaName(ops_.isa), options_.repeat);
  for (const Limit& one : limits_) {
    const Spread spread = spreadOf(one.values);
    std::printf("%-28s %9.1f G%-7s [%.1f-%.1f]\n", one.name.c_str(), 1e-9 * spread.median,
                one.unit.c_str(), 1e-9 * spread.min, 1e-9 * spread.max);
  }
  for (const Result& one : results_) {
    const char* bound = "";
    const double reached = share(one, &bound);
    const double seconds = one.seconds.median;
    std::printf("%-6s %-16s %-5s R=%-4d %9.4f ms %8.1f GFLOP/s %7.1f GB/s %5.1f %% of %s  %s\n",
                isaName(one.isa), one.op.c_str(), one.type.c_str(), one.rows, seconds * 1e3,
                1e-9 * one.cost.flops / seconds, 1e-9 * one.cost.bytes / seconds, 100 * reached,
                bound, one.detail.c_str());
  }
}

void Suite::printJson() const {
  std::printf("{\"cpu\":\"%s\",\"isa\":\"%s\",\"threads\":%d,\"repeat\":%d,\"limits\":[",
              cpuBrand().c_str(), isaName(ops_.isa), options_.threads, options_.repeat);
  const char* comma = "";
  for (const Limit& one : limits_) {
    std::printf("%s{\"name\":\"%s\",\"unit\":\"%s\",\"bytes\":%zu,", comma, one.name.c_str(),
                one.unit.c_str(), one.bytes);
    printSpread("rate", spreadOf(one.values), 1);
    std::printf("}");
    comma = ",";
  }
  std::printf("],\"kernels\":[");
  comma = "";
  for (const Result& one : results_) {
    const char* bound = "";
    const double reached = share(one, &bound);
    std::printf("%s{\"op\":\"%s\",\"type\":\"%s\",\"rows\":%d,\"detail\":\"%s\",\"isa\":\"%s\","
                "\"bytes\":%.0f,\"flops\":%.0f,\"int8\":%.0f,\"bf16\":%.0f,",
                comma, one.op.c_str(), one.type.c_str(), one.rows, one.detail.c_str(),
                isaName(one.isa), one.cost.bytes, one.cost.flops, one.cost.int8, one.cost.bf16);
    printSpread("milliseconds", one.seconds, 1e3);
    std::printf(",\"bound\":\"%s\",\"share\":%.4f}", bound, reached);
    comma = ",";
  }
  std::printf("]}\n");
}

}  // namespace baton::bench
