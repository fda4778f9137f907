// SPDX-License-Identifier: Apache-2.0
// Products of many rows by cuBLASLt: how it is found, that it is asked for what linear.h says, and
// that our own kernels take what it does not. The library is a fake (fake_cublaslt.cpp); that its
// functions are the real one's is compared with NVIDIA's header (cublaslt_header.h).
#include "cuda/gemm.h"

#include <cstdlib>

#include "base/half.h"
#include "cuda/fake_cublaslt.h"
#include "cuda/ops.h"
#include "device/fakes.h"
#include "emulation/cuda.h"
#include "kernels/support.h"

using namespace baton;
using namespace baton::test;

namespace {

const std::string& fakeFile() {
  static const std::string file = folderOfThisCode() + "libbaton_fake_cublaslt.so";
  return file;
}

const cuda::CublasLt* fakeLibrary() {
  static cuda::CublasLt library;
  char text[256];
  return cuda::openCublasLt(fakeFile().c_str(), library, text, sizeof text) ? &library : nullptr;
}

const cuda::Gemm::Memory kHost{[](int, size_t bytes) { return std::malloc(bytes); },
                               [](int, void* memory) { std::free(memory); }};
const cuda::Gemm::Memory kNone{[](int, size_t) -> void* { return nullptr; }, [](int, void*) {}};

// A product with the thread's launches by cuBLASLt, y beside what it was before.
struct Problem {
  int N = 48, K = 64, R = kFewRows + 1, ldy = 52;
  std::vector<uint16_t> w = halves(size_t(N) * size_t(K), 1);
  std::vector<uint16_t> x = halves(size_t(R) * size_t(K), 2);

  static std::vector<uint16_t> halves(size_t n, uint32_t seed) {
    Random random(seed);
    std::vector<uint16_t> values(n);
    for (uint16_t& value : values) value = bfloatOfFloat(random.number());
    return values;
  }

  LinearArgs arguments(float* y) const {
    LinearArgs args{};
    args.weight = w.data();
    args.type = DType::kBF16;
    args.N = N;
    args.K = K;
    args.xb = x.data();
    args.y = y;
    args.ldy = ldy;
    args.R = R;
    return args;
  }

  std::vector<float> run(cuda::Gemm* gemm, bool accumulate = false, bool invariant = false) const {
    std::vector<float> y(size_t(R) * size_t(ldy), 0.5f);
    LinearArgs args = arguments(y.data());
    args.accumulate = accumulate;
    args.invariant = invariant;
    cuda::launchGemm = gemm;
    kCudaOps.linearBf16(args, 0, 16, nullptr);
    kCudaOps.linearBf16(args, 16, N, nullptr);
    cuda::launchGemm = nullptr;
    return y;
  }

  // Against double precision; columns behind N stay as they were.
  void check(const std::vector<float>& y, bool accumulate) const {
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < ldy; ++n) {
        double sum = n < N && !accumulate ? 0 : 0.5;
        for (int k = 0; k < K && n < N; ++k) {
          sum += double(floatOfBfloat(x[size_t(r * K + k)])) *
                 double(floatOfBfloat(w[size_t(n * K + k)]));
        }
        CHECK_NEAR(double(y[size_t(r * ldy + n)]), sum, 1e-5);
      }
    }
  }
};

}  // namespace

TEST("cuda: products of many rows are cuBLASLt's, once planned for each shape") {
  auto& fake = stateOf<FakeCublasLt>(fakeFile(), "fakeCublasLt");
  fake = {};
  const Problem p;
  {
    cuda::Gemm gemm(0, nullptr, kHost, fakeLibrary);
    p.check(p.run(&gemm), false);
    CHECK_EQ(fake.products, 2);
    CHECK_EQ(fake.heuristics, 2);
    p.check(p.run(&gemm, true), true);
    CHECK_EQ(fake.products, 4);
    CHECK_EQ(fake.heuristics, 2);
    CHECK(fake.leastAlignment == 16);                // rows of 52 numbers
    for (Problem other; other.R < 100; ++other.R) {  // more shapes than are kept
      other.x = Problem::halves(size_t(other.R) * size_t(other.K), 3);
      other.check(other.run(&gemm), false);
    }
    p.check(p.run(&gemm), false);
  }
  CHECK_EQ(fake.live, 0);
}

TEST("cuda: what cuBLASLt does not take is made by our own kernels") {
  auto& fake = stateOf<FakeCublasLt>(fakeFile(), "fakeCublasLt");
  const Problem p;
  const std::vector<float> own = p.run(nullptr);
  const auto checkOwn = [&](cuda::Gemm& gemm, bool invariant = false) {
    const std::vector<float> y = p.run(&gemm, false, invariant);
    CHECK(sameBits(y.data(), own.data(), own.size()));
    CHECK_EQ(fake.products, 0);
  };
  fake = {};
  {
    cuda::Gemm invariant(0, nullptr, kHost, fakeLibrary);
    checkOwn(invariant, true);
    CHECK_EQ(fake.live, 0);  // it was not even asked
    cuda::Gemm absent(0, nullptr, kHost,
                      [] { return static_cast<const cuda::CublasLt*>(nullptr); });
    checkOwn(absent);
    fake.createStatus = 1;
    cuda::Gemm refused(0, nullptr, kHost, fakeLibrary);
    checkOwn(refused);
    fake = {};
    fake.noAlgorithm = true;
    cuda::Gemm without(0, nullptr, kHost, fakeLibrary);
    checkOwn(without);
    fake.noAlgorithm = false;
    fake.multiplyStatus = 13;
    cuda::Gemm failing(0, nullptr, kHost, fakeLibrary);
    checkOwn(failing);
    const int asked = fake.heuristics;
    checkOwn(failing);
    CHECK_EQ(fake.heuristics, asked);  // what failed is not tried again
  }
  CHECK_EQ(fake.live, 0);
}

TEST("cuda: cuBLASLt is used without its workspace where there is no memory for one") {
  auto& fake = stateOf<FakeCublasLt>(fakeFile(), "fakeCublasLt");
  fake = {};
  const Problem p;
  cuda::Gemm gemm(0, nullptr, kNone, fakeLibrary);
  p.check(p.run(&gemm), false);
  CHECK_EQ(fake.products, 2);
}

TEST("cuda: a cuBLASLt that is absent, of another version or no cuBLASLt is told by what it is") {
  auto& fake = stateOf<FakeCublasLt>(fakeFile(), "fakeCublasLt");
  fake = {};
  cuda::CublasLt library;
  char text[256];
  const auto said = [&](const std::string& file) {
    const bool opened = cuda::openCublasLt(file.c_str(), library, text, sizeof text);
    return std::string(opened ? "yes: " : "no: ") + text;
  };
  const auto has = [](const std::string& all, const std::string& part) {
    return all.find(part) != std::string::npos;
  };
  CHECK_EQ(said(fakeFile()), std::string("yes: cuBLASLt 13.0.2"));
  fake.version = 120805;
  CHECK(has(said(fakeFile()), "no: none: ") && has(text, "version 12.8, 13 is needed"));
  fake = {};
  CHECK(has(said("/no/such/libcublasLt.so.13"), "no: none: ") && has(text, "/no/such/"));
  CHECK(
      has(said(folderOfThisCode() + "libbaton_fake_cuda_driver.so"), "has no cublasLtGetVersion"));
}
