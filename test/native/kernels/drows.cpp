// SPDX-License-Identifier: Apache-2.0
// drows.h for every table that has the operation: against the formulas in double precision, against
// finite differences of the forward references, in place, and only the rows asked for. Rope's
// backward is rope at the negated position.
#include "kernels/drows.h"

#include "gradients.h"
#include "kernels/rows.h"
#include "support.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr float kNorm = 1e-5f;

// One row of dRmsnorm in double precision, and the size of what was added, for the bound.
void oracle(const float* x, const float* weight, const float* dy, int M, float epsilon, double* dx,
            double* size) {
  double squares = 0, dot = 0, parts = 0;
  for (int i = 0; i < M; ++i) {
    squares += static_cast<double>(x[i]) * x[i];
    dot += static_cast<double>(dy[i]) * weight[i] * x[i];
    parts += std::fabs(static_cast<double>(dy[i]) * weight[i] * x[i]);
  }
  const double mean = squares / M + epsilon, scale = 1 / std::sqrt(mean);
  for (int i = 0; i < M; ++i) {
    dx[i] = scale * (static_cast<double>(weight[i]) * dy[i] - dot / M / mean * x[i]);
    size[i] = scale * (std::fabs(static_cast<double>(weight[i]) * dy[i]) +
                       parts / M / mean * std::fabs(static_cast<double>(x[i])));
  }
}

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

// act(g) and act'(g) in double precision.
std::pair<double, double> activation(bool gelu, double g) {
  const double inner = gelu ? kGeluSlope * (1 + 3.0 * kGeluCube * g * g) : 1;
  const double x = gelu ? kGeluSlope * (g + kGeluCube * g * g * g) : g;
  const double s = sigmoid(x), rest = sigmoid(-x);
  return {g * s, s * rest == 0 ? s : s + g * s * rest * inner};
}

struct Glu {
  const char* name;
  bool gelu;
  GluFn forward;
  DGluFn backward;
};

std::vector<Glu> glus(const Ops& ops) {
  return {{"dSwiglu", false, ops.swiglu, ops.dSwiglu}, {"dGeglu", true, ops.geglu, ops.dGeglu}};
}

}  // namespace

TEST("dRmsnorm: against double precision, in place, adding, and only the rows asked for") {
  for (const Ops* ops : tablesWith(&Ops::dRmsnorm)) {
    for (const int M : {1, 7, 8, 31, 64, 100, 576, 2048}) {
      Random random(static_cast<uint32_t>(M));
      const auto n = static_cast<size_t>(M);
      Misaligned<float> x(3 * n, 1), weight(n, 3), dy(3 * n, 5), dx(3 * n, 1, 5.0f);
      random.fill(x);
      random.fill(weight);
      random.fill(dy);
      x[0] = dy[n - 1] = kNan;  // row 0 is nobody's
      ops->dRmsnorm({x.data(), weight.data(), dy.data(), dx.data(), M, kNorm}, 1, 3);
      for (size_t r = 1; r < 3; ++r) {
        std::vector<double> want(n), bound(n);
        oracle(&x[r * n], weight.data(), &dy[r * n], M, kNorm, want.data(), bound.data());
        for (double& b : bound) b = b * kEpsilon * (12 + M) + 1e-30;
        checkWithin(std::string(isaName(ops->isa)) + " dRmsnorm M=" + std::to_string(M), &dx[r * n],
                    want.data(), bound.data(), n);
      }
      CHECK(dx[0] == 5.0f && dx[n - 1] == 5.0f);
      Misaligned<float> sum(3 * n, 1, 5.0f);
      ops->dRmsnorm({x.data(), weight.data(), dy.data(), sum.data(), M, kNorm, true}, 1, 3);
      int wrong = sum[0] != 5.0f;
      for (size_t i = n; i < 3 * n; ++i) wrong += sum[i] != 5.0f + dx[i];
      CHECK_EQ(wrong, 0);
      ops->dRmsnorm({x.data(), weight.data(), dy.data(), dy.data(), M, kNorm}, 1, 3);
      CHECK(sameBits(&dy[n], &dx[n], 2 * n));
    }
  }
}

TEST("dRmsnorm: finite differences of the forward reference") {
  constexpr int kM = 48;
  Random random(5);
  std::vector<float> x(kM), weight(kM), dy(kM), y(kM), dx(kM);
  random.fill(x);
  random.fill(weight);
  random.fill(dy);
  for (const float epsilon : {1e-5f, 0.5f}) {
    kScalarOps.dRmsnorm({x.data(), weight.data(), dy.data(), dx.data(), kM, epsilon}, 0, 1);
    checkGradient("dRmsnorm", x, dx.data(), [&] {
      kScalarOps.rmsnorm({x.data(), weight.data(), y.data(), kM, epsilon}, 0, 1);
      return dot(y.data(), dy.data(), kM);
    });
  }
}

TEST("dSwiglu and dGeglu: against double precision, far out too, and in place") {
  for (const Ops* ops : tablesWith(&Ops::dSwiglu)) {
    for (const Glu& op : glus(*ops)) {
      for (const int F : {1, 8, 13, 96, 1536}) {
        Random random(static_cast<uint32_t>(F));
        const auto n = static_cast<size_t>(3 * F);
        Misaligned<float> gate(n, 1), up(n, 3), dout(n, 1), dgate(n, 5, 7.0f), dup(n, 3, 7.0f);
        random.fill(gate);
        random.fill(up);
        random.fill(dout);
        const float far[] = {0.0f, 3.5f, -4.0f, 9.0f, -11.0f, 30.0f, -40.0f, 1e4f, -1e4f, 1e30f};
        for (size_t i = 0; i < n; i += 3) gate[i] = i % 2 ? far[i / 3 % 10] : 6 * gate[i];
        op.backward({gate.data(), up.data(), dout.data(), dgate.data(), dup.data(), F}, 1, 3);
        const auto row = static_cast<size_t>(F);
        std::vector<double> wantGate, wantUp, boundGate, boundUp;
        for (size_t i = row; i < n; ++i) {
          const auto [value, slope] = activation(op.gelu, gate[i]);
          wantUp.push_back(value * dout[i]);
          wantGate.push_back(slope * dout[i] * up[i]);
          // 1 - s is off by a rounding of s, which g multiplies; e^x by its own 2e-7, relative, and
          // by x times the rounding of x.
          const double g = std::min(40.0, std::fabs(static_cast<double>(gate[i])));
          const double relative = 1e-6 + kEpsilon * 16 * g;
          boundUp.push_back(std::fabs(wantUp.back()) * relative + 1e-30);
          boundGate.push_back(
              std::fabs(static_cast<double>(dout[i]) * up[i]) * 4 * (1 + g) * kEpsilon * 8 + 1e-30);
        }
        const std::string what =
            std::string(isaName(ops->isa)) + " " + op.name + " F=" + std::to_string(F);
        checkWithin(what + " dgate", &dgate[row], wantGate.data(), boundGate.data(), 2 * row);
        checkWithin(what + " dup", &dup[row], wantUp.data(), boundUp.data(), 2 * row);
        CHECK(dgate[0] == 7.0f && dup[row - 1] == 7.0f);
        const std::vector<float> before(gate.data(), gate.data() + n);
        Misaligned<float> upToo(n, 1), doutToo(n, 3);
        for (size_t i = 0; i < n; ++i) upToo[i] = up[i], doutToo[i] = dout[i];
        op.backward({gate.data(), up.data(), dout.data(), gate.data(), up.data(), F}, 1, 3);
        CHECK(sameBits(&gate[row], &dgate[row], 2 * row) && sameBits(&up[row], &dup[row], 2 * row));
        op.backward({before.data(), upToo.data(), doutToo.data(), upToo.data(), doutToo.data(), F},
                    1, 3);
        CHECK(sameBits(&upToo[row], &dgate[row], 2 * row));
        CHECK(sameBits(&doutToo[row], &dup[row], 2 * row));
      }
    }
  }
}

TEST("dSwiglu and dGeglu: finite differences of the forward references") {
  constexpr int kF = 40;
  for (const Glu& op : glus(kScalarOps)) {
    Random random(6);
    std::vector<float> gate(kF), up(kF), dout(kF), out(kF), dgate(kF), dup(kF);
    random.fill(gate);
    random.fill(up);
    random.fill(dout);
    for (size_t i = 0; i < gate.size(); i += 4) gate[i] *= 5;
    op.backward({gate.data(), up.data(), dout.data(), dgate.data(), dup.data(), kF}, 0, 1);
    const auto loss = [&] {
      op.forward({gate.data(), up.data(), out.data(), kF}, 0, 1);
      return dot(out.data(), dout.data(), kF);
    };
    checkGradient(std::string(op.name) + " gate", gate, dgate.data(), loss);
    checkGradient(std::string(op.name) + " up", up, dup.data(), loss);
  }
}

TEST("rope: its backward is rope at the negated position") {
  constexpr int kD = 32, kHeads = 2, kPositions = 9;
  Random random(7);
  std::vector<float> cosines(kPositions * kD / 2), sines(cosines.size());
  for (size_t i = 0; i < cosines.size(); ++i) {
    const size_t position = i / (kD / 2), pair = i % (kD / 2);
    const double angle = static_cast<double>(position) / static_cast<double>(1 + pair * pair);
    cosines[i] = static_cast<float>(std::cos(angle));
    sines[i] = static_cast<float>(std::sin(angle));
  }
  for (const Ops* ops : tablesWith(&Ops::rope)) {
    for (const RopePairing pairing : {RopePairing::kAdjacent, RopePairing::kHalves}) {
      for (const int32_t position : {0, 3, 8, -5}) {
        std::vector<float> x(kHeads * kD), dy(x.size()), y(x.size()), dx(x.size());
        random.fill(x);
        random.fill(dy);
        const auto turn = [&](const std::vector<float>& from, std::vector<float>& to, int32_t p) {
          ops->rope({from.data(), kHeads * kD, to.data(), kHeads * kD, kHeads, kD, cosines.data(),
                     sines.data(), &p, pairing},
                    0, 1);
        };
        turn(dy, dx, -position);
        checkGradient(std::string(isaName(ops->isa)) + " rope", x, dx.data(), [&] {
          turn(x, y, position);
          return dot(y.data(), dy.data(), static_cast<int>(y.size()));
        });
      }
    }
  }
}
