// SPDX-License-Identifier: Apache-2.0
// Stands for libcublasLt.so.13, as far as gemm.cpp asks it: products of column-major bfloat16
// matrices, the left one transposed, in double precision and in memory of the host. It refuses what
// it does not know, so that a wrong attribute is not taken for a right one.
#include "cuda/fake_cublaslt.h"

#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "cuda/cublaslt.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

using baton::cuda::lt::Algorithm;
using baton::cuda::lt::Heuristic;

EXPORTED FakeCublasLt fakeCublasLt;
FakeCublasLt fakeCublasLt;

namespace {

constexpr int kInvalid = 7;
constexpr uint64_t kChosen = 42;

struct Product {
  bool transposeA = false;
};
struct Layout {
  int type;
  uint64_t rows, cols;
  int64_t ld;
};
struct Preference {
  uint64_t workspace = 0;
};

template <class T, class... Arguments>
int make(void** into, Arguments... arguments) {
  *into = new T{arguments...};
  ++fakeCublasLt.live;
  return 0;
}

template <class T>
int destroy(void* one) {
  delete static_cast<T*>(one);
  --fakeCublasLt.live;
  return 0;
}

// The shapes of D = op(A) B fit each other and are of the types that Baton has.
bool fits(const Product& product, const Layout& a, const Layout& b, const Layout& d) {
  return product.transposeA && a.type == 14 && b.type == 14 && d.type == 0 && a.rows == b.rows &&
         d.rows == a.cols && d.cols == b.cols && a.ld >= int64_t(a.rows) &&
         b.ld >= int64_t(b.rows) && d.ld >= int64_t(d.rows);
}

float bfloatAt(const void* matrix, const Layout& layout, uint64_t row, uint64_t col) {
  const auto* all = static_cast<const uint16_t*>(matrix);
  return baton::floatOfBfloat(all[col * uint64_t(layout.ld) + row]);
}

}  // namespace

EXPORTED size_t cublasLtGetVersion() {
  return fakeCublasLt.version;
}

EXPORTED int cublasLtCreate(void** handle) {
  return fakeCublasLt.createStatus != 0 ? fakeCublasLt.createStatus : make<int>(handle, 1);
}
EXPORTED int cublasLtDestroy(void* handle) {
  return destroy<int>(handle);
}

EXPORTED int cublasLtMatmulDescCreate(void** product, int compute, int scale) {
  return compute == 68 && scale == 0 ? make<Product>(product) : kInvalid;
}
EXPORTED int cublasLtMatmulDescDestroy(void* product) {
  return destroy<Product>(product);
}
EXPORTED int cublasLtMatmulDescSetAttribute(void* product, int attribute, const void* value,
                                            size_t bytes) {
  int32_t operation = 0;
  if (attribute != 3 || bytes != sizeof operation) return kInvalid;
  std::memcpy(&operation, value, bytes);
  static_cast<Product*>(product)->transposeA = operation == 1;
  return 0;
}

EXPORTED int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t cols,
                                        int64_t ld) {
  return make<Layout>(layout, type, rows, cols, ld);
}
EXPORTED int cublasLtMatrixLayoutDestroy(void* layout) {
  return destroy<Layout>(layout);
}

EXPORTED int cublasLtMatmulPreferenceCreate(void** preference) {
  return make<Preference>(preference);
}
EXPORTED int cublasLtMatmulPreferenceDestroy(void* preference) {
  return destroy<Preference>(preference);
}
EXPORTED int cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute,
                                                  const void* value, size_t bytes) {
  if (attribute == 1 && bytes == sizeof(uint64_t)) {
    std::memcpy(&static_cast<Preference*>(preference)->workspace, value, bytes);
    return 0;
  }
  if (attribute < 5 || attribute > 8 || bytes != sizeof(uint32_t)) return kInvalid;
  if (attribute == 8) std::memcpy(&fakeCublasLt.leastAlignment, value, bytes);
  return 0;
}

EXPORTED int cublasLtMatmulAlgoGetHeuristic(void*, void* product, void* a, void* b, void* c,
                                            void* d, void*, int most, Heuristic* found,
                                            int* count) {
  ++fakeCublasLt.heuristics;
  *count = 0;
  if (most < 1 || c != d || fakeCublasLt.noAlgorithm) return 0;
  if (!fits(*static_cast<Product*>(product), *static_cast<Layout*>(a), *static_cast<Layout*>(b),
            *static_cast<Layout*>(d))) {
    return kInvalid;
  }
  *found = {};
  found->algorithm.data[0] = kChosen;
  *count = 1;
  return 0;
}

EXPORTED int cublasLtMatmul(void*, void* product, const void* alpha, const void* a, void* aLayout,
                            const void* b, void* bLayout, const void* beta, const void* c,
                            void* cLayout, void* d, void* dLayout, const Algorithm* algorithm,
                            void* workspace, size_t workspaceBytes, void*) {
  if (fakeCublasLt.multiplyStatus != 0) return fakeCublasLt.multiplyStatus;
  const auto& left = *static_cast<Layout*>(aLayout);
  const auto& right = *static_cast<Layout*>(bLayout);
  const auto& result = *static_cast<Layout*>(dLayout);
  if (!fits(*static_cast<Product*>(product), left, right, result) || c != d || cLayout != dLayout ||
      algorithm->data[0] != kChosen) {
    return kInvalid;
  }
  if (workspace != nullptr) std::memset(workspace, 0xff, workspaceBytes);
  const double scale = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
  auto* out = static_cast<float*>(d);
  for (uint64_t col = 0; col < result.cols; ++col) {
    for (uint64_t row = 0; row < result.rows; ++row) {
      double sum = 0;
      for (uint64_t k = 0; k < left.rows; ++k) {
        sum += double(bfloatAt(a, left, k, row)) * double(bfloatAt(b, right, k, col));
      }
      float& at = out[col * uint64_t(result.ld) + row];
      at = static_cast<float>(scale * sum + (keep == 0 ? 0 : keep * double(at)));
    }
  }
  ++fakeCublasLt.products;
  return 0;
}
