// SPDX-License-Identifier: Apache-2.0
// A NaN or an infinity in any one tensor of any family is reported by the operation that works with
// that tensor, in its layer, and ends the job that met it; a job beside it ends with its tokens.
#include "engine/number_watch.h"

#include <cstring>

#include "check.h"
#include "engine/random_model.h"
#include "engine/world.h"

using namespace baton;
using namespace baton::test;

namespace {

EngineOptions watched() {
  EngineOptions options;
  options.watchNumbers = true;
  options.maxBatchRows = 64;
  return options;
}

// The first number of a tensor, or the scale of its first block, which all these types begin with.
void poison(WrittenTensor& tensor, float with) {
  const bool isNan = with != with;
  if (tensor.type == quantType(DType::kF32).ggufId) {
    std::memcpy(tensor.data.data(), &with, sizeof with);
    return;
  }
  const bool bf16 = tensor.type == quantType(DType::kBF16).ggufId;
  const uint16_t bits = bf16 ? (isNan ? 0x7fc0 : 0x7f80) : (isNan ? 0x7e00 : 0x7c00);
  std::memcpy(tensor.data.data(), &bits, sizeof bits);
}

std::string opOf(const LayerMatrix& matrix) {
  static const std::pair<Weight LayerWeights::*, const char*> kNames[] = {
      {&LayerWeights::q, "q"},      {&LayerWeights::k, "k"},       {&LayerWeights::v, "v"},
      {&LayerWeights::o, "o"},      {&LayerWeights::gate, "gate"}, {&LayerWeights::up, "up"},
      {&LayerWeights::down, "down"}};
  for (const auto& [role, name] : kNames) {
    if (role == matrix.role) return std::string("linear ") + name;
  }
  return "?";
}

std::string opOf(const LayerVector& vector) {
  static const std::pair<const float* LayerWeights::*, const char*> kNames[] = {
      {&LayerWeights::attnNorm, "norm attn_norm"},
      {&LayerWeights::ffnNorm, "norm ffn_norm"},
      {&LayerWeights::attnPostNorm, "norm attn_post_norm"},
      {&LayerWeights::ffnPostNorm, "norm ffn_post_norm"},
      {&LayerWeights::qBias, "bias q_bias"},
      {&LayerWeights::kBias, "bias k_bias"},
      {&LayerWeights::vBias, "bias v_bias"},
      {&LayerWeights::qNorm, "attention"},
      {&LayerWeights::kNorm, "attention"}};
  for (const auto& [role, name] : kNames) {
    if (role == vector.role) return name;
  }
  return "?";
}

const Error::Fact* factOf(const Told& told, const char* name) {
  for (const Error::Fact& fact : told.facts) {
    if (fact.first == name) return &fact;
  }
  return nullptr;
}

double numberOf(const Told& told, const char* name) {
  const Error::Fact* const fact = factOf(told, name);
  return fact == nullptr ? -1 : std::get<double>(fact->second);
}

std::string textOf(const Told& told, const char* name) {
  const Error::Fact* const fact = factOf(told, name);
  return fact == nullptr ? "" : std::get<std::string>(fact->second);
}

Append appendOf(std::shared_ptr<Segment> segment, std::vector<int32_t> tokens) {
  Append append;
  append.segment = std::move(segment);
  append.count = static_cast<int>(tokens.size());
  append.tokens = std::move(tokens);
  return append;
}

// Rows for tokens 1 and 2, whose last one's logits are wanted.
Told runOn(const GgufWriter& writer) {
  const ExactBytes bytes(writer.build());
  World world(watched(), bind(bytes));
  const uint64_t job =
      world.engine.submit(World::job({appendOf(world.segment(), {1, 2})}, LogitsWanted::kLast));
  const Told told = world.sink->end(job);
  CHECK_EQ(told.ends, 1);
  return told;
}

void expectFound(GgufWriter writer, const std::string& tensor, const std::string& op, int layer) {
  for (const float with : {kNan, kInfinity}) {
    GgufWriter damaged = writer;
    poison(damaged.at(tensor), with);
    const Told told = runOn(damaged);
    CHECK_EQ(told.failed, std::string("NOT_FINITE"));
    CHECK_EQ(textOf(told, "op"), op);
    CHECK_EQ(numberOf(told, "layer"), layer);
    CHECK(numberOf(told, "row") >= 0);
  }
}

}  // namespace

TEST("number watch: a tensor of any family with a NaN or an infinity is named, with its layer") {
  for (const Family* family : families()) {
    for (const Types& types : kTypes) {
      const GgufWriter writer = writerOf(*family, types);
      CHECK_EQ(runOn(writer).failed, std::string());
      for (const int layer : {0, 1}) {
        const std::string block = "blk." + std::to_string(layer) + ".";
        for (const LayerMatrix& one : family->matrices) {
          expectFound(writer, block + one.name, opOf(one), layer);
        }
        for (const LayerVector& one : family->vectors) {
          expectFound(writer, block + one.name, opOf(one), layer);
        }
      }
      expectFound(writer, family->outputNorm, "output norm", -1);
      // Row 0 of the table is no token that is read, but one that the head scores.
      expectFound(writer, family->embedding, "head", -1);
    }
  }
}

TEST("number watch: a row of the embedding, and soft rows that are no numbers") {
  const Family& family = *families().front();
  GgufWriter writer = writerOf(family, kTypes[0]);
  poison(writer.at(family.embedding), kNan);
  const ExactBytes bytes(writer.build());
  World world(watched(), bind(bytes));
  const uint64_t job = world.engine.submit(World::job({appendOf(world.segment(), {3, 1, 0, 2})}));
  const Told told = world.sink->end(job);
  CHECK_EQ(textOf(told, "op"), std::string("embedding"));
  CHECK_EQ(numberOf(told, "row"), 2);
  CHECK(factOf(told, "layer") == nullptr);
}

TEST("number watch: one job of a batch fails, the others go on, and its blocks harm nobody") {
  World world(watched());
  const auto output = [&] {
    return World::generation(World::tokens(world.segment(), 21), World::greedy(12));
  };
  const Told alone = world.sink->end(world.engine.submit(output()));
  for (int turn = 0; turn < 8; ++turn) {
    Append soft;
    soft.segment = world.segment();
    soft.count = 5 + turn;
    const auto width = static_cast<size_t>(world.engine.model().config.hidden);
    soft.embeddings.assign(static_cast<size_t>(soft.count) * width, 0.25f);
    soft.embeddings[3 * width + 7] = turn % 2 == 0 ? kNan : -kInfinity;
    const uint64_t before = world.engine.submit(output());
    const uint64_t wrong = world.engine.submit(World::job({soft}));
    const uint64_t behind = world.engine.submit(output());
    const Told told = world.sink->end(wrong);
    CHECK_EQ(told.failed, std::string("NOT_FINITE"));
    CHECK_EQ(textOf(told, "op"), std::string("embedding"));
    CHECK_EQ(numberOf(told, "row"), 3);
    CHECK_EQ(soft.segment->rows(), 0);
    CHECK(world.sink->end(before).tokens == alone.tokens);
    CHECK(world.sink->end(behind).tokens == alone.tokens);
  }
}

TEST("number watch: bits and tokens are what they are without it") {
  EngineOptions plain = watched();
  plain.watchNumbers = false;
  for (const DType kv : {DType::kF16, DType::kF32}) {
    std::vector<float> logits[2];
    for (const bool on : {false, true}) {
      EngineOptions options = on ? watched() : plain;
      options.kvType = kv == DType::kF16 ? KvType::kF16 : KvType::kF32;
      World world(options);
      const uint64_t job =
          world.engine.submit(World::job({World::tokens(world.segment(), 40)}, LogitsWanted::kAll));
      logits[on ? 1 : 0] = world.sink->end(job).logits;
    }
    CHECK(!logits[0].empty());
    CHECK(logits[0] == logits[1]);
  }
}
