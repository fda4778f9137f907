// SPDX-License-Identifier: Apache-2.0
// Small uploads to the emulated device by way of pinned memory, whose copies happen as late as they
// may: what the caller writes over after is what arrives before, however many there are.
#include "device/cuda_stream.h"

#include <algorithm>
#include <cstring>

#include "check.h"
#include "emulation/cuda_library.h"
#include "kernels/support.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr size_t kBytes = size_t{3} << 20;

// So many bytes in pieces of up to `most`, each from the same place.
void uploadPieces(CudaStream& stream, std::byte* to, const std::vector<std::byte>& bytes,
                  uint32_t most) {
  Random random(3);
  std::vector<std::byte> place(most);
  for (size_t at = 0; at < bytes.size();) {
    const size_t count = std::min<size_t>(1 + random.below(most), bytes.size() - at);
    std::memcpy(place.data(), bytes.data() + at, count);
    stream.upload(to + at, place.data(), count);
    at += count;
  }
}

void checkPieces(const emulation::EmulatedCuda& cuda, uint32_t most) {
  CudaStream stream(cuda.api(), 0);
  std::vector<std::byte> bytes(kBytes);
  Random random(5);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(256));
  DeviceBuffer there(stream);
  there.ensure(kBytes, "a test");
  for (int turn = 0; turn < 2; ++turn) {
    uploadPieces(stream, there.data(), bytes, most);
    std::vector<std::byte> back(kBytes);
    stream.download(back.data(), there.data(), kBytes);
    CHECK(back == bytes);
    std::reverse(bytes.begin(), bytes.end());
  }
}

}  // namespace

TEST("cuda stream: small uploads wait for nobody and arrive as they were") {
  emulation::EmulatedCuda cuda;
  checkPieces(cuda, 9000);
  CHECK(cuda.device().mostUnderway > 100);
  CHECK_EQ(cuda.device().underway, 0u);
  CHECK_EQ(cuda.device().freedUnderway, 0u);
}

TEST("cuda stream: large uploads between them, and none pinned at all, arrive as well") {
  emulation::EmulatedCuda cuda;
  checkPieces(cuda, 1 << 20);
  cuda.device().pinnedBytes = 1000;
  const uint64_t before = cuda.device().mostUnderway;
  checkPieces(cuda, 9000);
  CHECK_EQ(cuda.device().mostUnderway, before);
}

TEST("cuda stream: what was uploaded is there for what is issued after") {
  emulation::EmulatedCuda cuda;
  CudaStream stream(cuda.api(), 0);
  DeviceBuffer from(stream), to(stream);
  from.ensure(64, "a test");
  to.ensure(64, "a test");
  std::vector<uint8_t> bytes(64, 1);
  stream.upload(from.data(), bytes.data(), 64);
  bytes.assign(64, 2);
  stream.upload(from.data(), bytes.data(), 32);
  stream.fill(from.data(), 3, 8);
  stream.copy(to.data(), from.data(), 64);
  bytes.assign(64, 0);
  stream.download(bytes.data(), to.data(), 64);
  for (size_t i = 0; i < 64; ++i) CHECK_EQ(int(bytes[i]), i < 8 ? 3 : i < 32 ? 2 : 1);
}
