// SPDX-License-Identifier: Apache-2.0
// The part of cuBLASLt that Baton calls, found at run time: nobody needs it to build or to load
// libbaton_cuda.so. Declarations are our own, by values that CUDA 13 has fixed; the build compares
// them with NVIDIA's header (test/native/cuda/cublaslt_header.h). Handles are opaque there, too.
#pragma once

#include <cstddef>
#include <cstdint>

namespace baton::cuda {

inline constexpr const char* kCublasLtFile = "libcublasLt.so.13";
inline constexpr size_t kCublasLtMajor = 13;

namespace lt {

using Status = int;  // 0: CUBLAS_STATUS_SUCCESS

inline constexpr int kFloat32 = 0;            // CUDA_R_32F
inline constexpr int kBfloat16 = 14;          // CUDA_R_16BF
inline constexpr int kComputeFloat32 = 68;    // CUBLAS_COMPUTE_32F
inline constexpr int32_t kTranspose = 1;      // CUBLAS_OP_T
inline constexpr int kTransposeA = 3;         // CUBLASLT_MATMUL_DESC_TRANSA
inline constexpr int kMostWorkspace = 1;      // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES
inline constexpr int kLeastAlignmentOfA = 5;  // CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES
inline constexpr int kLeastAlignmentOfB = 6;
inline constexpr int kLeastAlignmentOfC = 7;
inline constexpr int kLeastAlignmentOfD = 8;

struct Algorithm {
  uint64_t data[8];
};

struct Heuristic {
  Algorithm algorithm;
  size_t workspaceBytes;
  Status state;
  float waves;
  int reserved[4];
};

}  // namespace lt

// Matrices are column-major: D[m, n] = alpha op(A) op(B) + beta C.
struct CublasLt {
  size_t (*version)();  // 130002 for 13.0.2
  lt::Status (*create)(void** handle);
  lt::Status (*destroy)(void* handle);
  lt::Status (*productCreate)(void** product, int compute, int scale);
  lt::Status (*productDestroy)(void* product);
  lt::Status (*productSet)(void* product, int attribute, const void* value, size_t bytes);
  lt::Status (*layoutCreate)(void** layout, int type, uint64_t rows, uint64_t cols, int64_t ld);
  lt::Status (*layoutDestroy)(void* layout);
  lt::Status (*preferenceCreate)(void** preference);
  lt::Status (*preferenceDestroy)(void* preference);
  lt::Status (*preferenceSet)(void* preference, int attribute, const void* value, size_t bytes);
  lt::Status (*heuristic)(void* handle, void* product, void* a, void* b, void* c, void* d,
                          void* preference, int most, lt::Heuristic* found, int* count);
  lt::Status (*multiply)(void* handle, void* product, const void* alpha, const void* a,
                         void* aLayout, const void* b, void* bLayout, const void* beta,
                         const void* c, void* cLayout, void* d, void* dLayout,
                         const lt::Algorithm* algorithm, void* workspace, size_t workspaceBytes,
                         void* stream);
};

// Opens the library of this name. False: it is not there, of another version or lacks a function,
// and `text` has why; true: `text` has its name and version. What was opened stays open.
bool openCublasLt(const char* file, CublasLt& into, char* text, size_t textBytes);

// The process's: the file that BATON_CUBLASLT names ("off": none), else kCublasLtFile; opened by
// the first call. Null: there is none.
const CublasLt* cublasLt();

// Of it: "cuBLASLt 13.0.2", or "none" and why.
const char* cublasLtText();

}  // namespace baton::cuda
