// SPDX-License-Identifier: Apache-2.0
// Branches over one trunk as llama.cpp has them at its best: sequences of one KV buffer, so that a copy of a sequence
// (llama_memory_seq_cp) names its cells once more and moves no bytes. A JSON object a turn: microseconds of one copy, and of
// taking the last tokens of a branch back (llama_memory_seq_rm).
//
//   llama-forks -m FILE -t THREADS --trunk ROWS --branches N -r TURNS [-fa on|off]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>

#include "ggml-backend.h"
#include "llama.h"

namespace {

constexpr int kBatch = 512;
constexpr int kBranchRows = 8;

double microseconds(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

class Batch {
 public:
  explicit Batch(int rows) : batch_(llama_batch_init(rows, 0, 1)) {}
  ~Batch() { llama_batch_free(batch_); }

  void add(llama_token token, llama_pos position, llama_seq_id sequence) {
    const int at = batch_.n_tokens++;
    batch_.token[at] = token;
    batch_.pos[at] = position;
    batch_.n_seq_id[at] = 1;
    batch_.seq_id[at][0] = sequence;
    batch_.logits[at] = 0;
  }
  void decode(llama_context* context) {
    batch_.logits[batch_.n_tokens - 1] = 1;
    if (llama_decode(context, batch_) != 0) throw std::runtime_error("llama_decode failed");
    batch_.n_tokens = 0;
  }

 private:
  llama_batch batch_;
};

llama_token tokenAt(int i) { return 100 + i * 37 % 1000; }

void append(llama_context* context, llama_seq_id sequence, int from, int rows) {
  Batch batch(kBatch);
  for (int begin = 0; begin < rows; begin += kBatch) {
    for (int i = begin; i < std::min(rows, begin + kBatch); ++i) batch.add(tokenAt(from + i), from + i, sequence);
    batch.decode(context);
  }
}

void turn(llama_context* context, int trunk, int branches, bool told) {
  const llama_memory_t memory = llama_get_memory(context);
  auto begin = std::chrono::steady_clock::now();
  for (int one = 1; one <= branches; ++one) llama_memory_seq_cp(memory, 0, one, -1, -1);
  const double fork = microseconds(begin) / branches;
  for (int one = 1; one <= branches; ++one) append(context, one, trunk, kBranchRows);
  append(context, 1, trunk + kBranchRows, kBranchRows);
  begin = std::chrono::steady_clock::now();
  if (!llama_memory_seq_rm(memory, 1, trunk + kBranchRows, -1)) throw std::runtime_error("llama_memory_seq_rm refused");
  const double rewind = microseconds(begin);
  for (int one = 1; one <= branches; ++one) llama_memory_seq_rm(memory, one, -1, -1);
  if (told) std::printf("{\"fork\": %.4f, \"rewind\": %.4f}\n", fork, rewind);
}

int number(const std::map<std::string, std::string>& options, const char* name) {
  const auto found = options.find(name);
  const int value = found == options.end() ? 0 : std::atoi(found->second.c_str());
  if (value < 1) throw std::runtime_error(std::string(name) + " takes a number from 1");
  return value;
}

void run(const std::map<std::string, std::string>& options) {
  const int trunk = number(options, "--trunk");
  const int branches = number(options, "--branches");
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  ggml_backend_load_all();
  llama_model* const model = llama_model_load_from_file(options.at("-m").c_str(), llama_model_default_params());
  if (model == nullptr) throw std::runtime_error("the model cannot be loaded");
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<uint32_t>(trunk + (branches + 2) * 2 * kBranchRows);
  params.n_batch = kBatch;
  params.n_seq_max = static_cast<uint32_t>(branches + 1);
  params.n_threads = params.n_threads_batch = number(options, "-t");
  params.kv_unified = true;
  const auto flash = options.find("-fa");
  if (flash != options.end())
    params.flash_attn_type = flash->second == "off" ? LLAMA_FLASH_ATTN_TYPE_DISABLED : LLAMA_FLASH_ATTN_TYPE_ENABLED;
  llama_context* const context = llama_init_from_model(model, params);
  if (context == nullptr) throw std::runtime_error("no context of this size");
  append(context, 0, 0, trunk);
  const int turns = number(options, "-r");
  for (int i = -1; i < turns; ++i) turn(context, trunk, branches, i >= 0);
  llama_free(context);
  llama_model_free(model);
}

}  // namespace

int main(int count, char** arguments) {
  std::map<std::string, std::string> options;
  for (int i = 1; i + 1 < count; i += 2) options[arguments[i]] = arguments[i + 1];
  try {
    run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "llama-forks: %s\n", error.what());
    return 1;
  }
  return 0;
}
