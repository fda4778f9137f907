// SPDX-License-Identifier: Apache-2.0
// Nothing of the weights is read here but the sampled pages of the hash; the first forward touches
// the rest.
#include "model/model.h"

#include "base/cpu.h"
#include "base/error.h"
#include "model/config.h"
#include "model/content_hash.h"
#include "model/formats/formats.h"
#include "model/weights.h"

namespace baton {
namespace {

// A mapped file can be larger than memory, but every step reads all weights: it would run at the
// speed of the disk.
void requireMemory(const GgufFile& file) {
  const uint64_t needed = file.size();
  const uint64_t available = availableMemory();
  if (needed <= available) return;
  throw Error(code::kOutOfMemory,
              "Model file " + file.path() + " has " + std::to_string(needed) + " bytes and " +
                  std::to_string(available) +
                  " bytes of memory are free. Free memory, raise the limit of the container, or "
                  "use a smaller model or weight type.",
              {{"path", file.path()},
               {"needed", static_cast<double>(needed)},
               {"free", static_cast<double>(available)}});
}

}  // namespace

std::shared_ptr<const Model> Model::load(const std::string& path,
                                         const std::atomic<int32_t>& cancel) {
  std::unique_ptr<GgufFile> file = openModelFile(path);
  requireMemory(*file);
  return fromFile(std::move(file), cancel);
}

std::shared_ptr<const Model> Model::fromFile(std::unique_ptr<GgufFile> file,
                                             const std::atomic<int32_t>& cancel) {
  auto model = std::make_shared<Model>();
  model->file_ = std::move(file);
  const Family& family = readFamily(*model->file_);
  model->config = readConfig(*model->file_, family);
  WeightBinder::bind(*model, family);
  model->contentHash = baton::contentHash(*model->file_, cancel);
  model->file_->requireWhole();
  return model;
}

}  // namespace baton
