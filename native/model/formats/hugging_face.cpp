// SPDX-License-Identifier: Apache-2.0
// The tensors. Names change to GGUF's, norms to what they multiply by; rows of Q and K keep Hugging
// Face's order, which the config is told.
#include "model/formats/hugging_face.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>

#include "model/families/decoder.h"
#include "model/fault.h"
#include "model/formats/safetensors.h"

namespace baton {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kConfig = "config.json";
constexpr uint64_t kMostIndexBytes = 64u << 20;
constexpr const char* kFetchAgain =
    "Fetch the folder again, complete, with all shards of one revision.";

constexpr std::string_view kEmbedding = "model.embed_tokens.weight";
constexpr CheckpointName kNames[] = {
    {kEmbedding, "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
};
constexpr std::string_view kLayerPrefix = "model.layers.";
// Tables that follow from the config; older checkpoints carry them.
constexpr std::string_view kDerived = ".rotary_emb.inv_freq";

// The name behind a layer's prefix; nothing where there is none.
std::optional<std::string> layerName(std::span<const CheckpointName> names,
                                     const std::string& rest) {
  for (const CheckpointName& row : names) {
    if (rest.starts_with(row.theirs)) return std::string(row.ours) + rest.substr(row.theirs.size());
  }
  return std::nullopt;
}

// GGUF's name, or the name itself where there is none: the binder refuses that one by name.
std::string ggufName(const std::string& name, const Checkpoint& checkpoint) {
  for (const CheckpointName& row : kNames) {
    if (name == row.theirs) return std::string(row.ours);
  }
  if (!name.starts_with(kLayerPrefix)) return name;
  const size_t begin = kLayerPrefix.size();
  const size_t dot = name.find('.', begin);
  const std::string layer = name.substr(begin, dot - begin);
  if (dot == std::string::npos || layer.empty() ||
      layer.find_first_not_of("0123456789") != std::string::npos) {
    return name;
  }
  const std::string rest = name.substr(dot + 1);
  auto ours = layerName(checkpoint.names, rest);
  if (!ours) ours = layerName(kDecoderCheckpointNames, rest);
  return ours ? "blk." + layer + "." + *ours : name;
}

class Builder {
 public:
  Builder(std::string path, const fs::path& folder) {
    parts_.path = std::move(path);
    parts_.format = "safetensors";
    parts_.rotaryHalves = true;
    facts_ = readHuggingFaceConfig(folder.string(), parts_);
  }

  // All tensors of one file. Gives their names in the file.
  std::vector<std::string> add(MappedFile mapping, const std::string& path) {
    const Safetensors file = readSafetensors(mapping.bytes(), path);
    parts_.mappings.push_back(std::move(mapping));
    parts_.header += file.header;
    std::vector<std::string> names;
    for (const SafetensorsTensor& tensor : file.tensors) {
      names.push_back(tensor.name);
      if (tensor.name == "lm_head.weight") hasHead_ = true;
      // A tied head that was saved all the same is the embedding once more.
      const bool left = tensor.name.ends_with(kDerived) ||
                        (facts_.tied.value_or(false) && tensor.name == "lm_head.weight");
      if (!left) addTensor(tensor);
    }
    return names;
  }

  std::unique_ptr<GgufFile> build() {
    if (facts_.tied == false && !hasHead_) {
      refuseFormat({parts_.path, "tensor 'lm_head.weight'", "absent",
                    "the output head, which config.json does not tie to the embedding"});
    }
    return GgufFile::assemble(std::move(parts_));
  }

 private:
  void addTensor(const SafetensorsTensor& from) {
    GgufTensor tensor{};
    tensor.name = parts_.texts.emplace_back(ggufName(from.name, *facts_.checkpoint));
    tensor.type = from.type;
    tensor.dims = static_cast<int>(from.shape.size());
    tensor.shape.fill(1);
    std::ranges::reverse_copy(from.shape, tensor.shape.begin());
    tensor.offset = from.offset;
    tensor.bytes = from.data.size();
    tensor.data = from.data.data();
    if (from.name == kEmbedding && facts_.rows && from.shape[0] != *facts_.rows) {
      refuseFormat({parts_.path, "'vocab_size' in config.json", std::to_string(*facts_.rows),
                    std::to_string(from.shape[0]) + ", the rows of " + quote(from.name)});
    }
    const bool isNorm = from.shape.size() == 1 && from.name.ends_with("norm.weight");
    if (isNorm && facts_.checkpoint->normsLessOne) addOne(tensor);
    parts_.tensors.push_back(tensor);
  }

  void addOne(GgufTensor& norm) {
    const auto length = static_cast<size_t>(norm.elements());
    std::vector<float>& values = parts_.values.emplace_back(length);
    norm.type->dequantize(norm.data, values.data(), length);
    for (float& value : values) value += 1;
    norm.type = &quantType(DType::kF32);
    norm.bytes = length * sizeof(float);
    norm.data = reinterpret_cast<const std::byte*>(values.data());
  }

  ModelParts parts_;
  TensorFacts facts_;
  bool hasHead_ = false;
};

// The shards of an index: file name -> names of the tensors that it must hold, sorted.
using Shards = std::map<std::string, std::vector<std::string>>;

bool isPlainName(const std::string& name) {
  return !name.empty() && name[0] != '.' && name.find_first_of("/\\:") == std::string::npos &&
         name.find('\0') == std::string::npos;
}

Shards readIndex(const std::string& path) {
  const Json index = readJsonFile(path, kMostIndexBytes);
  const Json* map = index.find("weight_map");
  if (map == nullptr || map->object() == nullptr || map->object()->empty()) {
    refuseFormat({path, "weight_map", map == nullptr ? "absent" : "empty or no object",
                  "tensor names with their files", std::nullopt, kFetchAgain});
  }
  Shards shards;
  for (const auto& [tensor, file] : *map->object()) {
    if (file.text() == nullptr || !isPlainName(*file.text())) {
      refuseFormat({path, "shard of tensor " + quote(tensor),
                    file.text() != nullptr ? quote(*file.text()) : "no text",
                    "the name of a file in the same folder", std::nullopt, kFetchAgain});
    }
    shards[*file.text()].push_back(tensor);
  }
  for (auto& [file, tensors] : shards) std::ranges::sort(tensors);
  return shards;
}

// A shard holds exactly the tensors that the index says.
void requireSame(const std::string& path, const std::string& shard,
                 const std::vector<std::string>& wanted, std::vector<std::string> found) {
  std::ranges::sort(found);
  std::vector<std::string> missing, extra;
  std::ranges::set_difference(wanted, found, std::back_inserter(missing));
  std::ranges::set_difference(found, wanted, std::back_inserter(extra));
  if (missing.empty() && extra.empty()) return;
  const std::string& tensor = missing.empty() ? extra.front() : missing.front();
  refuseFormat({path, "shard " + quote(shard),
                missing.empty() ? "with tensor " + quote(tensor) + ", which the index does not name"
                                : "without tensor " + quote(tensor),
                "exactly the tensors that " + std::string(kIndex) + " names for it", std::nullopt,
                kFetchAgain});
}

void addShards(Builder& builder, const fs::path& folder) {
  const std::string index = (folder / kIndex).string();
  const Shards shards = readIndex(index);
  std::error_code ignored;
  for (const auto& [name, tensors] : shards) {  // before any is mapped: all or nothing
    if (fs::is_regular_file(folder / name, ignored)) continue;
    refuseFormat(
        {folder.string(), "shard " + quote(name), "absent",
         "one of the " + std::to_string(shards.size()) + " files that " + kIndex + " names",
         std::nullopt, kFetchAgain});
  }
  for (const auto& [name, tensors] : shards) {
    const std::string path = (folder / name).string();
    requireSame(path, name, tensors, builder.add(MappedFile::open(path), path));
  }
}

}  // namespace

std::unique_ptr<GgufFile> openModelFolder(const std::string& path) {
  const fs::path folder(path);
  Builder builder(path, folder);
  std::error_code ignored;
  if (fs::exists(folder / kIndex, ignored)) {
    addShards(builder, folder);
  } else {
    const std::string single = (folder / kSingle).string();
    if (!fs::exists(single, ignored)) {
      refuseFormat({path, "folder", "without weights",
                    std::string(kSingle) + ", or shards with " + kIndex, std::nullopt,
                    "Fetch or save the model as safetensors."});
    }
    builder.add(MappedFile::open(single), single);
  }
  return builder.build();
}

std::unique_ptr<GgufFile> parseSafetensorsModel(MappedFile mapping, const std::string& path) {
  const fs::path folder = fs::path(path).parent_path();
  std::error_code ignored;
  if (!fs::exists(folder / kConfig, ignored)) {
    refuseFormat({path, "config.json beside the file", "absent",
                  "the config of the model, which safetensors files do not hold", std::nullopt,
                  "Put config.json and tokenizer.json beside it, as in the model's folder."});
  }
  Builder builder(path, folder);
  builder.add(std::move(mapping), path);
  return builder.build();
}

}  // namespace baton
