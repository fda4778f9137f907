// SPDX-License-Identifier: Apache-2.0
// A key that is absent, of another type or below its range is MODEL_FORMAT; one that is sound but
// beyond what is built is MODEL_UNSUPPORTED. Defaults are those of the GGUF specification.
#include "model/config.h"

#include <cstdio>
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
  const int valueDim = keys.integer("attention.value_length", kMostHeadDim, config.headDim);
  if (valueDim != config.headDim) {
    keys.unsupported(*keys.find("attention.value_length"), std::to_string(valueDim),
                     std::to_string(config.headDim) + ", the length of a key");
  }
  const int queryDim = config.heads * config.headDim;
  if (queryDim > kMostHidden || queryDim % 32 != 0) {
    keys.unsupported("heads times head dimension", queryDim,
                     "a multiple of 32, at most " + std::to_string(kMostHidden));
  }
}

void readRope(const ConfigReader& keys, ModelConfig& config) {
  const GgufEntry* type = keys.find("rope.scaling.type");
  if (type && !isText(*type, "none")) {
    keys.unsupported(*type, valueText(*type) + " (scaled rotary positions)", "'none'");
  }
  // Without a type a factor means linear scaling; 0 and 1 mean none.
  const GgufEntry* factor = keys.find("rope.scaling.factor");
  const double scale = factor ? asNumber(factor->value).value_or(-1) : 1;
  if (!type && scale != 0 && scale != 1) {
    keys.unsupported(*factor, valueText(*factor) + " (linearly scaled rotary positions)", "1");
  }
  const int turned = keys.integer("rope.dimension_count", kMostHeadDim, config.headDim);
  if (turned != config.headDim) {
    keys.unsupported(*keys.find("rope.dimension_count"),
                     std::to_string(turned) + " (rotary positions on a part of the head)",
                     std::to_string(config.headDim) + ", the head dimension");
  }
  config.ropeTheta = keys.real("rope.freq_base", 1, 1e12, 10000.0f);
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
  keys.refuseNeutral(family.neutralKeys);
  ModelConfig config{};
  config.family = family.name;
  config.ropePairing = family.ropePairing;
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
  config.vocab = readVocab(file, family);
  return config;
}

}  // namespace baton
