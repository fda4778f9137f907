// SPDX-License-Identifier: Apache-2.0
// baton_gpu_bench: speed of single kernels on a CUDA device, beside what it can do at most.
//
//   baton_gpu_bench --shapes FILE [--out FILE] [--device N] [--samples N] [--tiny] [--list] [FILTER]
//
// A line of JSON is appended to FILE, or written to the output, after each case. Ends with 3 where
// there is no device, and says why.
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "device/cuda_stream.h"
#include "gpu/kernels/bench.h"
#include "gpu/kernels/cuda_timer.h"

extern "C" const BatonCudaApi* batonCudaApi(void);

namespace baton::bench {
namespace {

constexpr int kNoDevice = 3;

struct Options {
  GpuOptions bench;
  std::string shapes, out;
  int device = 0;
  bool list = false;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&]() -> const char* {
      if (i + 1 >= argc) throw std::runtime_error(name + " wants a value");
      return argv[++i];
    };
    if (name == "--shapes") {
      options.shapes = value();
    } else if (name == "--out") {
      options.out = value();
    } else if (name == "--device") {
      options.device = std::atoi(value());
    } else if (name == "--samples") {
      options.bench.samples = std::max(1, std::atoi(value()));
    } else if (name == "--tiny") {
      options.bench.tiny = true;
    } else if (name == "--list") {
      options.list = true;
    } else if (name.starts_with("--")) {
      throw std::runtime_error("there is no option " + name);
    } else {
      options.bench.filter = name;
    }
  }
  if (options.shapes.empty()) throw std::runtime_error("--shapes names bench/gpu/shapes.json");
  return options;
}

// A file is closed after each line, so that a run that is killed leaves whole ones.
GpuBench::Sink sinkFor(const std::string& file) {
  return [file](const std::string& line) {
    std::FILE* out = file.empty() ? stdout : std::fopen(file.c_str(), "a");
    if (out == nullptr) throw std::runtime_error(file + " cannot be written");
    std::fprintf(out, "%s\n", line.c_str());
    std::fflush(out);
    if (!file.empty()) std::fclose(out);
  };
}

std::string machineLine(const BatonCudaDevice& device, const char* products) {
  return "{\"suite\":\"machine\",\"device\":" + quoted(device.name) +
         ",\"capability\":" + std::to_string(device.capability) +
         ",\"multiprocessors\":" + std::to_string(device.multiprocessors) +
         ",\"bytes\":" + std::to_string(device.totalBytes) + ",\"products\":" + quoted(products) +
         "}";
}

int run(const Options& options) {
  GpuShapes shapes = readShapes(options.shapes);
  if (options.bench.tiny) shapes = tinyShapes(std::move(shapes));
  const std::vector<GpuCase> cases = allCases(shapes);
  if (options.list) {
    for (const GpuCase& one : cases) std::printf("%s\n", one.name.c_str());
    return 0;
  }
  const BatonCudaApi& api = *batonCudaApi();
  BatonCudaDevice device{};
  int count = 0;
  BatonCudaStatus status = api.deviceCount(&count);
  if (status == kBatonCudaOk) status = api.deviceInfo(options.device, &device);
  if (status == kBatonCudaOk) status = api.deviceProbe(options.device);
  if (status != kBatonCudaOk) {
    std::fprintf(stderr, "no CUDA device: %s\n", api.lastError());
    return kNoDevice;
  }
  const GpuBench::Sink sink = sinkFor(options.out);
  sink(machineLine(device, api.matrixLibrary()));
  CudaStream memory(api, options.device);
  const auto timer = cudaTimer(api, options.device);
  GpuBench(memory, *api.kernels, *timer, options.bench, sink).run(cases);
  return 0;
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  try {
    return baton::bench::run(baton::bench::parse(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
