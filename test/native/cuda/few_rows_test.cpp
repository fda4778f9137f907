// SPDX-License-Identifier: Apache-2.0
// The int8 layers of a decode step as one launch: the bits of the operations that it stands for.
#include "cuda/few_rows.h"

#include <string>
#include <vector>

#include "base/buffer.h"
#include "cuda/ops.h"
#include "emulation/cuda.h"
#include "kernels/linear/panels.h"
#include "kernels/support.h"
#include "kernels/weights.h"

using namespace baton;
using namespace baton::test;

namespace {

// A layer with its weights, and y, where something stands already.
struct Layer {
  const QuantType& type;
  int N, K;
  Buffer panels;
  std::vector<float> y;

  Layer(const QuantType& of, int rows, int n, int k, Random& random) : type(of), N(n), K(k) {
    std::vector<std::byte> weight(quantRowBytes(type, int64_t{N} * K));
    fillWeights(type, static_cast<size_t>(N) * static_cast<size_t>(K), random, weight.data(), -1);
    panels.ensure(panelsBytes(type.dtype, N, K));
    packPanels(type.dtype, weight.data(), N, K, 0, panelCount(N), panels.data());
    y.resize(static_cast<size_t>(rows * N));
    random.fill(y);
  }

  LinearArgs arguments(int rows, std::vector<float>& to, bool accumulate) const {
    LinearArgs args{};
    args.panels = panels.data();
    args.type = type.dtype;
    args.N = args.ldy = N;
    args.K = K;
    args.R = rows;
    args.y = to.data();
    args.accumulate = accumulate;
    return args;
  }
};

struct Problem {
  int rows, K;
  std::vector<Layer> layers;
  bool quantised = false, normed = false, accumulate = false;
  GatedUnit unit = GatedUnit::kNone;
  std::string name;
};

struct Rows {
  std::vector<float> x, norm, d, s;
  Misaligned<int8_t> q;

  Rows(const Problem& p, Random& random)
      : x(static_cast<size_t>(p.rows * p.K)),
        norm(static_cast<size_t>(p.K)),
        d(x.size() / kGroup),
        s(d.size()),
        q(x.size(), 0) {
    random.fill(x);
    random.fill(norm);
    if (p.normed) {
      rmsnormQuantizeCuda(
          {x.data(), norm.data(), nullptr, q.data(), d.data(), s.data(), p.K, 1e-5f}, 0, p.rows);
    } else {
      quantizeCuda({x.data(), q.data(), d.data(), s.data(), p.K}, 0, p.rows);
    }
  }
};

using Results = std::vector<std::vector<float>>;

Results oneByOne(const Problem& p, const Rows& rows) {
  Results all;
  for (const Layer& layer : p.layers) {
    all.push_back(layer.y);
    LinearArgs args = layer.arguments(p.rows, all.back(), p.accumulate);
    args.xq = rows.q.data();
    args.xd = rows.d.data();
    args.xs = rows.s.data();
    linearInt8Cuda(args, 0, layer.N);
  }
  if (p.unit == GatedUnit::kNone) return all;
  const GluArgs glu{all[0].data(), all[1].data(), all[0].data(), p.layers[0].N};
  (p.unit == GatedUnit::kSwiglu ? swigluCuda : gegluCuda)(glu, 0, p.rows);
  all[1] = p.layers[1].y;  // which the launch leaves alone
  return all;
}

Results atOnce(const Problem& p, const Rows& rows) {
  Results all;
  FewRowsArgs few{};
  for (const Layer& layer : p.layers) all.push_back(layer.y);
  few.count = static_cast<int>(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    few.layers[i] = p.layers[i].arguments(p.rows, all[i], p.accumulate);
    if (!p.quantised) continue;
    few.layers[i].xq = rows.q.data();
    few.layers[i].xd = rows.d.data();
    few.layers[i].xs = rows.s.data();
  }
  if (!p.quantised) few.x = rows.x.data();
  if (p.normed) few.norm = rows.norm.data();
  few.epsilon = 1e-5f;
  few.unit = p.unit;
  CHECK(fewRowsCuda(few));
  return all;
}

void conform(const Problem& p, Random& random) {
  const Rows rows(p, random);
  const Results want = oneByOne(p, rows);
  for (const auto order : {emulation::Order::kForwards, emulation::Order::kBackwards}) {
    emulation::setOrder(order);
    const Results got = atOnce(p, rows);
    for (size_t i = 0; i < want.size(); ++i) {
      expect(sameBits(got[i].data(), want[i].data(), want[i].size()), __FILE__, __LINE__,
             p.name + ", layer " + std::to_string(i) + ", rows " + std::to_string(p.rows));
    }
  }
  emulation::setOrder(emulation::Order::kForwards);
}

std::vector<const QuantType*> integerTypes() {
  std::vector<const QuantType*> types;
  for (const QuantType& type : quantTypes()) {
    if (type.unpack != nullptr) types.push_back(&type);
  }
  return types;
}

Problem problemOf(std::string name, int rows, int K) {
  Problem p;
  p.name = std::move(name);
  p.rows = rows;
  p.K = K;
  return p;
}

}  // namespace

TEST("cuda: layers of few rows at once have the bits of one after the other, of every type") {
  Random random(31);
  int rows = 0;
  for (const QuantType* type : integerTypes()) {
    rows = rows % kMostFusedRows + 1;
    Problem p = problemOf(type->name, rows, wholeBlocks(*type, 160));
    for (const int N : {37, 16, 5}) p.layers.emplace_back(*type, rows, N, p.K, random);
    for (const bool normed : {false, true}) {
      p.normed = normed;
      conform(p, random);
    }
    p.normed = false;
    p.quantised = true;
    conform(p, random);
  }
}

TEST("cuda: layers of other types beside each other, and sums upon what is there, are one launch") {
  Random random(32);
  const auto types = integerTypes();
  for (const int rows : {1, 3}) {
    Problem p = problemOf("mixed", rows, 256);
    for (const size_t i : {size_t{0}, types.size() - 1, size_t{2}})
      p.layers.emplace_back(*types[i], rows, 33, p.K, random);
    p.normed = true;
    conform(p, random);
    p.normed = false;
    p.accumulate = true;
    conform(p, random);
  }
}

TEST("cuda: gated units of few rows have the bits of their layers and what follows them") {
  Random random(33);
  const auto types = integerTypes();
  for (const GatedUnit unit : {GatedUnit::kSwiglu, GatedUnit::kGeglu}) {
    for (const int rows : {1, 2, 4}) {
      Problem p = problemOf("gated", rows, 256);
      p.layers.emplace_back(*types[0], rows, 50, p.K, random);
      p.layers.emplace_back(*types[1], rows, 50, p.K, random);
      p.unit = unit;
      p.normed = rows != 2;
      conform(p, random);
    }
  }
}

// Sums over a row have the order of as many threads as the norm has by itself: 32 up to 512.
TEST("cuda: rows of any length are normed as by themselves") {
  Random random(34);
  const QuantType& type = *integerTypes()[0];
  for (const int K : {32, 128, 1024, 1056, 2048, 2080}) {
    Problem p = problemOf("K " + std::to_string(K), 2, K);
    p.layers.emplace_back(type, 2, 16, K, random);
    p.normed = true;
    conform(p, random);
  }
}

TEST("cuda: what cannot be one launch is refused and nothing is done") {
  Random random(35);
  const QuantType& type = *integerTypes()[0];
  Problem p = problemOf("refused", 4, 64);
  p.layers.emplace_back(type, 4, 16, 64, random);
  const Rows rows(p, random);
  std::vector<float> y = p.layers[0].y;
  FewRowsArgs few{};
  few.count = 1;
  few.layers[0] = p.layers[0].arguments(4, y, false);
  few.x = rows.x.data();
  const auto refused = [&](const FewRowsArgs& args) {
    return !fewRowsCuda(args) && sameBits(y.data(), p.layers[0].y.data(), y.size());
  };
  FewRowsArgs other = few;
  other.layers[0].R = kMostFusedRows + 1;
  CHECK(refused(other));
  other = few;
  other.layers[0].invariant = true;
  CHECK(refused(other));
  other = few;
  other.layers[0].panels = nullptr;
  CHECK(refused(other));
  other = few;
  other.x = rows.x.data() + 1;
  CHECK(refused(other));
  other = few;
  other.layers[0].K = 1 << 14;  // four rows of these are more than shared memory
  CHECK(refused(other));
  CHECK(!refused(few));
}
