// SPDX-License-Identifier: Apache-2.0
// Damaged safetensors files, JSON texts and model folders: taken or refused by a typed error,
// within the memory that they are worth. Seconds here; BATON_FUZZ=N runs N times as many.
#include <array>
#include <string_view>

#include "base/json.h"
#include "check.h"
#include "fuzz/hostile_formats.h"
#include "fuzz/mutate.h"
#include "model/hub_folder.h"

using namespace baton;
using namespace baton::test;

namespace {

// What JSON readers fall over.
constexpr std::array<std::string_view, 34> kPieces = {"{",
                                                      "}",
                                                      "[",
                                                      "]",
                                                      ",",
                                                      ":",
                                                      "\"",
                                                      "\\",
                                                      "\\u",
                                                      "\\ud83d",
                                                      "\\udc00",
                                                      "\\u0000",
                                                      "null",
                                                      "true",
                                                      "nul",
                                                      "-",
                                                      "-0",
                                                      "00",
                                                      "0.5e",
                                                      "1e999",
                                                      "1e-999",
                                                      "9223372036854775807",
                                                      "9223372036854775808",
                                                      "-9223372036854775809",
                                                      "18446744073709551616",
                                                      "0x10",
                                                      "NaN",
                                                      "\"\":",
                                                      "\"a\":1,",
                                                      "[[[[[[[[",
                                                      "{\"a\":{\"a\":",
                                                      "\xff",
                                                      "\xed\xa0\x80",
                                                      "\n"};

// Bytes, as anywhere, or pieces of JSON: one put in, a number exchanged, a span taken out or moved.
void mutateText(std::string& text, Random& random) {
  if (text.empty() || random() % 4 == 0) return mutate(text, text.size(), random);
  const size_t at = below(random, text.size());
  const std::string_view piece = kPieces[random() % kPieces.size()];
  switch (random() % 5) {
    case 0:
      text.insert(at, piece);
      return;
    case 1: {
      const size_t digit = text.find_first_of("0123456789", at);
      if (digit == std::string::npos) return;
      const size_t end = text.find_first_not_of("0123456789", digit);
      const std::string value =
          random() % 4 == 0 ? std::string(piece) : std::to_string(edgeValue(random));
      text.replace(digit, std::min(end, text.size()) - digit, value);
      return;
    }
    case 2:
      text.erase(at, 1 + below(random, 40));
      return;
    case 3:
      text.replace(at, 1, piece);
      return;
    default:
      text.insert(at, text.substr(below(random, text.size()), 1 + below(random, 80)));
  }
}

uint64_t seed(uint64_t number) {
  return number + static_cast<uint64_t>(fuzzFactor()) - 1;
}

std::string damaged(std::string text, Random& random) {
  for (uint64_t changes = 1 + random() % 3; changes != 0; --changes) mutateText(text, random);
  return text;
}

}  // namespace

TEST("json hostile: 60000 mutations are values or refused at a byte") {
  const std::string sound =
      R"({"a": [1, -2.5e3, {"deep": [[[]]]}], "\u00e9\ud83d\ude00": "\n\\", "t": [true, null]})";
  CHECK(readHostileJson(sound));
  const int rounds = 60000 * fuzzFactor();
  Random random(seed(20261121));
  int taken = 0;
  for (int i = 0; i < rounds; ++i) taken += readHostileJson(damaged(sound, random));
  CHECK(taken > rounds / 100);
  CHECK(taken < rounds / 2);
}

TEST("json hostile: depth, length and number of values are bounded") {
  for (const std::string open : {"[", "{\"a\":", "[{\"a\":[", "[[],"}) {
    std::string deep;
    for (int i = 0; i < 200000; ++i) deep += open;
    CHECK(!readHostileJson(deep));
  }
  CHECK(!readHostileJson("\"" + std::string(1 << 20, 'a')));
  CHECK(readHostileJson("\"" + std::string(1 << 20, 'a') + "\""));
  CHECK(readHostileJson(std::string(4000, '9')) == false);  // no double has it
  std::string wide = "[0";
  for (size_t i = 1; i < kMostJsonValues; ++i) wide += ",0";
  JsonFault fault;
  CHECK(!parseJson(wide + "]", fault));  // the array is one more
  CHECK(std::string_view(fault.what).find("values") != std::string_view::npos);
  wide.resize(wide.size() - 2);
  CHECK(parseJson(wide + "]", fault).has_value());
}

TEST("safetensors hostile: 60000 mutations are tensors or typed refusals") {
  const std::string sound = safetensors(kSecond);
  CHECK(readHostileSafetensors(sound));
  uint64_t length = 0;
  std::memcpy(&length, sound.data(), 8);
  const std::string header = sound.substr(8, length), data = sound.substr(8 + length, 256);
  const int rounds = 60000 * fuzzFactor();
  Random random(seed(20261122));
  // Small tensors, so that a round is mostly header: every kind of entry, and metadata.
  const std::string small =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
      R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},)"
      R"("c":{"dtype":"F16","shape":[1,1,5],"data_offsets":[22,32]}})";
  int taken = 0;
  for (int i = 0; i < rounds; ++i) {
    if (random() % 3 == 0) {  // anywhere in the file, the length included
      std::string bytes = withHeader(small, std::string(32, '\1'));
      mutate(bytes, 8 + small.size(), random);
      taken += readHostileSafetensors(bytes);
    } else {  // the header, with a length that fits it
      const std::string text = damaged(random() % 4 == 0 ? header : small, random);
      taken += readHostileSafetensors(withHeader(text, std::string(random() % 64 ? 32 : 31, '\1')));
    }
  }
  CHECK(taken > rounds / 200);
  CHECK(taken < rounds / 2);
}

TEST("hugging face hostile: 400 damaged files of a folder are refused or make a model") {
  HubFolder folder;
  folder.files["tokenizer.json"] = "{}";
  folder.files["tokenizer_config.json"] =
      R"({"add_bos_token": true, "bos_token": {"content": "<s>"}, "chat_template": [)"
      R"({"name": "default", "template": "x"}, {"name": "tool", "template": "y"}]})";
  folder.files["special_tokens_map.json"] = R"({"eos_token": "</s>", "bos_token": "<s>"})";
  folder.files["generation_config.json"] = R"({"eos_token_id": [2, 3], "bos_token_id": 1})";
  folder.files["config.json"] = replaced(
      kConfig, "\"rope_theta\": 5000.0",
      R"("rope_parameters": {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0,)"
      R"("low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64},)"
      R"("layer_types": ["full_attention"], "sliding_window": 8, "query_pre_attn_scalar": 16)");
  folder.load();
  std::vector<std::string> names;
  for (const auto& [name, text] : folder.files) names.push_back(name);
  const int rounds = 400 * fuzzFactor();
  Random random(seed(20261123));
  int taken = 0;
  for (int i = 0; i < rounds; ++i) {
    const std::string& name = names[random() % names.size()];
    const std::string& sound = folder.files[name];
    std::string bytes = sound;
    if (name.ends_with(".safetensors")) {
      mutate(bytes, 900, random);
    } else {
      bytes = damaged(bytes, random);
    }
    folder.folder.write(name.c_str(), bytes);
    taken += readHostileFolder(folder.path());
    folder.folder.write(name.c_str(), sound);
  }
  CHECK(taken > rounds / 50);
  CHECK(taken < rounds * 9 / 10);
}
