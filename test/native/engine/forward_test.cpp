// SPDX-License-Identifier: Apache-2.0
// Forward against the same layers with every operation by itself, on one thread: what is fused, and
// dealt out to workers, has the same bits in the stream, in KV and on the tape.
#include "engine/forward.h"

#include "engine/attention.h"
#include "engine/random_model.h"
#include "engine/world.h"
#include "kernels/linear/types.h"
#include "kernels/support.h"

using namespace baton;
using namespace baton::test;

namespace {

using Floats = std::vector<float>;

// A pool of its own with room for one segment of the rows of a batch.
struct Place {
  Place(const ModelConfig& config, const std::vector<int32_t>& tokens)
      : shape{config.layers, config.kvHeads, config.headDim, KvType::kF16},
        pool(std::make_shared<Pool>(shape, 4 * shape.blockBytes())),
        segment(pool, {SegmentKind::kInput, 0, {}}, "forward") {
    const auto rows = static_cast<int>(tokens.size());
    segment.reserve(rows);
    batch.add({&segment, &none, 0, rows, 0, tokens.data(), nullptr});
    batch.logitRows = rows == 1 ? std::vector{0} : std::vector{0, rows - 1};
  }

  // All layers of all its blocks.
  std::vector<std::byte> kv() const {
    std::vector<std::byte> bytes;
    for (const int32_t block : segment.blockNumbers()) {
      const std::byte* at = pool->keys(0) + static_cast<size_t>(block) * shape.blockBytes();
      bytes.insert(bytes.end(), at, at + shape.blockBytes());
    }
    return bytes;
  }

  KvShape shape;
  std::shared_ptr<Pool> pool;
  Segment segment;
  std::vector<SegmentRead> none;
  Batch batch;
};

// What a layer leaves on a tape.
struct Left {
  Floats q, attended, attnOut, middle, gate, up, ffnOut;
};

// The layers as the paper has them.
class Plain {
 public:
  Plain(const Model& model, const Ops& ops, const ForwardOptions& options, Place& place,
        const std::vector<RopeTable>& ropes)
      : model_(model),
        ops_(ops),
        options_(options),
        rows_(place.batch.rows),
        threads_(1),
        attention_(model.config, ops, threads_, *place.pool, ropes, options.int8Activations) {
    attention_.plan(place.batch);
  }

  Left layer(int index, Floats& x) {
    const ModelConfig& c = model_.config;
    const LayerWeights& w = model_.layers[static_cast<size_t>(index)];
    Left left;
    const Floats normed = norm(x, w.attnNorm, c.hidden);
    left.q = projected(w.q, normed, w.qBias, w.qNorm);
    Floats k = projected(w.k, normed, w.kBias, w.kNorm);
    const Floats v = projected(w.v, normed, w.vBias, nullptr);
    left.attended.resize(left.q.size());
    attention_.run(index, left.q.data(), k.data(), v.data(), left.attended.data());
    add(w.o, left.attended, w.attnPostNorm, x, left.attnOut);
    left.middle = x;
    const Floats middle = norm(x, w.ffnNorm, c.hidden);
    left.gate = linear(w.gate, middle);
    left.up = linear(w.up, middle);
    Floats hidden(left.gate.size());
    const GluFn activate = c.activation == Activation::kGelu ? ops_.geglu : ops_.swiglu;
    activate({left.gate.data(), left.up.data(), hidden.data(), c.ffn}, 0, rows_);
    add(w.down, hidden, w.ffnPostNorm, x, left.ffnOut);
    return left;
  }

 private:
  Floats norm(const Floats& x, const float* weight, int M) const {
    Floats y(x.size());
    ops_.rmsnorm({x.data(), weight, y.data(), M, model_.config.normEpsilon}, 0,
                 static_cast<int>(x.size()) / M);
    return y;
  }

  Floats projected(const Weight& weight, const Floats& x, const float* bias, const float* of) {
    Floats y = linear(weight, x);
    if (bias != nullptr) ops_.addBias({bias, y.data(), weight.rows}, 0, rows_);
    return of == nullptr ? y : norm(y, of, model_.config.headDim);
  }

  void add(const Weight& weight, const Floats& a, const float* postNorm, Floats& x, Floats& left) {
    const ModelConfig& c = model_.config;
    if (postNorm == nullptr) return multiply(weight, a, x, true);
    left = linear(weight, a);
    ops_.rmsnorm({left.data(), postNorm, x.data(), c.hidden, c.normEpsilon, true}, 0, rows_);
  }

  Floats linear(const Weight& weight, const Floats& x) {
    Floats y(static_cast<size_t>(rows_ * weight.rows));
    multiply(weight, x, y, false);
    return y;
  }

  void multiply(const Weight& weight, const Floats& x, Floats& y, bool accumulate) {
    const bool int8 = options_.int8Activations && isInteger(weight.type);
    const bool bf16 = options_.int8Activations && weight.type == DType::kBF16 &&
                      weight.cols % kGroup == 0 && ops_.linearBf16 != nullptr;
    std::vector<int8_t> q(x.size());
    Floats d(x.size() / kGroup), s(d.size());
    if (int8) ops_.quantize({x.data(), q.data(), d.data(), s.data(), weight.cols}, 0, rows_);
    std::vector<uint16_t> b(x.size());
    if (bf16) ops_.toBf16({x.data(), b.data(), weight.cols}, 0, rows_);
    Buffer scratch(linearScratchBytes(weight.cols));
    const LinearFn product = bf16 ? ops_.linearBf16 : ops_.linear;
    product({weight.data, options_.panels == nullptr ? nullptr : options_.panels->of(weight),
             weight.type, weight.rows, weight.cols, int8 || bf16 ? nullptr : x.data(),
             int8 ? q.data() : nullptr, d.data(), s.data(), y.data(), weight.rows, rows_,
             accumulate, options_.batchInvariant, bf16 ? b.data() : nullptr},
            0, weight.rows, scratch.data());
  }

  const Model& model_;
  const Ops& ops_;
  const ForwardOptions& options_;
  int rows_;
  ThreadPool threads_;
  Attention attention_;
};

// Logits [20, V] of twenty tokens, `step` rows a forward.
Floats logitsBySteps(const std::shared_ptr<const Model>& model, const Ops& ops, bool fast,
                     int step) {
  const ModelConfig& c = model->config;
  constexpr int kTokens = 20;
  std::vector<int32_t> tokens;
  for (int i = 0; i < kTokens; ++i) tokens.push_back((7 + 31 * i) % c.vocab);
  Place place(c, tokens);
  ThreadPool threads(2);
  Forward forward(model, ops, threads, *place.pool, {kTokens, fast, true, nullptr, kTokens});
  forward.growPositions(kTokens + 1);
  Floats all;
  for (int row = 0; row < kTokens; row += step) {
    Batch batch;
    batch.add({&place.segment, &place.none, row, step, 0, tokens.data() + row, nullptr});
    for (int i = 0; i < step; ++i) batch.logitRows.push_back(i);
    CHECK(forward.run(batch, nullptr, [] { return true; }));
    const float* logits = forward.logits(0, step);
    all.insert(all.end(), logits, logits + step * c.vocab);
  }
  return all;
}

bool same(const Floats& a, const Floats& b) {
  return a.size() == b.size() && (a.empty() || sameBits(a.data(), b.data(), a.size()));
}
bool same(const DeviceBuffer& a, const Floats& b) {
  const auto* numbers = a.as<float>();
  return same(Floats(numbers, numbers + a.size() / sizeof(float)), b);
}

// One without a tape on three threads, a group of columns at a time; one with half a tape on one
// thread, which takes them all at once as far as they fit a tile; and the plain one.
void compare(const std::string& what, const std::shared_ptr<const Model>& model, const Ops& ops,
             bool int8, int rows) {
  const ModelConfig& c = model->config;
  std::vector<int32_t> tokens;
  for (int i = 0; i < rows; ++i) tokens.push_back(i * 5 % c.vocab);
  ThreadPool three(3), one(1);
  const ForwardOptions options{rows, int8, false,
                               int8 ? packWeights(*model, ops, three, nullptr) : nullptr};
  const auto run = [&](Place& place, Forward& forward, Tape* tape) {
    forward.growPositions(rows + 1);
    CHECK(forward.run(place.batch, tape, [] { return true; }));
    const auto count = static_cast<int>(place.batch.logitRows.size());
    const float* logits = forward.logits(0, count);
    return Floats(logits, logits + count * c.vocab);
  };
  Place bare(c, tokens), taped(c, tokens), plain(c, tokens);
  Forward first(model, ops, three, *bare.pool, options);
  Forward second(model, ops, one, *taped.pool, options);
  Tape tape(*hostMemory());
  tape.keptLayers = (c.layers + 1) / 2;
  const Floats logits = run(bare, first, nullptr);
  expect(same(logits, run(taped, second, &tape)), __FILE__, __LINE__, what + ": logits");

  Plain reference(*model, ops, options, plain, second.backend().ropes());
  const auto* entry = tape.layerInput[0].as<float>();
  Floats x(entry, entry + rows * c.hidden);
  for (int index = 0; index < c.layers; ++index) {
    const std::string where = what + ", layer " + std::to_string(index) + ": ";
    const Floats input = x;
    expect(same(tape.layerInput[static_cast<size_t>(index)], x), __FILE__, __LINE__,
           where + "stream");
    const Left want = reference.layer(index, x);
    LayerActivations again(*hostMemory());
    second.recompute(index, input.data(), again);
    const int kept = index - (c.layers - tape.keptLayers);
    for (const LayerActivations* got : {&again, kept < 0 ? &again : &tape.kept[size_t(kept)]}) {
      const bool all = same(got->q, want.q) && same(got->attended, want.attended) &&
                       same(got->attnOut, want.attnOut) && same(got->middle, want.middle) &&
                       same(got->gate, want.gate) && same(got->up, want.up) &&
                       same(got->ffnOut, want.ffnOut);
      expect(all, __FILE__, __LINE__, where + "tape");
    }
  }
  int numbers = 0;  // neither zero nor anything beyond
  for (const float value : x) numbers += std::isnormal(value);
  CHECK_EQ(numbers, rows * c.hidden);
  Floats output;
  for (const int row : plain.batch.logitRows) {
    output.insert(output.end(), x.begin() + row * c.hidden, x.begin() + (row + 1) * c.hidden);
  }
  expect(same(tape.output, output), __FILE__, __LINE__, what + ": output");
  expect(bare.kv() == plain.kv() && taped.kv() == plain.kv(), __FILE__, __LINE__, what + ": KV");
}

void compareAll(const std::string& what, const std::shared_ptr<const Model>& model) {
  for (const Ops* ops : availableOps()) {
    for (const bool int8 : {true, false}) {
      for (const int rows : {1, 3, 40}) {
        const std::string name =
            what + ", " + isaName(ops->isa) + (int8 ? " int8, " : " float32, ");
        compare(name + std::to_string(rows) + " rows", model, *ops, int8, rows);
      }
    }
  }
}

}  // namespace

TEST("forward: every family, its weights int8, float32 or both, as with each operation by itself") {
  for (const Family* family : families()) {
    for (const Types& types : kTypes) {
      const ExactBytes bytes(writerOf(*family, types).build());
      compareAll(std::string(family->name) + ", " + types.name, bind(bytes));
    }
  }
}

TEST("forward: types that share a block of 256 as with each operation by itself") {
  compareAll("tiny-mixed", fixtureModel("tiny-mixed/tiny-mixed.gguf"));
}

// Each linear moves its sums by 1.6e-3 (linear_bf16_test.cpp); all of two layers and the head moved
// this model's logits by 9.7e-3 of their size, in every table.
TEST("forward: a BF16 model in bf16 arithmetic is near float32, and its bits hang on no batch") {
  const auto model = fixtureModel("tiny-llama/tiny-bf16.gguf");
  for (const Ops* ops : availableOps()) {
    const Floats exact = logitsBySteps(model, *ops, false, 20);
    const Floats fast = logitsBySteps(model, *ops, true, 20);
    if (ops->linearBf16 == nullptr) {
      CHECK(same(fast, exact));
      continue;
    }
    double error = 0, size = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      error += std::pow(static_cast<double>(fast[i]) - exact[i], 2);
      size += std::pow(exact[i], 2);
    }
    const double relative = std::sqrt(error / size);
    expect(relative > 0 && relative < 0.015, __FILE__, __LINE__,
           std::string(isaName(ops->isa)) + ": " + std::to_string(relative));
    for (const int step : {1, 2, 4, 10}) CHECK(same(fast, logitsBySteps(model, *ops, true, step)));
  }
}
