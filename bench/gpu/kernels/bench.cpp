// SPDX-License-Identifier: Apache-2.0
#include "gpu/kernels/bench.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <stdexcept>

namespace baton::bench {
namespace {

constexpr int kMostCopies = 64;
constexpr int kMostCalls = 2000;  // of a sample
constexpr size_t kMostChecked = size_t{1} << 22;

std::string number(const char* key, double value) {
  char text[64];
  std::snprintf(text, sizeof text, ",\"%s\":%.6g", key, value);
  return text;
}

}  // namespace

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' || c == '\t' ? ' ' : c;
  }
  return out + '"';
}

std::vector<float> randomPattern() {
  std::mt19937 random(5);
  std::vector<float> values(1'048'573);
  for (float& value : values) value = static_cast<float>(random() >> 8) * 0x1p-23f - 1;
  return values;
}

std::vector<GpuCase> allCases(const GpuShapes& shapes) {
  std::vector<GpuCase> all = ceilingCases(shapes);
  for (auto* more : {linearCases, rowCases, attentionCases, backwardCases}) {
    for (GpuCase& one : more(shapes)) all.push_back(std::move(one));
  }
  return all;
}

void GpuBench::run(const std::vector<GpuCase>& cases) {
  for (const GpuCase& one : cases) {
    if (one.name.find(options_.filter) == std::string::npos) continue;
    name_ = one.name;
    try {
      one.run(*this);
    } catch (const std::exception& error) {
      sink_("{\"suite\":\"kernels\",\"subject\":\"baton\",\"case\":" + quoted(name_) +
            ",\"failed\":" + quoted(error.what()) + "}");
    }
  }
}

int GpuBench::copiesOf(double bytes) const {
  if (options_.tiny) return 2;
  const double wanted = std::ceil(static_cast<double>(options_.rotateBytes) / std::max(bytes, 1.0));
  return std::clamp(static_cast<int>(wanted), 1, kMostCopies);
}

// The pattern is uploaded once; the device doubles what it has.
DeviceBuffer GpuBench::filledWith(size_t bytes, const void* pattern, size_t patternBytes) {
  DeviceBuffer buffer(memory_);
  if (bytes == 0) return buffer;
  buffer.ensure(bytes, "a buffer of the benchmark");
  size_t have = std::min(bytes, patternBytes);
  memory_.upload(buffer.data(), pattern, have);
  while (have < bytes) {
    const size_t more = std::min(have, bytes - have);
    memory_.copy(buffer.data() + have, buffer.data(), more);
    have += more;
  }
  return buffer;
}

DeviceBuffer GpuBench::floats(size_t count) {
  return filled(count * sizeof(float), randomPattern());
}

DeviceBuffer GpuBench::room(size_t bytes) {
  DeviceBuffer buffer(memory_);
  if (bytes == 0) return buffer;
  buffer.ensure(bytes, "results of the benchmark");
  memory_.fill(buffer.data(), 0xff, bytes);
  return buffer;
}

// Every sample has the same calls. A first one warms up, a second one says how many are enough.
std::vector<double> GpuBench::sample(int copies, const Call& call, int& calls) {
  timer_.record(copies, call);
  timer_.play();
  const double each = timer_.play() / copies;
  const double enough = std::ceil(options_.sampleSeconds / std::max(each, 1e-9));
  calls = std::max(copies, static_cast<int>(std::min(enough, double(kMostCalls))));
  if (calls > copies) timer_.record(calls, call);
  timer_.play();
  std::vector<double> seconds;
  for (int i = 0; i < options_.samples; ++i) seconds.push_back(timer_.play() / calls);
  std::sort(seconds.begin(), seconds.end());
  return seconds;
}

void GpuBench::check(const Written& written) {
  if (written.data == nullptr) return;
  std::vector<float> values(std::min(written.count, kMostChecked));
  memory_.download(values.data(), written.data, values.size() * sizeof(float));
  const auto bad = std::count_if(values.begin(), values.end(),
                                 [](float value) { return !std::isfinite(value); });
  if (bad > 0) {
    throw std::runtime_error(std::to_string(bad) + " of " + std::to_string(values.size()) +
                             " results are no numbers");
  }
}

void GpuBench::measure(const Work& work, int copies, const Written& written, const Call& call) {
  if (written.data != nullptr) {
    memory_.fill(written.data, 0xff, written.count * sizeof(float));
    float first;
    memory_.download(&first, written.data, sizeof first);  // waits for all that was issued
  }
  int calls = 0;
  const std::vector<double> seconds =
      sample(copies, [&](int i) { call(i % copies); }, calls);
  check(written);
  const double median = seconds[seconds.size() / 2];
  std::string line = "{\"suite\":\"kernels\",\"subject\":\"baton\",\"case\":" + quoted(name_);
  line += number("us", 1e6 * median) + number("min", 1e6 * seconds.front()) +
          number("max", 1e6 * seconds.back());
  line += number("samples", static_cast<double>(seconds.size())) + number("calls", calls) +
          number("copies", copies) + number("bytes", work.bytes) + number("flops", work.flops);
  const double byteRate = work.bytes / median, flopRate = work.flops / median;
  if (name_ == kCopyCase) copyRate_ = byteRate;
  if (name_ == kGemmCase) gemmRate_ = flopRate;
  if (copyRate_ > 0 && byteRate > 0) line += number("ofCopy", byteRate / copyRate_);
  if (gemmRate_ > 0 && flopRate > 0) line += number("ofGemm", flopRate / gemmRate_);
  line += std::string(",\"timing\":\"") + timer_.method() + '"';
  if (options_.tiny) line += ",\"tiny\":true";
  sink_(line + "}");
}

}  // namespace baton::bench
