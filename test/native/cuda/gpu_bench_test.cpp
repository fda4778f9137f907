// SPDX-License-Identifier: Apache-2.0
// The benchmark of kernels for a GPU, every case of it, on the emulated device with few rows: so
// that an argument that is wrong costs no minute of a GPU. What it times here means nothing.
#include "gpu/kernels/bench.h"

#include <chrono>
#include <filesystem>

#include "base/json.h"
#include "check.h"
#include "device/cuda_stream.h"
#include "emulation/cuda.h"
#include "emulation/cuda_library.h"
#include "gpu/kernels/ceilings.h"
#include "quant/types.h"

using namespace baton;
using namespace baton::bench;
using namespace baton::test;

namespace {

class HostTimer : public Timer {
 public:
  void record(int calls, const Call& call) override {
    calls_ = calls;
    call_ = call;
  }
  double play() override {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < calls_; ++i) call_(i);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  const char* method() const override { return "emulated"; }

 private:
  int calls_ = 0;
  Call call_;
};

GpuShapes shapes() {
  const auto file =
      std::filesystem::path(__FILE__).parent_path() / "../../../bench/gpu/shapes.json";
  return readShapes(file.string());
}

std::vector<Json> linesOf(const std::vector<GpuCase>& cases, uint64_t memory = uint64_t{1} << 28) {
  emulation::EmulatedCuda cuda;
  cuda.device().totalBytes = memory;
  CudaStream device(cuda.api(), 0);
  HostTimer timer;
  std::vector<Json> lines;
  GpuOptions options;
  options.samples = 2;
  options.sampleSeconds = 0;
  options.tiny = true;
  const GpuBench::Sink sink = [&](const std::string& line) {
    JsonFault fault;
    auto json = parseJson(line, fault);
    expect(json.has_value(), __FILE__, __LINE__, "no JSON: " + line);
    if (json) lines.push_back(std::move(*json));
  };
  GpuBench(device, cuda.api().kernels[0], timer, options, sink).run(cases);
  CHECK_EQ(lines.size(), cases.size());
  return lines;
}

double numberAt(const Json& line, const char* key) {
  const Json* found = line.find(key);
  return found == nullptr ? -1 : found->number().value_or(-1);
}

void checkMeasured(const std::vector<GpuCase>& cases) {
  for (const Json& line : linesOf(cases)) {
    const std::string name = *line.find("case")->text();
    const Json* failed = line.find("failed");
    expect(failed == nullptr, __FILE__, __LINE__,
           name + ": " + (failed == nullptr ? "" : *failed->text()));
    expect(numberAt(line, "us") > 0, __FILE__, __LINE__, name + " took no time");
    expect(numberAt(line, "min") <= numberAt(line, "max"), __FILE__, __LINE__, name);
  }
}

}  // namespace

TEST("gpu bench: every ceiling is reached by kernels that write what they say") {
  checkMeasured(ceilingCases(tinyShapes(shapes())));
}

TEST("gpu bench: a product with every type of weight is measured") {
  const std::vector<GpuCase> cases = linearCases(tinyShapes(shapes()));
  CHECK_EQ(cases.size(), quantTypes().size() * 3);
  checkMeasured(cases);
}

TEST("gpu bench: norms, appends and samples are measured") {
  checkMeasured(rowCases(tinyShapes(shapes())));
}

TEST("gpu bench: every view of the shapes is attended") {
  checkMeasured(attentionCases(tinyShapes(shapes())));
}

TEST("gpu bench: gradients of live rows are measured") {
  checkMeasured(backwardCases(tinyShapes(shapes())));
}

TEST("gpu bench: what a case cannot have is said, and the next one is measured") {
  GpuShapes large = tinyShapes(shapes());
  large.copyBytes = size_t{1} << 24;
  const std::vector<Json> lines = linesOf(ceilingCases(large), uint64_t{1} << 23);
  REQUIRE(lines.size() == 4);
  CHECK(lines[1].find("failed") != nullptr);
  CHECK(numberAt(lines[2], "us") > 0);
}

TEST("gpu bench: a copy of memory is a copy") {
  emulation::EmulatedCuda cuda;
  CudaStream device(cuda.api(), 0);
  std::vector<float> values = randomPattern();
  values.resize(4 * 1111);
  const size_t bytes = values.size() * sizeof(float);
  DeviceBuffer from(device), to(device);
  from.ensure(bytes, "a test");
  to.ensure(bytes + 16, "a test");
  device.upload(from.data(), values.data(), bytes);
  device.issue([&](const BatonCudaKernels&) { copyCuda(to.data(), from.data(), bytes); });
  std::vector<float> got(values.size() + 4);
  device.download(got.data(), to.data(), bytes + 16);
  CHECK(std::equal(values.begin(), values.end(), got.begin()));
  CHECK(std::isnan(got.back()));
}

TEST("gpu bench: pairs of a shape are those that its rows read") {
  const ViewShape shape{"", 1, 1, 16, KvType::kBF16, 5, 2, 3, 4};
  CHECK_EQ(shape.pairs(), 2 * (9 + 10 + 11 + 12));
  CHECK_EQ(shape.cached() + shape.rows(), 5 + 2 * 7);
}

TEST("gpu bench: shapes that cannot be read name what is missing") {
  bool thrown = false;
  try {
    readShapes("/nowhere/shapes.json");
  } catch (const std::exception& error) {
    thrown = std::string(error.what()).find("/nowhere/shapes.json") != std::string::npos;
  }
  CHECK(thrown);
}
