// SPDX-License-Identifier: Apache-2.0
// adamw.h for every table that has it: the reference against the formulas written down plainly, the
// others against the reference bit for bit, pieces together and apart. That
// the reference is optimizer.ts bit for bit is what test/tune/held-parameters.test.ts sees.
#include "kernels/optimizer/adamw.h"

#include "emulation/cuda.h"
#include "kernels/support.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

struct Problem {
  std::vector<float> value, first, second, gradient;
  std::vector<double> sums, report;
  int n;
  double maxNorm;

  Problem(size_t count, double limit)
      : value(count),
        first(count),
        second(count),
        gradient(count),
        sums((count + kAdamWPiece - 1) / kAdamWPiece, double{kNan}),
        report(1 + sums.size(), double{kNan}),
        n(static_cast<int>(count)),
        maxNorm(limit) {
    Random random(static_cast<uint32_t>(count));
    random.fill(value);
    random.fill(first);
    random.fill(second);
    random.fill(gradient);
    for (float& number : second) number *= number;
  }

  AdamWArgs args() {
    return {value.data(),
            first.data(),
            second.data(),
            gradient.data(),
            sums.data(),
            report.data(),
            n,
            maxNorm,
            2.5e-3,
            0.31,
            0.9998,
            0.9,
            0.999,
            1e-8};
  }

  // A call for all pieces, or for each by itself, the last one first.
  void run(const Ops& ops, bool apart = false) {
    const int pieces = adamWPieces(n);
    for (const AdamWFn half : {ops.squareSums, ops.adamw}) {
      if (!apart) half(args(), 0, pieces);
      for (int p = pieces - 1; apart && p >= 0; --p) half(args(), p, p + 1);
    }
  }
};

bool same(const Problem& a, const Problem& b) {
  const auto equal = [](const auto& one, const auto& other) {
    return one.size() == other.size() &&
           std::memcmp(one.data(), other.data(), one.size() * sizeof(one[0])) == 0;
  };
  return equal(a.value, b.value) && equal(a.first, b.first) && equal(a.second, b.second) &&
         equal(a.sums, b.sums) && equal(a.report, b.report);
}

}  // namespace

TEST("adamw: the reference, against the formulas") {
  for (const double limit : {kUnlimited, 3.0}) {
    Problem found(2500, limit);
    const Problem before(2500, limit);
    found.run(kScalarOps);
    long double squares = 0;
    for (size_t i = 0; i < 2500; ++i)
      squares += static_cast<long double>(before.gradient[i]) * before.gradient[i];
    const double norm = std::sqrt(static_cast<double>(squares));
    CHECK_NEAR(found.report[0], norm, 1e-12 * norm);
    CHECK(norm > 3);
    for (size_t i = 0; i < 2500; ++i) {
      const double g = before.gradient[i] * (limit < norm ? limit / norm : 1);
      const double m = 0.9 * before.first[i] + 0.1 * g,
                   v = 0.999 * before.second[i] + 0.001 * g * g;
      const double value = 0.9998 * before.value[i] - 2.5e-3 * m / (std::sqrt(v) / 0.31 + 1e-8);
      CHECK_NEAR(found.first[i], m, 4e-7 * (std::fabs(m) + 1));
      CHECK_NEAR(found.second[i], v, 4e-7 * (v + 1));
      CHECK_NEAR(found.value[i], value, 4e-7 * (std::fabs(value) + 1));
    }
    for (size_t piece = 1; piece < found.report.size(); ++piece) CHECK_EQ(found.report[piece], 0.0);
  }
}

// More pieces than lanes, which then take several each.
TEST("adamw: every table has the reference's bits, clipped and not, whole and in pieces") {
  for (const size_t n : {1, 31, 256, 1023, 1024, 1025, 5000, 260 * kAdamWPiece + 7}) {
    for (const double limit : {kUnlimited, 0.25}) {
      Problem want(n, limit);
      want.run(kScalarOps);
      for (const Ops* ops : tablesWith(&Ops::adamw)) {
        const std::string what = std::string(isaName(ops->isa)) + " n=" + std::to_string(n);
        const auto check = [&](const char* how, bool apart) {
          Problem got(n, limit);
          got.run(*ops, apart);
          expect(same(got, want), __FILE__, __LINE__, what + how + ": other bits");
        };
        check("", false);
        check(" piece by piece", true);
        if (ops->isa != Isa::kCuda) continue;
        emulation::setOrder(emulation::Order::kBackwards);
        check(" backwards", false);
        emulation::setOrder(emulation::Order::kForwards);
      }
    }
  }
}

TEST("adamw: a gradient that is no number changes nothing, a value that is none is counted") {
  for (const Ops* ops : tablesWith(&Ops::adamw)) {
    for (const float bad : {kNan, kInfinity}) {
      Problem run(3000, 1);
      run.gradient[2222] = bad;
      const Problem before(3000, 1);
      run.run(*ops);
      CHECK(!std::isfinite(run.report[0]));
      CHECK(sameBits(run.value.data(), before.value.data(), 3000));
      CHECK(sameBits(run.first.data(), before.first.data(), 3000));
      CHECK(sameBits(run.second.data(), before.second.data(), 3000));
    }
    Problem run(3000, 1);
    run.value[5] = run.value[1500] = run.value[1501] = kInfinity;
    run.run(*ops);
    CHECK(std::isfinite(run.report[0]));
    CHECK_EQ(run.report[1], 1.0);
    CHECK_EQ(run.report[2], 2.0);
    CHECK_EQ(run.report[3], 0.0);
  }
}
