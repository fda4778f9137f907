// SPDX-License-Identifier: Apache-2.0
// Speed of single kernels on the shapes of SmolLM2-135M (M = 576, F = 1536, H = 9, G = 3, D = 64, V
// = 49152, L = 30), beside what the machine can do, measured by the same process. Few rows read the
// weights of all layers, side by side in memory as in a model; many rows only as many layers as
// take long enough. Random weights: speed does not depend on values.
//
//   baton_ops_bench [--threads N] [--repeat N] [--quick] [--section NAME] [--json] [--list] [FILTER]
//
// The section "limits", which is none of the list, measures the machine and no kernel.
#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "support.h"

namespace baton::bench {
namespace {

std::vector<Section> sectionList() {
  std::vector<Section> all;
  for (const QuantType& type : quantTypes())
    all.push_back({std::string("linear ") + type.name, benchLinear});
  all.push_back({"logits", benchLogits});
  all.push_back({"attend", benchAttend});
  all.push_back({"rows", benchRows});
  for (const QuantType& type : quantTypes())
    all.push_back({std::string("dLinear ") + type.name, benchDLinear});
  all.push_back({"dLogits", benchDLogits});
  all.push_back({"dAttend", benchDAttend});
  all.push_back({"dRows", benchDRows});
  return all;
}

// The weight type at the end of a section's name.
const QuantType* typeOf(const std::string& section) {
  for (const QuantType& type : quantTypes()) {
    if (section.ends_with(std::string(" ") + type.name)) return &type;
  }
  return nullptr;
}

struct Call {
  Options options;
  bool list = false;
};

Call parse(int argc, char** argv) {
  Call call;
  for (int i = 1; i < argc; ++i) {
    const auto value = [&] { return i + 1 < argc ? argv[++i] : ""; };
    const std::string name = argv[i];
    if (name == "--threads") {
      call.options.threads = std::max(1, std::atoi(value()));
    } else if (name == "--repeat") {
      call.options.repeat = std::max(1, std::atoi(value()));
    } else if (name == "--section") {
      call.options.section = value();
    } else if (name == "--quick") {
      call.options.quick = true;
    } else if (name == "--json") {
      call.options.json = true;
    } else if (name == "--list") {
      call.list = true;
    } else {
      call.options.filter = name;
    }
  }
  return call;
}

int run(const Call& call) {
  bool found = call.options.section == "limits";
  Suite suite(call.options, cpuOps());
  if (!call.list) suite.measureLimits();
  for (const auto& [name, bench] : sectionList()) {
    if (call.list) std::printf("%s\n", name.c_str());
    if (call.list || (!call.options.section.empty() && call.options.section != name)) continue;
    bench(suite, typeOf(name));
    found = true;
  }
  if (call.list) return 0;
  if (!found) {
    std::fprintf(stderr, "there is no section \"%s\"; --list names them\n",
                 call.options.section.c_str());
    return 2;
  }
  suite.measureLimits();
  suite.print();
  return 0;
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  try {
    return baton::bench::run(baton::bench::parse(argc, argv));
  } catch (const baton::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
