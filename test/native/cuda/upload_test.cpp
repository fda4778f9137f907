// SPDX-License-Identifier: Apache-2.0
// Uploads in pieces to the emulated device, whose copies from pinned memory happen as late as they
// may: bytes of any number and any pieces arrive, two of them on their way at once, with and
// without pinned memory; and a load that is cancelled or loses its device leaves nothing behind.
#include "device/upload.h"

#include <algorithm>
#include <cstring>

#include "check.h"
#include "device/cuda_stream.h"
#include "emulation/cuda_library.h"
#include "engine/device_weights.h"
#include "engine/weight_panels.h"
#include "engine/world.h"
#include "kernels/linear/panels.h"
#include "kernels/support.h"

using namespace baton;
using namespace baton::test;

namespace {

using Bytes = std::vector<std::byte>;

Bytes randomBytes(size_t count) {
  Random random(7);
  Bytes bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(256));
  return bytes;
}

Bytes there(Memory& memory, const void* from, size_t bytes) {
  Bytes back(bytes);
  memory.download(back.data(), from, bytes);
  return back;
}

// In pieces of a third of what the uploader takes up to all of it.
void send(Uploader& uploader, std::byte* to, const Bytes& bytes) {
  Random random(11);
  size_t at = 0;
  while (at < bytes.size()) {
    const auto third = static_cast<uint32_t>(uploader.size() / 3);
    const size_t count = std::min(uploader.size() - random.below(2 * third), bytes.size() - at);
    std::memcpy(uploader.room(), bytes.data() + at, count);
    uploader.send(to + at, count);
    at += count;
  }
}

const std::byte* bytesOf(const void* memory) {
  return static_cast<const std::byte*>(memory);
}

// Weights there are the file's: its rows, or panels of them.
void checkMatrix(Memory& memory, const Weight& got, const Weight& file) {
  if (got.panels == nullptr) {
    const Bytes back = there(memory, got.data, rowsBytes(file));
    CHECK(std::memcmp(back.data(), file.data, back.size()) == 0);
    return;
  }
  Bytes want(panelsBytes(file.type, file.rows, file.cols));
  packPanels(file.type, file.data, file.rows, file.cols, 0, panelCount(file.rows), want.data());
  CHECK(there(memory, got.panels, want.size()) == want);
}

void checkWeights(Memory& memory, const ModelWeights& got, const Model& file) {
  checkMatrix(memory, got.embedding, file.embedding);
  checkMatrix(memory, got.output, file.output);
  for (size_t layer = 0; layer < file.layers.size(); ++layer) {
    const auto want = file.layers[layer].matrices();
    const auto here = got.layers[layer].matrices();
    for (size_t i = 0; i < want.size(); ++i) checkMatrix(memory, *here[i], *want[i]);
    const auto norm = static_cast<size_t>(file.config.hidden) * sizeof(float);
    const Bytes back = there(memory, got.layers[layer].ffnNorm, norm);
    CHECK(std::memcmp(back.data(), file.layers[layer].ffnNorm, norm) == 0);
  }
}

constexpr const char* kModels[] = {"tiny-llama/tiny-q8_0-untied.gguf", "tiny-llama/tiny-bf16.gguf",
                                   "tiny-mixed/tiny-mixed.gguf"};

}  // namespace

TEST("cuda upload: any number of bytes arrives, two pieces on their way at once") {
  for (const size_t size : {size_t{64}, size_t{1000}, size_t{4096}}) {
    for (const size_t count : {size_t{1}, size + 1, 2 * size, 2 * size + 1, 13 * size + 5}) {
      emulation::EmulatedCuda cuda;
      CudaStream device(cuda.api(), 0);
      const uint64_t pinned = cuda.device().pinnedBytes;
      DeviceBuffer buffer(device);
      buffer.ensure(count, "a test");
      const Bytes bytes = randomBytes(count);
      {
        const std::unique_ptr<Uploader> uploader = device.uploader(size);
        CHECK_EQ(cuda.device().pinnedBytes, pinned - 2 * size);
        send(*uploader, buffer.data(), bytes);
        CHECK(there(device, buffer.data(), count) != bytes);  // or nothing here shows who waits
        uploader->finish();
        CHECK(there(device, buffer.data(), count) == bytes);
      }
      CHECK_EQ(cuda.device().mostUnderway, count == 1 ? 1u : 2u);
      CHECK_EQ(cuda.device().freedUnderway, 0u);
      CHECK_EQ(cuda.device().pinnedBytes, pinned);
    }
  }
}

TEST("cuda upload: an uploader that is dropped in the middle waits for what is on its way") {
  emulation::EmulatedCuda cuda;
  CudaStream device(cuda.api(), 0);
  DeviceBuffer buffer(device);
  buffer.ensure(5000, "a test");
  const Bytes bytes = randomBytes(5000);
  send(*device.uploader(700), buffer.data(), bytes);
  CHECK_EQ(cuda.device().underway, 0u);
  CHECK_EQ(cuda.device().freedUnderway, 0u);
  CHECK(there(device, buffer.data(), bytes.size()) == bytes);
}

TEST("cuda upload: what the device was given before comes before") {
  emulation::EmulatedCuda cuda;
  CudaStream device(cuda.api(), 0);
  DeviceBuffer buffer(device);
  buffer.ensure(64, "a test");
  const Bytes first = randomBytes(64);
  void* pinned = nullptr;
  device.call([&](const BatonCudaApi& api) { return api.hostAllocate(0, 64, &pinned); });
  std::memcpy(pinned, first.data(), first.size());
  device.upload(buffer.data(), pinned, first.size());  // and the device is not there yet
  const Bytes second(64, std::byte{5});
  const std::unique_ptr<Uploader> uploader = device.uploader(64);
  send(*uploader, buffer.data(), second);
  uploader->finish();
  CHECK(there(device, buffer.data(), second.size()) == second);
  device.call([&](const BatonCudaApi& api) { return api.hostFree(pinned); });
}

TEST("cuda upload: without pinned memory, or with too little, from pageable memory") {
  for (const uint64_t pinned : {0, 1000, 1999}) {
    emulation::EmulatedCuda cuda;
    cuda.device().pinnedBytes = pinned;
    CudaStream device(cuda.api(), 0);
    DeviceBuffer buffer(device);
    buffer.ensure(5003, "a test");
    const Bytes bytes = randomBytes(5003);
    const std::unique_ptr<Uploader> uploader = device.uploader(1000);
    CHECK_EQ(cuda.device().pinnedBytes, pinned);  // what one half had is given back
    send(*uploader, buffer.data(), bytes);
    uploader->finish();
    CHECK(there(device, buffer.data(), bytes.size()) == bytes);
    CHECK_EQ(cuda.device().mostUnderway, 0u);
  }
}

TEST("upload: the host's memory takes pieces, too") {
  const std::unique_ptr<Uploader> uploader = hostMemory()->uploader(100);
  const Bytes bytes = randomBytes(1234);
  Bytes to(bytes.size());
  send(*uploader, to.data(), bytes);
  uploader->finish();
  CHECK(to == bytes);
}

TEST("cuda upload: weights in pieces of any size are the file's, for training too") {
  for (const char* name : kModels) {
    const std::shared_ptr<const Model> model = fixtureModel(name);
    for (const size_t piece : {size_t{101}, size_t{4096}, size_t{1} << 24}) {
      for (const uint64_t pinned : {uint64_t{1} << 26, uint64_t{0}}) {
        emulation::EmulatedCuda cuda;
        cuda.device().pinnedBytes = pinned;
        CudaStream device(cuda.api(), 0);
        const uint64_t before = cuda.device().pinnedBytes;
        ThreadPool threads(2);
        std::vector<uint64_t> done;
        LoadWatch watch(nullptr, [&](uint64_t now, uint64_t total) {
          CHECK_EQ(total, model->file().size());
          done.push_back(now);
        });
        DeviceWeights weights(*model, true, device, threads, &watch, piece);
        CHECK(pinned == 0 ? cuda.device().mostUnderway == 0 : cuda.device().mostUnderway >= 2);
        checkWeights(device, weights.weights(), *model);
        CHECK(std::is_sorted(done.begin(), done.end()));
        CHECK(done.size() > 2 && done.size() <= 102);
        CHECK_EQ(done.back(), model->file().size());
        weights.addRows(*model);
        for (size_t layer = 0; layer < model->layers.size(); ++layer) {
          const auto want = model->layers[layer].matrices();
          const auto here = weights.weights().layers[layer].matrices();
          for (size_t i = 0; i < want.size(); ++i) {
            const size_t bytes = rowsBytes(*want[i]);
            const Bytes back = there(device, weights.rowsOf(*here[i]), bytes);
            CHECK(std::equal(back.begin(), back.end(), bytesOf(want[i]->data)));
          }
        }
        CHECK_EQ(cuda.device().freedUnderway, 0u);
        CHECK_EQ(cuda.device().pinnedBytes, before);
      }
    }
  }
}

TEST("cuda upload: a load that is cancelled in the middle ends there, with all memory given back") {
  const std::shared_ptr<const Model> model = tinyModel();
  emulation::EmulatedCuda cuda;
  CudaStream device(cuda.api(), 0);
  const uint64_t pinned = cuda.device().pinnedBytes;
  ThreadPool threads(2);
  std::atomic<int32_t> cancel{0};
  uint64_t last = 0;
  LoadWatch watch(&cancel, [&](uint64_t done, uint64_t total) {
    last = done;
    if (done > total / 2) cancel = 1;
  });
  CHECK_THROWS("ABORTED", DeviceWeights(*model, true, device, threads, &watch, 1000));
  const uint64_t size = model->file().size();
  CHECK(last > size / 2 && last < size / 4 * 3);
  CHECK_EQ(cuda.device().usedBytes, 0u);
  CHECK_EQ(cuda.device().pinnedBytes, pinned);
  CHECK_EQ(cuda.device().freedUnderway, 0u);
}

TEST("cuda upload: a device that is lost in the middle is DEVICE_UNAVAILABLE, and stays so") {
  const std::shared_ptr<const Model> model = tinyModel();
  for (const uint64_t uploads : {1, 12, 30}) {
    emulation::EmulatedCuda cuda;
    CudaStream device(cuda.api(), 0);
    ThreadPool threads(2);
    cuda.device().lostAfterUploads = uploads;
    const auto open = [&] { DeviceWeights(*model, true, device, threads, nullptr, 1000); };
    CHECK_THROWS("DEVICE_UNAVAILABLE", open());
    CHECK_EQ(cuda.device().uploads, uploads);
    CHECK(device.lost());
    CHECK_THROWS("DEVICE_UNAVAILABLE", open());
    CHECK_EQ(cuda.device().uploads, uploads);
    CHECK_EQ(cuda.device().freedUnderway, 0u);
  }
}

TEST("cuda upload: no memory for the weights is said before any is sent, and nobody is told") {
  const std::shared_ptr<const Model> model = tinyModel();
  emulation::EmulatedCuda cuda;
  CudaStream device(cuda.api(), 0);
  cuda.device().totalBytes = 10000;
  ThreadPool threads(1);
  bool told = false;
  LoadWatch watch(nullptr, [&](uint64_t, uint64_t) { told = true; });
  CHECK_THROWS("OUT_OF_MEMORY", DeviceWeights(*model, true, device, threads, &watch));
  CHECK(!told);
  CHECK_EQ(cuda.device().uploads, 0u);
}
