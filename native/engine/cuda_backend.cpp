// SPDX-License-Identifier: Apache-2.0
#include "engine/cuda_backend.h"

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/trace.h"
#include "engine/cuda_backward.h"

namespace baton {
namespace {

constexpr const char* kActivations = "activations";
constexpr const char* kViews = "the views of a step";

void requireHeads(const ModelConfig& config) {
  if (config.headDim % 16 == 0 && config.headDim <= kMostHeadDim) return;
  throw Error(code::kModelUnsupported, "its heads have " + std::to_string(config.headDim) +
                                           " numbers; on a CUDA device a multiple of 16 up to " +
                                           std::to_string(kMostHeadDim) +
                                           " is supported: use the device \"cpu\"");
}

// Room for what grows from step to step: half as much again where there is, because memory of a
// device is not given back and taken without waiting.
void grow(DeviceBuffer& buffer, size_t bytes, const char* what) {
  if (bytes <= buffer.size()) return;
  try {
    buffer.ensure(bytes + bytes / 2, what);
  } catch (const Error& error) {
    if (std::string_view(error.code()) != code::kOutOfMemory) throw;
    buffer.ensure(bytes, what);
  }
}

// Appends the list at 16 bytes, with room for so many entries; where it begins.
template <class T>
size_t pack(std::vector<std::byte>& into, const std::vector<T>& list, size_t room) {
  const size_t at = (into.size() + 15) / 16 * 16;
  into.resize(at + room * sizeof(T));
  if (!list.empty()) std::memcpy(into.data() + at, list.data(), list.size() * sizeof(T));
  return at;
}

template <class T>
size_t pack(std::vector<std::byte>& into, const std::vector<T>& list) {
  return pack(into, list, list.size());
}

}  // namespace

CudaBackend::CudaBackend(std::shared_ptr<const Model> model, std::shared_ptr<CudaStream> device,
                         ThreadPool& threads, const Pool& pool, const ForwardOptions& options,
                         LoadWatch* watch)
    : CudaBackend(
          model, device, pool, options,
          std::make_shared<DeviceWeights>((requireHeads(model->config), *model),
                                          options.int8Activations, *device, threads, watch)) {}

CudaBackend::~CudaBackend() = default;

std::unique_ptr<Backend> CudaBackend::another(const ForwardOptions& options) const {
  std::unique_ptr<CudaBackend> made(new CudaBackend(model_, device_, pool_, options, weights_));
  // Backward, which this is for, is float32 throughout and goes through the items of every reader,
  // and its batches come but once.
  made->halves_ = false;
  made->sharing_ = Sharing::kNone;
  made->graphs_ = nullptr;
  return made;
}

CudaBackend::CudaBackend(std::shared_ptr<const Model> model, std::shared_ptr<CudaStream> device,
                         const Pool& pool, const ForwardOptions& options,
                         std::shared_ptr<DeviceWeights> weights)
    : model_(std::move(model)),
      device_(std::move(device)),
      pool_(pool),
      options_(options),
      halves_(options.int8Activations && !options.batchInvariant &&
              takesHalves(pool.shape().type, model_->config.headDim)),
      sharing_(halves_ ? Sharing::kWide : Sharing::kFew),
      weights_(std::move(weights)),
      ropes_(ropeTables(model_->config)),
      rotary_(ropes_.size()),
      graphs_(std::make_unique<StepGraphs>()),
      lists_(*device_),
      rotated_(*device_),
      partO_(*device_),
      partMd_(*device_),
      gate_(*device_),
      up_(*device_),
      logits_(*device_),
      sampling_(*device_) {
  const ModelConfig& c = model_->config;
  const auto R = static_cast<size_t>(options.maxRows);
  gate_.ensure(matrixBytes(R, c.ffn), kActivations);
  up_.ensure(matrixBytes(R, c.ffn), kActivations);
  const auto logits = static_cast<size_t>(options.logitRows);
  logits_.ensure(matrixBytes(logits, c.vocab), kActivations);
}

// The tables of before stay until the new ones are there: rows of others read them.
void CudaBackend::growPositions(int limit) {
  for (size_t i = 0; i < ropes_.size(); ++i) {
    RopeTable& table = ropes_[i];
    table.grow(limit);
    if (rotary_[i].limit >= limit) continue;
    const size_t bytes =
        matrixBytes(static_cast<size_t>(table.limit()), model_->config.headDim / 2);
    Rotary made{table.limit(), std::make_unique<DeviceBuffer>(*device_),
                std::make_unique<DeviceBuffer>(*device_)};
    made.cos->ensure(bytes, "rotary tables");
    made.sin->ensure(bytes, "rotary tables");
    device_->upload(made.cos->data(), table.cos(), bytes);
    device_->upload(made.sin->data(), table.sin(), bytes);
    rotary_[i] = std::move(made);
  }
}

void CudaBackend::plan(const Batch& batch) {
  waiting_.reset();  // of a forward that threw
  const ModelConfig& c = model_->config;
  plan_.make(batch, halves_ ? kWideTileRows : kSlotTileRows);
  slots_.make(plan_, {.sharing = sharing_});
  graphable_ = graphs_ != nullptr && batch.rows <= kMostGraphRows && slots_.tall == 0;
  if (graphable_) slots_.addIdleItems(listRoom);
  const auto most = static_cast<size_t>(slots_.states);
  states_ = graphable_ ? listRoom(most) : most;
  grow(rotated_, matrixBytes(static_cast<size_t>(plan_.queryRows), c.heads * c.headDim), kViews);
  grow(partO_, matrixBytes(states_, c.heads * c.headDim), kViews);
  grow(partMd_, matrixBytes(2 * states_, c.heads), kViews);
  uploadLists(batch);
  if (graphable_) setShape(batch);
}

void CudaBackend::uploadLists(const Batch& batch) {
  packed_.clear();
  at_.tokens = pack(packed_, batch.tokens);
  const auto room = [&](size_t count) { return graphable_ ? listRoom(count) : count; };
  at_.slots = pack(packed_, slots_.slots, room(slots_.slots.size()));
  at_.items = pack(packed_, slots_.items);
  at_.rows = pack(packed_, slots_.rows, room(slots_.rows.size()));
  at_.states = pack(packed_, slots_.lists);
  at_.queryRow = pack(packed_, slots_.queryRow);
  at_.queryPositions = pack(packed_, plan_.queryPositions);
  at_.keyPositions = pack(packed_, plan_.keyPositions);
  at_.keyBlock = pack(packed_, plan_.keyBlock);
  at_.keySlot = pack(packed_, plan_.keySlot);
  grow(lists_, packed_.size(), kViews);
  device_->upload(lists_.data(), packed_.data(), packed_.size());
}

// All that the arguments of a forward's launches are made of and that is not the same for ever.
void CudaBackend::setShape(const Batch& batch) {
  shape_.sizes = {batch.rows,
                  plan_.queryRows,
                  static_cast<int64_t>(slots_.items.size()),
                  static_cast<int64_t>(listRoom(slots_.slots.size())),
                  static_cast<int64_t>(states_),
                  static_cast<int64_t>(listRoom(slots_.rows.size())),
                  slots_.few,
                  slots_.mostRows,
                  slots_.mostFew,
                  slots_.merges};
  shape_.sizes.insert(shape_.sizes.end(), batch.logitRows.begin(), batch.logitRows.end());
  shape_.places = {lists_.data(), rotated_.data(), partO_.data(), partMd_.data()};
  for (const Rotary& rotary : rotary_) {
    shape_.places.push_back(rotary.cos->data());
    shape_.places.push_back(rotary.sin->data());
  }
}

// A shape that comes once is issued; when it comes again, what is issued is written down, which has
// then been done once: a library that is opened or chosen from at the first product has been.
bool CudaBackend::step(const std::function<bool()>& issue) {
  if (!graphable_) return issue();
  StepGraphs::Step& step = graphs_->of(shape_);
  if (step.refused || !std::exchange(step.seen, true)) return issue();
  if (!step.graph) {
    if (!write(step, issue)) return false;
    if (step.refused) return issue();
  }
  const trace::Scope scope("graph", "batch rows", plan_.rows);
  device_->issue(step.graph);
  return true;
}

// False: `issue` gave up. What a device refuses to write down it may well do.
bool CudaBackend::write(StepGraphs::Step& step, const std::function<bool()>& issue) {
  try {
    CudaStream::Capture capture(*device_);
    if (!issue()) return false;
    step.graph = capture.finish();
  } catch (const Error&) {
    if (device_->lost()) throw;
    waiting_.reset();
  }
  step.refused = !step.graph;
  return true;
}

void CudaBackend::embed(const EmbedArgs& args, int rows) {
  EmbedArgs there = args;
  there.tokens = listAt<int32_t>(at_.tokens);
  device_->issue([&](const BatonCudaKernels& kernels) { kernels.ops->embed(there, 0, rows); });
}

void CudaBackend::rmsnorm(const RmsNormArgs& args, int rows) {
  makeQuants();
  device_->issue([&](const BatonCudaKernels& kernels) { kernels.ops->rmsnorm(args, 0, rows); });
}

void CudaBackend::toBf16(const ToBf16Args& args, int rows) {
  makeQuants();
  device_->issue([&](const BatonCudaKernels& kernels) { kernels.ops->toBf16(args, 0, rows); });
}

void CudaBackend::addBias(const AddBiasArgs& args, int rows) {
  makeQuants();
  device_->issue([&](const BatonCudaKernels& kernels) { kernels.ops->addBias(args, 0, rows); });
}

KvAppendArgs CudaBackend::appendArgs(const LayerAttention& a) {
  const ModelConfig& c = model_->config;
  const KvShape& shape = pool_.shape();
  const auto rope = static_cast<size_t>(c.layerSpecs[static_cast<size_t>(a.layer)].rope);
  return {.q = a.q,
          .ldq = c.heads * c.headDim,
          .k = a.k,
          .ldk = c.kvHeads * c.headDim,
          .v = a.v,
          .ldv = c.kvHeads * c.headDim,
          .rows = plan_.rows,
          .H = c.heads,
          .G = c.kvHeads,
          .D = c.headDim,
          .qNorm = a.qNorm,
          .kNorm = a.kNorm,
          .epsilon = c.normEpsilon,
          .cos = rotary_[rope].cos->as<float>(),
          .sin = rotary_[rope].sin->as<float>(),
          .pairing = c.ropePairing,
          .keyPositions = listAt<int32_t>(at_.keyPositions),
          .kv = shape.type,
          .kBase = pool_.keys(a.layer),
          .vBase = pool_.values(a.layer),
          .headStride = shape.headBytes(),
          .blockStride = shape.blockBytes(),
          .block = listAt<int32_t>(at_.keyBlock),
          .slot = listAt<int32_t>(at_.keySlot),
          .queryRows = plan_.queryRows,
          .queryRow = listAt<int32_t>(at_.queryRow),
          .queryPositions = listAt<int32_t>(at_.queryPositions),
          .rotated = rotated_.as<float>()};
}

AttendSlotsArgs CudaBackend::slotArgs(const LayerAttention& a) {
  const ModelConfig& c = model_->config;
  const KvShape& shape = pool_.shape();
  float* const md = partMd_.as<float>();
  return {.q = rotated_.as<float>(),
          .H = c.heads,
          .G = c.kvHeads,
          .D = c.headDim,
          .scale = c.attentionScale,
          .window = c.layerSpecs[static_cast<size_t>(a.layer)].window,
          .kv = shape.type,
          .k = pool_.keys(a.layer),
          .v = pool_.values(a.layer),
          .headStride = shape.headBytes(),
          .blockStride = shape.blockBytes(),
          .slots = listAt<KvSlot>(at_.slots),
          .items = listAt<AttendItem>(at_.items),
          .mostRows = slots_.mostRows,
          .o = partO_.as<float>(),
          .m = md,
          .d = md + states_ * static_cast<size_t>(c.heads),
          .out = a.out,
          .lse = a.lse,
          .halves = halves_,
          .few = slots_.few,
          .mostFew = slots_.mostFew,
          .rows = listAt<AttendRow>(at_.rows)};
}

void CudaBackend::attend(const LayerAttention& a) {
  makeQuants();
  const ModelConfig& c = model_->config;
  const KvAppendArgs append = appendArgs(a);
  const AttendSlotsArgs attend = slotArgs(a);
  const MergeStatesArgs merge{attend.o, attend.m,  attend.d, listAt<StateList>(at_.states),
                              c.heads,  c.headDim, a.out,    a.lse};
  device_->issue([&](const BatonCudaKernels& kernels) {
    kernels.kvAppend(append);
    kernels.attendSlots(attend, 0, static_cast<int>(slots_.items.size()));
    if (slots_.merges) kernels.mergeStates(merge, 0, plan_.rows);
  });
}

void CudaBackend::head(const LinearArgs& args) {
  LinearArgs head = args;
  head.y = logits_.as<float>();
  head.ldy = args.N;
  multiply("logits", &head, 1);
}

float* CudaBackend::logits(int row, int count) {
  const int vocab = model_->config.vocab;
  const size_t bytes = matrixBytes(static_cast<size_t>(count), vocab);
  if (hostLogits_.size() * sizeof(float) < bytes) hostLogits_.resize(bytes / sizeof(float));
  device_->download(hostLogits_.data(),
                    logits_.data() + matrixBytes(static_cast<size_t>(row), vocab), bytes);
  return hostLogits_.data();
}

// One upload, one launch, one download.
void CudaBackend::sample(const SampleWanted* wanted, int count, Sampled* out) {
  if (count == 0) return;
  const int vocab = model_->config.vocab;
  const auto onHost = [&](const SampleWanted& one) {
    return vocab > kMostSampled || one.allowed != nullptr;
  };
  if (std::any_of(wanted, wanted + count, onHost)) {
    for (int i = 0; i < count; ++i) {
      SampleWanted one = wanted[i];
      if (!onHost(one)) {
        sample(&one, 1, out + i);
        continue;
      }
      float* const row = logits(std::exchange(one.row, 0), 1);
      sampleRows(row, vocab, &one, 1, out + i);
    }
    return;
  }
  const auto rows = static_cast<size_t>(count);
  std::vector<SampleRow> requests;
  bool logprobs = false;
  edits_.clear();
  for (size_t i = 0; i < rows; ++i) {
    requests.push_back(wanted[i].sampler->request(*wanted[i].history, edits_));
    requests.back().row = wanted[i].row;
    logprobs = logprobs || wanted[i].logprob;
  }
  packed_.clear();
  const size_t atRows = pack(packed_, requests), atEdits = pack(packed_, edits_);
  const size_t atReplaced = (packed_.size() + 15) / 16 * 16;
  const size_t atTokens = atReplaced + edits_.size() * sizeof(float);
  const size_t atLogprobs = atTokens + rows * sizeof(int32_t);
  grow(sampling_, atLogprobs + rows * sizeof(float), "sampling");
  device_->upload(sampling_.data(), packed_.data(), packed_.size());
  std::byte* const base = sampling_.data();
  const SampleArgs args{
      .logits = logits_.as<float>(),
      .V = vocab,
      .rows = reinterpret_cast<const SampleRow*>(base + atRows),
      .edits = reinterpret_cast<const SampleEdit*>(base + atEdits),
      .replaced = reinterpret_cast<float*>(base + atReplaced),
      .tokens = reinterpret_cast<int32_t*>(base + atTokens),
      .logprobs = logprobs ? reinterpret_cast<float*>(base + atLogprobs) : nullptr};
  device_->issue([&](const BatonCudaKernels& kernels) { kernels.sample(args, 0, count); });
  std::vector<int32_t> words(2 * rows);  // tokens, then log-probabilities
  device_->download(words.data(), base + atTokens, (logprobs ? 2 : 1) * rows * sizeof(int32_t));
  for (size_t i = 0; i < rows; ++i) {
    float logprob = 0;
    if (logprobs) std::memcpy(&logprob, &words[rows + i], sizeof logprob);
    out[i] = {words[i], logprob};
  }
}

}  // namespace baton
