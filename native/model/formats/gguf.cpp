// SPDX-License-Identifier: Apache-2.0
// The order of checks: preamble, metadata, tensor infos, then where the data lies. A tensor's data
// pointer is made last, when its range is known to be inside the file and to overlap no other.
#include "model/formats/gguf.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "model/fault.h"
#include "model/formats/formats.h"
#include "model/formats/gguf_reader.h"

namespace baton {
namespace {

constexpr std::string_view kMagic = "GGUF";
// Bounds the time of parsing: a sparse file of terabytes could claim a string array that takes
// hours to walk.
constexpr uint64_t kMostHeaderBytes = 256u << 20;
constexpr uint64_t kMostEntries = 1u << 20;   // of metadata, and of tensors
constexpr uint64_t kLongestKey = 65535;       // as the format says
constexpr uint64_t kLongestTensorName = 128;  // the format says 64; some writers are built with 128
constexpr uint32_t kMostDims = 4;
constexpr uint64_t kMostElements = uint64_t{1} << 48;
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMostAlignment = 1u << 20;
constexpr uint64_t kSmallestEntry = 8 + 1 + 4 + 1;  // key, type, value
constexpr uint64_t kSmallestTensorInfo =
    8 + 1 + 4 + 8 + 4 + 8;  // name, dims, one dim, type, offset

// Names of types that exist but are not built, so that an error can say what the file holds.
struct KnownType {
  uint32_t id;
  const char* name;
};
constexpr KnownType kOtherTypes[] = {
    {9, "Q8_1"},     {10, "Q2_K"},  {11, "Q3_K"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"},
    {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"},
    {24, "I8"},      {25, "I16"},   {26, "I32"},    {27, "I64"},   {28, "F64"},     {29, "IQ1_M"},
    {34, "TQ1_0"},   {35, "TQ2_0"}, {39, "MXFP4"}};

std::string typeText(uint32_t id) {
  std::string text = std::to_string(id);
  for (const KnownType& type : kOtherTypes) {
    if (type.id == id) text += std::string(" (") + type.name + ")";
  }
  return text;
}

std::string supportedTypes() {
  std::string text = "one of";
  for (const QuantType& type : quantTypes()) {
    text += std::string(text.back() == 'f' ? " " : ", ") + type.name;
  }
  return text;
}

// Indices of `items` in order of `name(item)`; `repeated(item)` is called for an item whose name
// came before.
template <class Item, class Name, class Repeated>
std::vector<uint32_t> sortedByName(const std::vector<Item>& items, Name name, Repeated repeated) {
  std::vector<uint32_t> order(items.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::sort(order, [&](uint32_t a, uint32_t b) {
    const int compared = name(items[a]).compare(name(items[b]));
    return compared != 0 ? compared < 0 : a < b;
  });
  for (size_t i = 1; i < order.size(); ++i) {
    if (name(items[order[i]]) == name(items[order[i - 1]])) repeated(items[order[i]]);
  }
  return order;
}

template <class Item, class Name>
const Item* findByName(const std::vector<Item>& items, const std::vector<uint32_t>& order,
                       std::string_view wanted, Name name) {
  const auto found = std::ranges::lower_bound(order, wanted, {},
                                              [&](uint32_t index) { return name(items[index]); });
  if (found == order.end() || name(items[*found]) != wanted) return nullptr;
  return &items[*found];
}

std::string_view keyOf(const GgufEntry& entry) {
  return entry.key;
}
std::string_view nameOf(const GgufTensor& tensor) {
  return tensor.name;
}

}  // namespace

class GgufParser {
 public:
  explicit GgufParser(GgufFile& file)
      : file_(file),
        reader_(file.bytes_.first(std::min<uint64_t>(file.bytes_.size(), kMostHeaderBytes)),
                file.path_) {}

  void run() {
    readMagic();
    readVersion();
    const uint64_t tensors = reader_.count({"tensor count"}, kSmallestTensorInfo, kMostEntries);
    const uint64_t entries = reader_.count({"metadata count"}, kSmallestEntry, kMostEntries);
    for (uint64_t i = 0; i < entries; ++i) readEntry(static_cast<int64_t>(i));
    file_.metadataByKey_ = sortedByName(file_.metadata_, keyOf, [&](const GgufEntry& entry) {
      reader_.fail({"metadata key", entry.key}, "given twice", "unique keys", entry.offset);
    });
    refuseSplit();
    for (uint64_t i = 0; i < tensors; ++i) readTensor(static_cast<int64_t>(i));
    file_.tensorsByName_ = sortedByName(file_.tensors_, nameOf, [&](const GgufTensor& tensor) {
      reader_.fail({"tensor name", tensor.name}, "given twice", "unique names", infoAt(tensor));
    });
    file_.header_ = file_.bytes_.first(reader_.offset());
    placeData();
    refuseOverlaps();
  }

 private:
  void readMagic() {
    if (GgufFile::matches(file_.bytes_)) {
      reader_.take(kMagic.size(), {"magic"});
      return;
    }
    refuseNoModel(file_.path_, file_.bytes_);
  }

  void readVersion() {
    const auto version = reader_.scalar<uint32_t>({"version"});
    if (version == 2 || version == 3) {
      file_.version_ = version;
      return;
    }
    const bool swapped = version != 0 && (version & 0xffff) == 0;
    refuseFormat({file_.path_, "GGUF version",
                  swapped ? "of a big-endian file" : std::to_string(version),
                  swapped ? "a little-endian file" : "2 or 3", kMagic.size(),
                  "Convert the model to GGUF version 3, little-endian, or fetch such a file."});
  }

  void readEntry(int64_t index) {
    const uint64_t at = reader_.offset();
    GgufEntry entry;
    entry.key = reader_.string({"key of metadata entry", {}, index}, kLongestKey);
    if (entry.key.empty()) {
      reader_.fail({"key of metadata entry", {}, index}, "empty", "a name", at);
    }
    entry.type = reader_.type({"value type of metadata", entry.key});
    entry.offset = reader_.offset();
    entry.value = reader_.value(entry.type, {"metadata", entry.key});
    file_.metadata_.push_back(entry);
  }

  void refuseSplit() {
    const GgufEntry* entry = file_.findMetadata("split.count");
    if (!entry) return;
    const auto parts = ggufUnsigned(entry->value);
    if (parts && *parts <= 1) return;
    refuseUnsupported(
        {file_.path_, "metadata 'split.count'",
         parts ? std::to_string(*parts) + " (one part of a model in several files)" : "no count",
         "a model in one file", entry->offset,
         "Merge the parts into one GGUF file, or fetch a merged one."});
  }

  void readTensor(int64_t index) {
    infoOffsets_.push_back(reader_.offset());
    GgufTensor tensor{};
    tensor.name = reader_.string({"name of tensor", {}, index}, kLongestTensorName);
    if (tensor.name.empty()) {
      reader_.fail({"name of tensor", {}, index}, "empty", "a name", infoOffsets_.back());
    }
    readShape(tensor);
    readType(tensor);
    tensor.offset = reader_.scalar<uint64_t>({"offset of tensor", tensor.name});
    file_.tensors_.push_back(tensor);
  }

  void readShape(GgufTensor& tensor) {
    const GgufField field{"shape of tensor", tensor.name};
    const uint64_t at = reader_.offset();
    const auto dims = reader_.scalar<uint32_t>({"dimension count of tensor", tensor.name});
    if (dims < 1 || dims > kMostDims) {
      reader_.fail({"dimension count of tensor", tensor.name}, std::to_string(dims), "1 to 4", at);
    }
    tensor.dims = static_cast<int>(dims);
    tensor.shape.fill(1);
    uint64_t elements = 1;
    for (uint32_t d = 0; d < dims; ++d) {
      const uint64_t dimAt = reader_.offset();
      const auto dim = reader_.scalar<uint64_t>(field);
      if (dim < 1 || dim > kMostElements / elements) {
        reader_.fail(
            field, std::to_string(dim) + " in dimension " + std::to_string(d),
            "at least 1, and no more than " + std::to_string(kMostElements) + " elements in all",
            dimAt);
      }
      elements *= dim;
      tensor.shape[d] = static_cast<int64_t>(dim);
    }
  }

  void readType(GgufTensor& tensor) {
    const uint64_t at = reader_.offset();
    const auto id = reader_.scalar<uint32_t>({"type of tensor", tensor.name});
    tensor.type = findQuantType(id);
    if (!tensor.type) {
      refuseUnsupported({file_.path_, GgufField{"type of tensor", tensor.name}.text(), typeText(id),
                         supportedTypes(), at,
                         "Fetch or convert the model with one of these weight types."});
    }
    if (tensor.shape[0] % tensor.type->blockElements != 0) {
      reader_.fail({"row length of tensor", tensor.name}, std::to_string(tensor.shape[0]),
                   "a multiple of " + std::to_string(tensor.type->blockElements) + " for " +
                       tensor.type->name,
                   at);
    }
    tensor.bytes = quantRowBytes(*tensor.type, tensor.elements());  // below 2^51
  }

  uint64_t readAlignment() const {
    const GgufEntry* entry = file_.findMetadata("general.alignment");
    if (!entry) return kDefaultAlignment;
    const uint64_t alignment = ggufUnsigned(entry->value).value_or(0);
    if (alignment < 8 || alignment > kMostAlignment || (alignment & (alignment - 1)) != 0) {
      reader_.fail({"metadata", entry->key}, std::to_string(alignment),
                   "a power of two from 8 to " + std::to_string(kMostAlignment), entry->offset);
    }
    return alignment;
  }

  void placeData() {
    const uint64_t alignment = readAlignment();
    if (file_.tensors_.empty()) return;
    const uint64_t size = file_.bytes_.size();
    const uint64_t start = (file_.header_.size() + alignment - 1) & ~(alignment - 1);
    if (start > size) {
      reader_.fail({"start of the tensor data"}, "byte " + std::to_string(start),
                   "inside the file of " + std::to_string(size) + " bytes", file_.header_.size());
    }
    for (GgufTensor& tensor : file_.tensors_) {
      const GgufField field{"offset of tensor", tensor.name};
      if (tensor.offset % alignment != 0) {
        reader_.fail(field, std::to_string(tensor.offset),
                     "a multiple of " + std::to_string(alignment), infoAt(tensor));
      }
      if (tensor.offset > size - start || tensor.bytes > size - start - tensor.offset) {
        reader_.fail(
            field,
            std::to_string(tensor.offset) + " with " + std::to_string(tensor.bytes) +
                " bytes of data",
            "data inside the file, which holds " + std::to_string(size - start) + " bytes of it",
            infoAt(tensor));
      }
      tensor.offset += start;
      tensor.data = file_.bytes_.data() + tensor.offset;
    }
  }

  void refuseOverlaps() const {
    std::vector<uint32_t> order(file_.tensors_.size());
    std::iota(order.begin(), order.end(), 0u);
    std::ranges::sort(order, {}, [&](uint32_t i) { return file_.tensors_[i].offset; });
    for (size_t i = 1; i < order.size(); ++i) {
      const GgufTensor& before = file_.tensors_[order[i - 1]];
      const GgufTensor& tensor = file_.tensors_[order[i]];
      if (tensor.offset < before.offset + before.bytes) {
        reader_.fail({"data of tensor", tensor.name}, "overlapping " + quote(before.name),
                     "data of its own", infoAt(tensor));
      }
    }
  }

  uint64_t infoAt(const GgufTensor& tensor) const {
    return infoOffsets_[static_cast<size_t>(&tensor - file_.tensors_.data())];
  }

  GgufFile& file_;
  GgufReader reader_;
  std::vector<uint64_t> infoOffsets_;  // of each tensor info, for errors
};

std::unique_ptr<GgufFile> GgufFile::open(const std::string& path) {
  return parse(MappedFile::open(path), path);
}

std::unique_ptr<GgufFile> GgufFile::parse(MappedFile mapping, const std::string& path) {
  std::unique_ptr<GgufFile> file(new GgufFile);
  file->path_ = path;
  file->mapping_ = std::move(mapping);
  file->bytes_ = file->mapping_.bytes();
  file->size_ = file->bytes_.size();
  GgufParser(*file).run();
  return file;
}

std::unique_ptr<GgufFile> GgufFile::parse(std::span<const std::byte> bytes,
                                          const std::string& path) {
  std::unique_ptr<GgufFile> file(new GgufFile);
  file->path_ = path;
  file->bytes_ = bytes;
  file->size_ = bytes.size();
  GgufParser(*file).run();
  return file;
}

std::unique_ptr<GgufFile> GgufFile::assemble(ModelParts parts) {
  std::unique_ptr<GgufFile> file(new GgufFile);
  file->path_ = parts.path;
  file->format_ = parts.format;
  file->parts_ = std::move(parts);
  file->metadata_ = std::move(file->parts_.metadata);
  file->tensors_ = std::move(file->parts_.tensors);
  file->header_ = std::as_bytes(std::span(file->parts_.header));
  for (const MappedFile& mapping : file->parts_.mappings) file->size_ += mapping.bytes().size();
  const auto refuse = [&](const char* what, std::string_view name) {
    refuseFormat({file->path_, what + quote(name), "given twice", "unique names"});
  };
  file->metadataByKey_ = sortedByName(
      file->metadata_, keyOf, [&](const GgufEntry& entry) { refuse("metadata key ", entry.key); });
  file->tensorsByName_ = sortedByName(file->tensors_, nameOf, [&](const GgufTensor& tensor) {
    refuse("tensor name ", tensor.name);
  });
  return file;
}

void GgufFile::requireWhole() const {
  const auto whole = [](const MappedFile& mapping) { return mapping.whole(); };
  const bool all =
      whole(mapping_) && std::all_of(parts_.mappings.begin(), parts_.mappings.end(), whole);
  if (all) return;
  throw Error(
      code::kIo,
      "Model file " + path_ +
          " has become shorter, or its disk fails, since the model was opened. Put the file "
          "back and load the model again; replace a model's file by renaming a new one over "
          "it, never by writing into it.",
      {{"path", path_}, {"reason", std::string("shorter than when it was opened")}});
}

bool GgufFile::matches(std::span<const std::byte> head) {
  return head.size() >= kMagic.size() &&
         std::equal(kMagic.begin(), kMagic.end(), reinterpret_cast<const char*>(head.data()));
}

const GgufEntry* GgufFile::findMetadata(std::string_view key) const {
  return findByName(metadata_, metadataByKey_, key, keyOf);
}

const GgufTensor* GgufFile::findTensor(std::string_view name) const {
  return findByName(tensors_, tensorsByName_, name, nameOf);
}

std::optional<uint64_t> ggufUnsigned(const GgufValue& value) {
  if (const auto* number = std::get_if<uint64_t>(&value)) return *number;
  if (const auto* number = std::get_if<int64_t>(&value); number && *number >= 0) {
    return static_cast<uint64_t>(*number);
  }
  return std::nullopt;
}

}  // namespace baton
