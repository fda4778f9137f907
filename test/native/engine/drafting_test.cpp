// SPDX-License-Identifier: Apache-2.0
// Drafted = not drafted: random programs of jobs, run with guesses wherever there are any (a row
// that costs nothing always pays) and without, must tell the same, bit for bit, and leave the same
// behind. The pool is poisoned, so that a row read without having been written shows.
#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "engine/cache_world.h"

using namespace baton;
using namespace baton::test;

namespace {

using Tokens = std::vector<int32_t>;

EngineOptions drafted(EngineOptions options, bool drafting = true) {
  ::setenv("BATON_POISON_CACHE", "1", 1);
  options.drafting = drafting;
  options.draftRowCost = 0;
  return options;
}

std::shared_ptr<const Vocabulary> angleVocabulary(int tokens) {  // token t is written "<t>"
  auto vocabulary = std::make_shared<Vocabulary>();
  vocabulary->offsets.push_back(0);
  for (int token = 0; token < tokens; ++token) {
    vocabulary->bytes += '<' + std::to_string(token) + '>';
    vocabulary->offsets.push_back(static_cast<uint32_t>(vocabulary->bytes.size()));
  }
  return vocabulary;
}

// One output of a program: what it reads and how it is generated.
struct Output {
  int prefixRows = 0;  // rows of the passage that it reads
  int shift = 0;
  Tokens opener;
  GenerateSpec spec;
};

struct Program {
  std::vector<float> prompt;  // [6, M]
  Tokens passage;
  std::vector<Output> outputs;
  EngineOptions options;
};

// Few different tokens and repeated runs of them: text that drafts.
Tokens repetitive(std::mt19937& random, size_t count) {
  Tokens text;
  while (text.size() < count) {
    if (text.size() > 8 && random() % 3 == 0) {
      const size_t from = random() % (text.size() - 6);
      for (size_t i = 0; i < 6; ++i) text.push_back(text[from + i]);
    } else {
      text.push_back(static_cast<int32_t>(3 + random() % 60));
    }
  }
  text.resize(count);
  return text;
}

// Quotes of the passage between tokens of the model's own or somebody else's.
Tokens forcedText(std::mt19937& random, const Tokens& passage, size_t count) {
  Tokens text;
  while (text.size() < count) {
    const size_t from = random() % passage.size();
    const size_t length = 1 + random() % 25;
    for (size_t i = from; i < passage.size() && i < from + length; ++i) text.push_back(passage[i]);
    if (random() % 2 == 0) text.push_back(static_cast<int32_t>(random() % 500));
  }
  text.resize(count);
  return text;
}

GenerateSpec randomSpec(std::mt19937& random, const Tokens& passage) {
  GenerateSpec spec = World::greedy(1 + static_cast<int>(random() % 70));
  if (random() % 2 == 0) {
    spec.sampler.temperature = random() % 2 == 0 ? 0.3f : 0.9f;
    spec.sampler.topK = random() % 2 == 0 ? 0 : 12;
    spec.sampler.topP = random() % 2 == 0 ? 1.0f : 0.8f;
    spec.sampler.seed = random();
  }
  if (random() % 3 == 0) spec.sampler.repetitionPenalty = 1.1f;
  if (random() % 3 == 0) spec.sampler.frequencyPenalty = 0.3f;
  if (random() % 3 == 0) spec.logprobs = static_cast<int>(random() % 4);
  if (random() % 2 == 0) spec.forced = forcedText(random, passage, random() % 60);
  return spec;
}

Program randomProgram(uint32_t seed, int hidden) {
  std::mt19937 random(seed);
  Program program;
  program.passage = repetitive(random, 20 + random() % 290);
  for (int i = 0; i < 6 * hidden; ++i)
    program.prompt.push_back(static_cast<float>(random() % 2001) / 1000.0f - 1.0f);
  const int outputs = 1 + static_cast<int>(random() % 3);
  for (int i = 0; i < outputs; ++i) {
    Output output;
    const auto rows = static_cast<int>(program.passage.size());
    output.prefixRows = random() % 2 == 0 ? rows : 1 + static_cast<int>(random() % rows);
    output.shift = random() % 2 == 0 ? 0 : static_cast<int>(random() % 40);
    output.opener = repetitive(random, 1 + random() % 20);
    output.spec = randomSpec(random, program.passage);
    program.outputs.push_back(std::move(output));
  }
  constexpr int kRows[] = {1, 2, 3, 7, 24, 512};
  program.options.maxBatchRows = kRows[random() % 6];
  program.options.threads = 1 + static_cast<int>(random() % 2);
  program.options.cacheBytes = 8 << 20;
  program.options.indexBytes = random() % 2 == 0 ? 0 : 2 << 20;
  return program;
}

struct Left {  // of one output
  Told told;
  int rows = 0;
  size_t blocks = 0;
  std::string identity;
  std::vector<float> readers;  // logits of a segment that reads it
};

struct Ran {
  std::vector<Left> outputs;
  EngineStats stats;
  int64_t rowsComputed = 0;
  size_t blocksUsed = 0, blocksKept = 0;
};

Append tokensOf(std::shared_ptr<Segment> segment, Tokens tokens) {
  Append append;
  append.segment = std::move(segment);
  append.count = static_cast<int>(tokens.size());
  append.tokens = std::move(tokens);
  return append;
}

Append promptOf(World& world, const Program& program) {
  Append append;
  append.segment = world.engine.createSegment({SegmentKind::kPrompt, -6, {}});
  append.embeddings = program.prompt;
  append.count = 6;
  append.close = true;
  return append;
}

Ran runProgram(const Program& program, const std::shared_ptr<const Model>& model, bool drafting) {
  World world(drafted(program.options, drafting), model);
  world.engine.setVocabulary(angleVocabulary(model->config.vocab));
  const Append prompt = promptOf(world, program);
  const Append passage = Cache::closing(tokensOf(world.segment(), program.passage));
  CHECK_EQ(world.sink->end(world.engine.submit(World::job({prompt, passage}))).failed, "");
  std::vector<Ptr> segments;
  std::vector<uint64_t> jobs;
  for (const Output& output : program.outputs) {
    const int start = output.prefixRows + output.shift;
    segments.push_back(world.engine.createSegment(
        {SegmentKind::kOutput,
         start,
         {{prompt.segment, 6, 0}, {passage.segment, output.prefixRows, output.shift}}}));
    jobs.push_back(world.engine.submit(
        World::generation(tokensOf(segments.back(), output.opener), output.spec)));
  }
  Ran ran;
  for (size_t i = 0; i < jobs.size(); ++i) {
    Left left;
    left.told = world.sink->end(jobs[i]);
    left.rows = segments[i]->rows();
    left.blocks = segments[i]->blockCount();
    left.identity = segments[i]->identity(left.rows);
    segments[i]->close();
    const int at = program.outputs[i].prefixRows + program.outputs[i].shift + left.rows;
    const auto reader = world.segment(at, {{segments[i], left.rows, 0}});
    left.readers = world.sink
                       ->end(world.engine.submit(
                           World::job({World::tokens(reader, 4, 77)}, LogitsWanted::kAll)))
                       .logits;
    ran.outputs.push_back(std::move(left));
  }
  ran.stats = world.engine.stats();
  ran.rowsComputed = world.engine.rowsComputed();
  segments.clear();
  world.engine.close();  // its thread lets go of what jobs held
  const Pool::Stats pool = world.engine.pool()->stats();
  ran.blocksUsed = pool.blocksUsed;
  ran.blocksKept = pool.blocksKept;
  return ran;
}

bool sameBits(const std::vector<float>& a, const std::vector<float>& b) {
  const size_t bytes = a.size() * sizeof(float);
  return a.size() == b.size() && (bytes == 0 || std::memcmp(a.data(), b.data(), bytes) == 0);
}

bool sameFigures(const Logprobs& a, const Logprobs& b) {
  return sameBits(a.chosen, b.chosen) && a.topIds == b.topIds &&
         sameBits(a.topLogprobs, b.topLogprobs);
}

bool sameLeft(const Left& a, const Left& b) {
  const DoneEvent &x = a.told.done, &y = b.told.done;
  return a.told.failed == b.told.failed && a.told.tokens == b.told.tokens && a.told.ends == 1 &&
         b.told.afterEnd == 0 && x.reason == y.reason && x.pending == y.pending &&
         x.tail == y.tail && x.closer == y.closer && x.stats.tokens == y.stats.tokens &&
         x.stats.rowsComputed == y.stats.rowsComputed && x.stats.rowsFound == y.stats.rowsFound &&
         sameFigures(a.told.logprobs, b.told.logprobs) && sameFigures(x.closing, y.closing) &&
         a.rows == b.rows && a.blocks == b.blocks && a.identity == b.identity &&
         sameBits(a.readers, b.readers);
}

// Some outputs end in the middle: with a token of theirs as closer, or at a text of theirs.
void addEnds(Program& program, const Ran& whole, std::mt19937& random) {
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    const Tokens& tokens = whole.outputs[i].told.tokens;
    GenerateSpec& spec = program.outputs[i].spec;
    if (tokens.size() < 3) continue;
    const size_t at = 1 + random() % (tokens.size() - 1);
    if (random() % 3 == 0) spec.closers = {tokens[at], 499};
    if (random() % 3 == 0) {
      const std::string before = std::to_string(tokens[at - 1] % 10);
      spec.stops = {before + "><" + std::to_string(tokens[at]) + ">", "no such text"};
    }
  }
}

struct Sum {
  int64_t drafted = 0, accepted = 0, closed = 0, stopped = 0, fewer = 0;
};

void compare(const Program& program, const std::shared_ptr<const Model>& model, Sum& sum,
             uint32_t seed) {
  const Ran plain = runProgram(program, model, false);
  const Ran guessed = runProgram(program, model, true);
  int64_t drafts = 0, accepted = 0;
  for (size_t i = 0; i < plain.outputs.size(); ++i) {
    const Left &a = plain.outputs[i], &b = guessed.outputs[i];
    if (!CHECK(sameLeft(a, b))) CHECK_EQ(std::to_string(seed) + " differs", "");
    CHECK_EQ(a.told.done.stats.draftedTokens, 0);
    drafts += b.told.done.stats.draftedTokens;
    accepted += b.told.done.stats.acceptedTokens;
    sum.closed += b.told.done.reason == DoneReason::kClosed ? 1 : 0;
    sum.stopped += b.told.done.reason == DoneReason::kStop ? 1 : 0;
  }
  CHECK_EQ(guessed.rowsComputed, plain.rowsComputed);
  CHECK_EQ(guessed.stats.decodeRows, plain.stats.decodeRows);
  CHECK_EQ(guessed.stats.prefillRows, plain.stats.prefillRows);
  CHECK_EQ(guessed.stats.draftedTokens, drafts);
  CHECK_EQ(guessed.stats.acceptedTokens, accepted);
  CHECK_EQ(guessed.blocksUsed, plain.blocksUsed);
  CHECK_EQ(guessed.blocksKept, plain.blocksKept);
  if (program.options.maxBatchRows == 1) CHECK_EQ(drafts, 0);
  sum.drafted += drafts;
  sum.accepted += accepted;
  sum.fewer += guessed.stats.turns < plain.stats.turns ? 1 : 0;
}

Sum comparePrograms(const char* file, int programs) {
  const auto model = fixtureModel(file);
  Sum sum;
  for (int i = 0; i < programs; ++i) {
    const auto seed = static_cast<uint32_t>(1000 + i);
    Program program = randomProgram(seed, model->config.hidden);
    std::mt19937 random(seed + 1);
    addEnds(program, runProgram(program, model, false), random);
    compare(program, model, sum, seed);
  }
  ::unsetenv("BATON_POISON_CACHE");
  return sum;
}

}  // namespace

TEST("drafting: random programs tell and leave the same, drafted or not") {
  const Sum sum = comparePrograms("tiny-llama/tiny-q8_0.gguf", 40);
  CHECK(sum.accepted > 200);
  CHECK(sum.drafted > sum.accepted + 200);  // many were taken back
  CHECK(sum.closed > 5);
  CHECK(sum.stopped > 5);
  CHECK(sum.fewer > 10);
}

TEST("drafting: the same with sliding windows") {
  const Sum sum = comparePrograms("families/gemma3.gguf", 8);
  CHECK(sum.accepted > 25);
  CHECK(sum.drafted > sum.accepted);
}
