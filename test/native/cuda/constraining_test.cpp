// SPDX-License-Identifier: Apache-2.0
// Constrained outputs on the emulated device: the host takes their tokens, the device those of the
// others in the same step, and all are the CPU's.
#include <algorithm>
#include <string>
#include <vector>

#include "check.h"
#include "emulation/cuda_library.h"
#include "engine/constrain/finite_grammar.h"
#include "engine/world.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr int kTokens = 500;

std::string letterOf(int32_t token) {
  return std::string(1, static_cast<char>('a' + token % 3));
}

std::shared_ptr<const Vocabulary> letters() {
  std::vector<std::string> tokens;
  for (int32_t token = 0; token < kTokens; ++token) tokens.push_back(letterOf(token));
  return vocabularyOf(tokens);
}

GenerateSpec constrained(const std::vector<std::string>& texts) {
  GenerateSpec spec = World::greedy(20);
  spec.grammar = std::make_shared<FiniteGrammar>(texts, letters());
  return spec;
}

// Two outputs with a grammar, one of them sampled, and one without between them.
std::vector<std::vector<int32_t>> outputs(std::shared_ptr<CudaStream> device,
                                          const std::vector<std::string>& texts) {
  EngineOptions options;
  options.cuda = std::move(device);
  options.kvType = KvType::kF32;
  options.int8Activations = false;
  options.cacheBytes = 1 << 20;
  options.maxBatchRows = 32;
  World world(options);
  GenerateSpec sampled = constrained(texts);
  sampled.sampler.temperature = 1.0f;
  sampled.sampler.seed = 4;
  std::vector<uint64_t> jobs;
  std::vector<std::shared_ptr<Segment>> segments;
  world.sink->hold();
  for (const GenerateSpec& spec : {constrained(texts), World::greedy(6), sampled}) {
    segments.push_back(world.segment());
    jobs.push_back(world.engine.submit(World::generation(World::tokens(segments.back(), 5), spec)));
  }
  world.sink->letGo();
  std::vector<std::vector<int32_t>> all;
  for (const uint64_t job : jobs) all.push_back(world.sink->end(job).tokens);
  return all;
}

}  // namespace

TEST("cuda constraining: tokens are those of the CPU, and the texts the grammar's") {
  const std::vector<std::string> texts = {"abcab", "aabb", "ccb"};
  const auto want = outputs(nullptr, texts);
  emulation::EmulatedCuda cuda;
  CHECK(outputs(std::make_shared<CudaStream>(cuda.api(), 0), texts) == want);
  for (const size_t constrainedOne : {size_t{0}, size_t{2}}) {
    std::string text;
    for (const int32_t token : want[constrainedOne]) text += letterOf(token);
    CHECK(std::find(texts.begin(), texts.end(), text) != texts.end());
  }
}
