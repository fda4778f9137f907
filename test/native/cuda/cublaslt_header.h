// SPDX-License-Identifier: Apache-2.0
// Compares our declarations of cuBLASLt with NVIDIA's header: compiled, never linked, by
// `npm run cuda:build` where that header can be had (scripts/lib/cublaslt-header.mjs). A function
// agrees if it has as many parameters and each is passed in the same way.
#include <cublasLt.h>

#include <type_traits>

#include "cuda/cublaslt.h"

namespace {

using namespace baton::cuda;

template <class T>
constexpr bool isWhole = std::is_integral_v<T> || std::is_enum_v<T>;

template <class Ours, class Theirs>
constexpr bool agree =
    sizeof(Ours) == sizeof(Theirs) && std::is_pointer_v<Ours> == std::is_pointer_v<Theirs> &&
    isWhole<Ours> == isWhole<Theirs>;

template <class Result, class... Ours, class TheirResult, class... Theirs>
constexpr bool sameCall(Result (*)(Ours...), TheirResult (*)(Theirs...)) {
  if constexpr (sizeof...(Ours) == sizeof...(Theirs)) {
    return agree<Result, TheirResult> && (agree<Ours, Theirs> && ...);
  } else {
    return false;
  }
}

template <class Ours, class Theirs>
constexpr bool calls(Ours ours, Theirs theirs) {
  return sameCall(ours, theirs);
}

constexpr CublasLt kNone{};
static_assert(calls(kNone.version, &cublasLtGetVersion));
static_assert(calls(kNone.create, &cublasLtCreate));
static_assert(calls(kNone.destroy, &cublasLtDestroy));
static_assert(calls(kNone.productCreate, &cublasLtMatmulDescCreate));
static_assert(calls(kNone.productDestroy, &cublasLtMatmulDescDestroy));
static_assert(calls(kNone.productSet, &cublasLtMatmulDescSetAttribute));
static_assert(calls(kNone.layoutCreate, &cublasLtMatrixLayoutCreate));
static_assert(calls(kNone.layoutDestroy, &cublasLtMatrixLayoutDestroy));
static_assert(calls(kNone.preferenceCreate, &cublasLtMatmulPreferenceCreate));
static_assert(calls(kNone.preferenceDestroy, &cublasLtMatmulPreferenceDestroy));
static_assert(calls(kNone.preferenceSet, &cublasLtMatmulPreferenceSetAttribute));
static_assert(calls(kNone.heuristic, &cublasLtMatmulAlgoGetHeuristic));
static_assert(calls(kNone.multiply, &cublasLtMatmul));

static_assert(CUBLAS_STATUS_SUCCESS == 0);
static_assert(lt::kFloat32 == CUDA_R_32F && lt::kBfloat16 == CUDA_R_16BF);
static_assert(lt::kComputeFloat32 == CUBLAS_COMPUTE_32F && lt::kTranspose == CUBLAS_OP_T);
static_assert(lt::kTransposeA == CUBLASLT_MATMUL_DESC_TRANSA);
static_assert(lt::kMostWorkspace == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(lt::kLeastAlignmentOfA == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
static_assert(lt::kLeastAlignmentOfB == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
static_assert(lt::kLeastAlignmentOfC == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
static_assert(lt::kLeastAlignmentOfD == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
static_assert(CUBLAS_VER_MAJOR == kCublasLtMajor);

using Theirs = cublasLtMatmulHeuristicResult_t;
static_assert(sizeof(lt::Algorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(lt::Heuristic) == sizeof(Theirs));
static_assert(offsetof(lt::Heuristic, workspaceBytes) == offsetof(Theirs, workspaceSize));
static_assert(offsetof(lt::Heuristic, state) == offsetof(Theirs, state));
static_assert(offsetof(lt::Heuristic, waves) == offsetof(Theirs, wavesCount));

}  // namespace
