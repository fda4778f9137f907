// SPDX-License-Identifier: Apache-2.0
// A key that is absent, of another type or below its range is MODEL_FORMAT; one that is sound but
// beyond what is built is MODEL_UNSUPPORTED. Defaults are those of the GGUF specification.
#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numbers>
#include <optional>

#include "model/fault.h"

namespace baton {
namespace {

std::optional<double> asNumber(const GgufValue& value) {
  if (const auto* number = std::get_if<uint64_t>(&value)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<int64_t>(&value)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<double>(&value)) return *number;
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? 1.0 : 0.0;
  return std::nullopt;
}

std::string valueText(const GgufEntry& entry) {
  if (const auto* text = std::get_if<std::string_view>(&entry.value)) return quote(*text);
  if (std::holds_alternative<GgufArray>(entry.value)) return "an array";
  if (const auto* number = std::get_if<uint64_t>(&entry.value)) return std::to_string(*number);
  if (const auto* number = std::get_if<int64_t>(&entry.value)) return std::to_string(*number);
  if (const auto* flag = std::get_if<bool>(&entry.value)) return *flag ? "true" : "false";
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", std::get<double>(entry.value));
  return text;
}

bool isText(const GgufEntry& entry, std::string_view wanted) {
  const auto* text = std::get_if<std::string_view>(&entry.value);
  return text && *text == wanted;
}

// Keys of one family in one file.
class ConfigReader {
 public:
  ConfigReader(const GgufFile& file, const Family& family)
      : file_(file), prefix_(std::string(family.name) + ".") {}

  const GgufEntry* find(const std::string& key) const { return file_.findMetadata(prefix_ + key); }

  // In [1, most]; `absent` stands in for a key that may be missing.
  int integer(const std::string& key, int most, std::optional<int> absent = std::nullopt) const {
    const GgufEntry* entry = find(key);
    if (!entry && absent) return *absent;
    if (!entry) refuseAbsent(key, "an integer");
    if (std::holds_alternative<GgufArray>(entry->value)) {
      unsupported(*entry, "an array (a value for each layer)", "one integer for all layers");
    }
    const auto value = ggufUnsigned(entry->value);
    if (!value || *value == 0) format(*entry, "a positive integer");
    if (*value > static_cast<uint64_t>(most)) {
      unsupported(*entry, valueText(*entry), "at most " + std::to_string(most));
    }
    return static_cast<int>(*value);
  }

  // In [least, most].
  float real(const std::string& key, double least, double most,
             std::optional<float> absent = std::nullopt) const {
    const GgufEntry* entry = find(key);
    if (!entry && absent) return *absent;
    if (!entry) refuseAbsent(key, "a number");
    const auto value = asNumber(entry->value);
    if (!value || !(*value >= least && *value <= most)) {
      char range[80];
      std::snprintf(range, sizeof range, "a number from %.9g to %.9g", least, most);
      format(*entry, range);
    }
    return static_cast<float>(*value);
  }

  // An integer that must have this value if it is there at all.
  void require(const std::string& key, int most, int value, const char* meaning) const {
    const int found = integer(key, most, value);
    if (found != value) {
      unsupported(*find(key), std::to_string(found), std::to_string(value) + ", " + meaning);
    }
  }

  [[noreturn]] void format(const GgufEntry& entry, const std::string& expected) const {
    refuseFormat(
        {file_.path(), "metadata " + quote(entry.key), valueText(entry), expected, entry.offset});
  }

  [[noreturn]] void unsupported(const GgufEntry& entry, const std::string& value,
                                const std::string& expected) const {
    refuseUnsupported(
        {file_.path(), "metadata " + quote(entry.key), value, expected, entry.offset});
  }

  // For a number that follows from several keys.
  [[noreturn]] void unsupported(const std::string& what, int value,
                                const std::string& expected) const {
    refuseUnsupported({file_.path(), what, std::to_string(value), expected});
  }

  void refuseNeutral(std::span<const NeutralKey> keys) const {
    for (const NeutralKey& row : keys) {
      const GgufEntry* entry = find(row.key);
      if (!entry || asNumber(entry->value) == row.neutral) continue;
      char neutral[32];
      std::snprintf(neutral, sizeof neutral, "%.9g", row.neutral);
      unsupported(*entry, valueText(*entry) + " (" + row.meaning + ")",
                  std::string(neutral) + " or no such key");
    }
  }

 private:
  [[noreturn]] void refuseAbsent(const std::string& key, const char* expected) const {
    refuseFormat({file_.path(), "metadata " + quote(prefix_ + key), "absent", expected});
  }

  const GgufFile& file_;
  std::string prefix_;
};

void readHeads(const ConfigReader& keys, ModelConfig& config) {
  config.heads = keys.integer("attention.head_count", kMostHeads);
  config.kvHeads = keys.integer("attention.head_count_kv", kMostHeads, config.heads);
  if (config.heads % config.kvHeads != 0) {
    keys.format(*keys.find("attention.head_count_kv"),
                "a divisor of the " + std::to_string(config.heads) + " query heads");
  }
  if (!keys.find("attention.key_length") && config.hidden % config.heads != 0) {
    keys.format(*keys.find("attention.head_count"), "a divisor of embedding_length " +
                                                        std::to_string(config.hidden) +
                                                        ", or attention.key_length beside it");
  }
  config.headDim = keys.integer("attention.key_length", kMostHeadDim, config.hidden / config.heads);
  if (config.headDim > kMostHeadDim || config.headDim % 16 != 0) {
    keys.unsupported("the head dimension", config.headDim, "a multiple of 16, at most 256");
  }
  for (const char* key :
       {"attention.value_length", "attention.key_length_swa", "attention.value_length_swa"}) {
    keys.require(key, kMostHeadDim, config.headDim, "the length of a key");
  }
  const int queryDim = config.heads * config.headDim;
  if (queryDim > kMostHidden || queryDim % 32 != 0) {
    keys.unsupported("heads times head dimension", queryDim,
                     "a multiple of 32, at most " + std::to_string(kMostHidden));
  }
}

// Divisors of Llama 3.1's frequencies [D / 2]: 1 where a pair turns often within the context that
// the model was first trained on, `factor` where it hardly turns, a blend of the rates in between.
std::vector<float> llama3Factors(const ConfigReader& keys, const ModelConfig& config, double base) {
  const double factor = keys.real("rope.scaling.factor", 1, kMostRopeScale);
  const double low = keys.real("rope.scaling.low_freq_factor", 1e-6, 1e6);
  const double high = keys.real("rope.scaling.high_freq_factor", 1e-6, 1e6);
  const int context = keys.integer("rope.scaling.original_context_length", kMostContext);
  if (!(high > low)) {
    keys.format(*keys.find("rope.scaling.high_freq_factor"), "more than low_freq_factor");
  }
  std::vector<float> factors;
  for (int i = 0; i < config.headDim / 2; ++i) {
    const double radians = context * std::pow(base, -2.0 * i / config.headDim);
    const double turns = radians / (2 * std::numbers::pi);
    const double fast = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    factors.push_back(static_cast<float>(1 / ((1 - fast) / factor + fast)));
  }
  return factors;
}

void readRope(const ConfigReader& keys, ModelConfig& config) {
  keys.require("rope.dimension_count", kMostHeadDim, config.headDim,
               "rotary positions on the whole head");
  RopeSpec rope;
  rope.base = keys.real("rope.freq_base", 1, 1e12, 10000.0f);
  const GgufEntry* type = keys.find("rope.scaling.type");
  if (type && isText(*type, "llama3")) {
    rope.factors = llama3Factors(keys, config, rope.base);
  } else if (!type || isText(*type, "linear")) {
    // Without a type a factor means linear scaling; 0 means none. The second key is the older name.
    const bool renamed = keys.find("rope.scaling.factor") != nullptr;
    const char* key = renamed ? "rope.scaling.factor" : "rope.scale_linear";
    const double scale = keys.real(key, 0, kMostRopeScale, 1.0f);
    rope.scale = scale == 0 ? 1 : scale;
  } else if (!isText(*type, "none")) {
    keys.unsupported(*type, valueText(*type) + " (scaled rotary positions)",
                     "'none', 'linear' or 'llama3'");
  }
  config.ropes = {rope};
}

// Which layers have a window: as the metadata says (a period, or a flag for each layer), else as
// the family does.
std::vector<bool> readWindowed(const ConfigReader& keys, const Family& family, int layers) {
  const auto periodic =
      [layers](int period) {  // the last of every `period` layers reads everything
        std::vector<bool> windowed;
        for (int i = 0; i < layers; ++i) windowed.push_back(period == 0 || (i + 1) % period != 0);
        return windowed;
      };
  constexpr const char* kKey = "attention.sliding_window_pattern";
  const GgufEntry* entry = keys.find(kKey);
  if (!entry) return periodic(family.globalEvery);
  const auto* array = std::get_if<GgufArray>(&entry->value);
  if (!array) return periodic(asNumber(entry->value) == 0 ? 0 : keys.integer(kKey, kMostLayers));
  std::vector<bool> windowed;
  if (array->count == static_cast<uint64_t>(layers)) {
    array->forEach([&](const GgufValue& value) {
      if (const auto flag = asNumber(value)) windowed.push_back(*flag != 0);
    });
  }
  if (windowed.size() != static_cast<size_t>(layers)) {
    keys.format(*entry,
                "a period, or a flag for each of the " + std::to_string(layers) + " layers");
  }
  return windowed;
}

void readLayers(const ConfigReader& keys, const Family& family, ModelConfig& config) {
  config.layerSpecs.assign(static_cast<size_t>(config.layers), LayerSpec{});
  constexpr const char* kKey = "attention.sliding_window";
  const GgufEntry* entry = keys.find(kKey);
  if (!entry || asNumber(entry->value) == 0) return;
  const int window = keys.integer(kKey, std::numeric_limits<int>::max());
  if (!family.windows) {
    keys.unsupported(*entry, valueText(*entry) + " (attention over a sliding window)",
                     "0 or no such key");
  }
  RopeSpec local = config.ropes[0];
  if (family.localRopeBase != 0) local = {.base = family.localRopeBase};
  local.base = keys.real("rope.freq_base_swa", 1, 1e12, static_cast<float>(local.base));
  const bool same = family.localRopeBase == 0 && local.base == config.ropes[0].base;
  if (!same) config.ropes.push_back(local);
  const std::vector<bool> windowed = readWindowed(keys, family, config.layers);
  for (size_t i = 0; i < windowed.size(); ++i) {
    // A window as long as the context hides nothing.
    if (windowed[i]) config.layerSpecs[i] = {std::min(window, kMostContext), same ? 0 : 1};
  }
}

// What a family's layers multiply by.
void readScales(const ConfigReader& keys, const Family& family, ModelConfig& config) {
  const float width = static_cast<float>(config.hidden);
  config.embeddingScale = family.scaledEmbedding ? std::sqrt(width) : 1.0f;
  const float scale = keys.real("attention.scale", 0, 1e6, 0.0f);
  config.attentionScale = scale != 0 ? scale
                          : family.attentionScale
                              ? family.attentionScale(config)
                              : 1 / std::sqrt(static_cast<float>(config.headDim));
}

int readVocab(const GgufFile& file, const Family& family) {
  const GgufTensor* embedding = file.findTensor(family.embedding);
  const std::string field = "tensor " + quote(family.embedding);
  if (!embedding) refuseFormat({file.path(), field, "absent", "the embedding of every token"});
  const int64_t rows = embedding->shape[1];
  if (rows > kMostVocab) {
    refuseUnsupported({file.path(), field, "of " + std::to_string(rows) + " rows",
                       "at most " + std::to_string(kMostVocab)});
  }
  const GgufEntry* tokens = file.findMetadata("tokenizer.ggml.tokens");
  const auto* array = tokens ? std::get_if<GgufArray>(&tokens->value) : nullptr;
  if (tokens && (!array || array->elementType != GgufType::kString)) {
    refuseFormat({file.path(), "metadata 'tokenizer.ggml.tokens'", "of another type",
                  "an array of strings", tokens->offset});
  }
  if (array && array->count != static_cast<uint64_t>(rows)) {
    refuseFormat(
        {file.path(), "length of metadata 'tokenizer.ggml.tokens'", std::to_string(array->count),
         std::to_string(rows) + ", the rows of " + quote(family.embedding), tokens->offset});
  }
  return static_cast<int>(rows);
}

}  // namespace

const Family& readFamily(const GgufFile& file) {
  const GgufEntry* kind = file.findMetadata("general.type");
  if (kind && !isText(*kind, "model")) {
    refuseUnsupported({file.path(), "metadata 'general.type'", valueText(*kind), "'model'",
                       kind->offset, "Give the file of the model itself."});
  }
  const GgufEntry* entry = file.findMetadata("general.architecture");
  const auto* name = entry ? std::get_if<std::string_view>(&entry->value) : nullptr;
  if (!name) {
    refuseFormat({file.path(), "metadata 'general.architecture'",
                  entry ? valueText(*entry) : "absent", "the name of a model family"});
  }
  if (const Family* family = findFamily(*name)) return *family;
  std::string known;
  for (const Family* family : families()) {
    known += (known.empty() ? "" : ", ") + quote(family->name);
  }
  refuseUnsupported({file.path(), "metadata 'general.architecture'", quote(*name),
                     "one of " + known, entry->offset, "Use a model of a known family."});
}

ModelConfig readConfig(const GgufFile& file, const Family& family) {
  const ConfigReader keys(file, family);
  keys.refuseNeutral(neutralKeys());
  ModelConfig config{};
  config.family = family.name;
  config.ropePairing = file.rotaryHalves() ? RopePairing::kHalves : family.ropePairing;
  config.activation = family.activation;
  config.layers = keys.integer("block_count", kMostLayers);
  config.hidden = keys.integer("embedding_length", kMostHidden);
  config.ffn = keys.integer("feed_forward_length", kMostFfn);
  config.contextLength = keys.integer("context_length", kMostContext);
  config.normEpsilon = keys.real("attention.layer_norm_rms_epsilon", 1e-12, 1);
  for (const char* key : {"embedding_length", "feed_forward_length"}) {
    const GgufEntry& entry = *keys.find(key);
    if (*ggufUnsigned(entry.value) % 32 != 0) {
      keys.unsupported(entry, valueText(entry), "a multiple of 32");
    }
  }
  readHeads(keys, config);
  readRope(keys, config);
  readLayers(keys, family, config);
  readScales(keys, family, config);
  config.vocab = readVocab(file, family);
  return config;
}

}  // namespace baton
