// SPDX-License-Identifier: Apache-2.0
#include "emulation/cuda_library.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

#include "cuda/kernels.h"
#include "emulation/cuda.h"
#include "emulation/cuda_pinned.h"

struct BatonCudaGraph {
  std::vector<std::function<void()>> work;
};

namespace baton::emulation {
namespace {

constexpr uint64_t kArena = uint64_t{1} << 28;
constexpr uint64_t kAlignment = 256;
constexpr uint64_t kPage = 4096;

struct State {
  std::recursive_mutex mutex;
  EmulatedDevice device;
  std::byte* arena = nullptr;
  std::map<uint64_t, uint64_t> taken;  // offset to bytes, rounded up
  uint64_t reached = 0;                // highest end of what was ever taken, in whole pages
  std::unique_ptr<PinnedMemory> pinned;
  int open = 0;  // kernels and copies that run
  int live = 0;
};

State& state() {
  static State instance;
  return instance;
}

thread_local char lastText[256];

BatonCudaStatus say(BatonCudaStatus status, const char* text) {
  std::snprintf(lastText, sizeof lastText, "%s", text);
  return status;
}

void protect(int protection) {
  State& s = state();
  if (s.reached > 0) mprotect(s.arena, s.reached, protection);
}

void enter() {
  State& s = state();
  s.mutex.lock();
  if (s.open++ == 0) protect(PROT_READ | PROT_WRITE);
}

void leave() {
  State& s = state();
  if (--s.open == 0) protect(PROT_NONE);
  s.mutex.unlock();
}

struct Open {
  Open() { enter(); }
  ~Open() { leave(); }
};

bool isLost() {
  return state().device.lost;
}

BatonCudaStatus lost() {
  return say(kBatonCudaDeviceLost, "an illegal memory access was encountered (emulated)");
}

const char* lastError() {
  return lastText;
}

BatonCudaStatus deviceCount(int32_t* count) {
  *count = 1;
  return kBatonCudaOk;
}

BatonCudaStatus deviceInfo(int32_t device, BatonCudaDevice* info) {
  const std::lock_guard lock(state().mutex);
  *info = {};
  if (device != 0) return say(kBatonCudaInvalid, "no such device (emulated)");
  if (isLost()) return lost();
  const EmulatedDevice& one = state().device;
  std::snprintf(info->name, sizeof info->name, "Emulated");
  info->capability = 90;
  info->multiprocessors = 1;
  info->totalBytes = one.totalBytes;
  info->freeBytes = one.totalBytes - std::min(one.usedBytes, one.totalBytes);
  return kBatonCudaOk;
}

BatonCudaStatus deviceProbe(int32_t device) {
  return device == 0 && !isLost() ? kBatonCudaOk : lost();
}

const char* matrixLibrary() {
  return "none: emulated";
}

BatonCudaStatus streamCreate(int32_t device, BatonCudaStream** stream) {
  if (isLost()) return lost();
  const std::lock_guard lock(state().mutex);
  *stream = new BatonCudaStream{device, {}};
  state().pinned->streams.insert(*stream);
  return kBatonCudaOk;
}

// Does what the stream has put off.
BatonCudaStatus catchUp(BatonCudaStream* stream) {
  const std::lock_guard lock(state().mutex);
  if (!stream->later.empty()) {
    const Open open;
    state().pinned->catchUp(*stream, !isLost());
  }
  return isLost() ? lost() : kBatonCudaOk;
}

BatonCudaStatus streamSynchronize(BatonCudaStream* stream) {
  if (captured != nullptr) return say(kBatonCudaFailed, "a wait inside a graph (emulated)");
  return catchUp(stream);
}

BatonCudaStatus streamDestroy(BatonCudaStream* stream) {
  if (stream == nullptr) return kBatonCudaOk;
  const std::lock_guard lock(state().mutex);
  const BatonCudaStatus done = catchUp(stream);
  state().pinned->streams.erase(stream);
  delete stream;
  return done;
}

// The first gap that is large enough.
uint64_t placeFor(uint64_t bytes) {
  uint64_t at = 0;
  for (const auto& [offset, size] : state().taken) {
    if (offset - at >= bytes) break;
    at = offset + size;
  }
  return at;
}

BatonCudaStatus deviceAllocate(int32_t, uint64_t bytes, void** memory) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  *memory = nullptr;
  if (isLost()) return lost();
  if (captured != nullptr) return say(kBatonCudaFailed, "an allocation inside a graph (emulated)");
  const uint64_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const uint64_t at = placeFor(size);
  if (bytes > kArena || s.device.usedBytes + size > s.device.totalBytes || at + size > kArena) {
    return say(kBatonCudaOutOfMemory, "out of memory (emulated)");
  }
  s.taken[at] = size;
  s.device.usedBytes += size;
  s.reached = std::max(s.reached, (at + size + kPage - 1) / kPage * kPage);
  const Open open;
  std::memset(s.arena + at, 0xff, size);
  *memory = s.arena + at;
  return kBatonCudaOk;
}

BatonCudaStatus deviceFree(int32_t, void* memory) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (memory == nullptr) return kBatonCudaOk;
  const auto found = s.taken.find(static_cast<uint64_t>(static_cast<std::byte*>(memory) - s.arena));
  if (found == s.taken.end()) return say(kBatonCudaInvalid, "never allocated (emulated)");
  for (BatonCudaStream* stream : s.pinned->streams) catchUp(stream);  // as cudaFree waits
  s.device.usedBytes -= found->second;
  s.taken.erase(found);
  return isLost() ? lost() : kBatonCudaOk;
}

BatonCudaStatus hostAllocate(int32_t, uint64_t bytes, void** memory) {
  const std::lock_guard lock(state().mutex);
  *memory = nullptr;
  if (isLost()) return lost();
  *memory = state().pinned->take(bytes);
  return *memory == nullptr ? say(kBatonCudaOutOfMemory, "none to pin (emulated)") : kBatonCudaOk;
}

BatonCudaStatus hostFree(void* memory) {
  const std::lock_guard lock(state().mutex);
  if (memory == nullptr) return kBatonCudaOk;
  if (!state().pinned->giveBack(memory)) return say(kBatonCudaInvalid, "never pinned (emulated)");
  return isLost() ? lost() : kBatonCudaOk;
}

thread_local BatonCudaGraph* writing = nullptr;  // by the calling thread

BatonCudaStatus refuse() {
  return say(kBatonCudaFailed, "not while a graph is being written down (emulated)");
}

BatonCudaStatus captureBegin(BatonCudaStream*) {
  if (isLost()) return lost();
  if (writing != nullptr) return refuse();
  writing = new BatonCudaGraph;
  captured = &writing->work;
  return kBatonCudaOk;
}

BatonCudaStatus captureEnd(BatonCudaStream*, BatonCudaGraph** graph) {
  std::unique_ptr<BatonCudaGraph> written(std::exchange(writing, nullptr));
  captured = nullptr;
  if (graph != nullptr) *graph = nullptr;
  if (written == nullptr) return say(kBatonCudaInvalid, "it was not begun (emulated)");
  if (isLost()) return lost();
  if (graph == nullptr) return kBatonCudaOk;
  if (state().device.refusesGraphs) return say(kBatonCudaFailed, "no graphs (emulated)");
  ++state().device.graphs;
  *graph = written.release();
  return kBatonCudaOk;
}

BatonCudaStatus graphLaunch(BatonCudaStream* stream, BatonCudaGraph* graph) {
  if (writing != nullptr) return refuse();
  if (const BatonCudaStatus bad = catchUp(stream)) return bad;
  EmulatedDevice& device = state().device;
  ++device.replays;
  for (const auto& launch : graph->work) {
    if (device.inGraph) device.inGraph();
    if (isLost()) return lost();
    launch();
  }
  return kBatonCudaOk;
}

BatonCudaStatus graphDestroy(BatonCudaGraph* graph) {
  delete graph;
  return isLost() ? lost() : kBatonCudaOk;
}

// ---- copies

// Whether all of it is memory of the device that somebody has.
bool within(const void* from, uint64_t bytes) {
  const State& s = state();
  const auto* begin = static_cast<const std::byte*>(from);
  if (begin < s.arena || begin >= s.arena + kArena) return false;
  const auto at = static_cast<uint64_t>(begin - s.arena);
  auto found = s.taken.upper_bound(at);
  if (found == s.taken.begin()) return false;
  --found;
  return at + bytes <= found->first + found->second;
}

BatonCudaStatus copy(BatonCudaStream* stream, void* to, const void* from, uint64_t bytes,
                     bool toDevice, bool fromDevice) {
  const Open open;
  State& s = state();
  if (isLost()) return lost();
  if (bytes == 0) return kBatonCudaOk;
  if ((toDevice && !within(to, bytes)) || (fromDevice && !within(from, bytes))) {
    return say(kBatonCudaInvalid, "a copy beyond what was allocated (emulated)");
  }
  if ((!fromDevice && s.pinned->has(from, bytes)) || (!toDevice && s.pinned->has(to, bytes))) {
    s.pinned->putOff(*stream, {to, from, bytes});
    return kBatonCudaOk;
  }
  if (const BatonCudaStatus bad = catchUp(stream)) return bad;
  std::memmove(to, from, bytes);
  return kBatonCudaOk;
}

// Inside the device: what a graph can hold.
BatonCudaStatus doOrWrite(const std::function<BatonCudaStatus()>& work) {
  if (writing == nullptr) return work();
  writing->work.emplace_back([work] { static_cast<void>(work()); });
  return kBatonCudaOk;
}

BatonCudaStatus copyToDevice(BatonCudaStream* stream, void* to, const void* from, uint64_t bytes) {
  if (writing != nullptr) return refuse();
  const Open open;
  EmulatedDevice& device = state().device;
  ++device.uploads;
  if (device.lostAfterUploads != 0 && device.uploads >= device.lostAfterUploads) device.lost = true;
  return copy(stream, to, from, bytes, true, false);
}

BatonCudaStatus copyToHost(BatonCudaStream* stream, void* to, const void* from, uint64_t bytes) {
  if (writing != nullptr) return refuse();
  state().device.bytesToHost += bytes;
  return copy(stream, to, from, bytes, false, true);
}

BatonCudaStatus copyOnDevice(BatonCudaStream* stream, void* to, const void* from, uint64_t bytes) {
  return doOrWrite([=] { return copy(stream, to, from, bytes, true, true); });
}

BatonCudaStatus fill(BatonCudaStream* stream, void* to, uint8_t value, uint64_t bytes) {
  const Open open;
  if (const BatonCudaStatus bad = catchUp(stream)) return bad;
  if (bytes > 0 && !within(to, bytes)) return say(kBatonCudaInvalid, "a fill beyond (emulated)");
  if (bytes > 0) std::memset(to, value, bytes);
  return kBatonCudaOk;
}

BatonCudaStatus fillBytes(BatonCudaStream* stream, void* to, uint8_t value, uint64_t bytes) {
  return doOrWrite([=] { return fill(stream, to, value, bytes); });
}

BatonCudaStatus useStream(BatonCudaStream* stream) {
  if (const BatonCudaStatus bad = catchUp(stream)) return bad;
  cuda::launchOn(stream);
  return kBatonCudaOk;
}

BatonCudaStatus launchStatus(BatonCudaStream*) {
  const std::lock_guard lock(state().mutex);
  EmulatedDevice& device = state().device;
  ++device.launches;
  if (device.lostAfter != 0 && device.launches >= device.lostAfter) device.lost = true;
  if (writing != nullptr && device.refusesLaunches) return refuse();
  return isLost() ? lost() : kBatonCudaOk;
}

const BatonCudaApi& table() {
  static const BatonCudaApi api{
      .abi = BATON_CUDA_ABI,
      .driverNeeded = 13000,
      .capabilityNeeded = 80,
      .lastError = lastError,
      .deviceCount = deviceCount,
      .deviceInfo = deviceInfo,
      .deviceProbe = deviceProbe,
      .matrixLibrary = matrixLibrary,
      .streamCreate = streamCreate,
      .streamSynchronize = streamSynchronize,
      .streamDestroy = streamDestroy,
      .deviceAllocate = deviceAllocate,
      .deviceFree = deviceFree,
      .hostAllocate = hostAllocate,
      .hostFree = hostFree,
      .copyToDevice = copyToDevice,
      .copyToHost = copyToHost,
      .copyOnDevice = copyOnDevice,
      .fillBytes = fillBytes,
      .kernels = &kCudaKernels,
      .useStream = useStream,
      .launchStatus = launchStatus,
      .captureBegin = captureBegin,
      .captureEnd = captureEnd,
      .graphLaunch = graphLaunch,
      .graphDestroy = graphDestroy,
  };
  return api;
}

}  // namespace

EmulatedCuda::EmulatedCuda() {
  State& s = state();
  if (s.live++ != 0) throw std::logic_error("two emulated devices at once");
  void* arena =
      mmap(nullptr, kArena, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (arena == MAP_FAILED) throw std::runtime_error("no address space for an emulated device");
  s.arena = static_cast<std::byte*>(arena);
  s.device = {};
  s.taken.clear();
  s.reached = 0;
  s.pinned = std::make_unique<PinnedMemory>(s.device);
  setAround(enter, leave);
}

EmulatedCuda::~EmulatedCuda() {
  State& s = state();
  setAround(nullptr, nullptr);
  s.pinned.reset();
  munmap(s.arena, kArena);
  --s.live;
}

const BatonCudaApi& EmulatedCuda::api() const {
  return table();
}

EmulatedDevice& EmulatedCuda::device() {
  return state().device;
}

}  // namespace baton::emulation
