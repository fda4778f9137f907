// SPDX-License-Identifier: Apache-2.0
// linearBf16 (linear.h) of many rows by cuBLASLt, for one stream or what stands for it while a
// graph is written down. What it cannot do, and all of it where there is no cuBLASLt, it leaves to
// the kernels of linear_bf16_tiles.cu. Products are exact, sums are float32 in an order of
// cuBLASLt's choice for the shape: the same bits for the same shape on the same device, other bits
// beside another number of rows.
#pragma once

#include "cuda/cublaslt.h"
#include "kernels/linear/linear.h"

namespace baton::cuda {

class Gemm {
 public:
  // What NVIDIA advises for devices of compute capability 9.0.
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;

  struct Memory {
    void* (*allocate)(int device, size_t bytes);  // null: there is none
    void (*release)(int device, void* memory);
  };

  // Asks for nothing before the first product; `library` gives null where there is none.
  Gemm(int device, void* stream, Memory memory, const CublasLt* (*library)() = cublasLt)
      : device_(device), stream_(stream), memory_(memory), find_(library) {}
  ~Gemm();  // behind what was issued
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  // Where products are issued from now on.
  void issueOn(void* stream) { stream_ = stream; }

  // Issues columns [n0, n1) of all rows on the stream. False: it did not, and y is as it was. The
  // first product allocates, so it must not be captured into a graph.
  bool multiply(const LinearArgs& args, int n0, int n1);

 private:
  // How addresses are aligned is part of it: it decides which kernels can be taken.
  struct Shape {
    int rows, columns, depth, ldy;
    uint32_t alignWeight, alignX, alignY;
    bool operator==(const Shape&) const = default;
  };
  struct Plan {
    Shape shape{};
    void* weight = nullptr;  // layouts
    void* x = nullptr;
    void* y = nullptr;
    lt::Algorithm algorithm{};
    bool usable = false;
  };
  static constexpr int kPlans = 64;

  bool open();
  Plan& planOf(const Shape& shape);
  bool make(Plan& plan);
  void clear(Plan& plan);

  const int device_;
  void* stream_;
  const Memory memory_;
  const CublasLt* (*const find_)();
  const CublasLt* library_ = nullptr;
  bool tried_ = false, ready_ = false;
  void* handle_ = nullptr;
  void* product_ = nullptr;
  void* preference_ = nullptr;
  void* workspace_ = nullptr;
  Plan plans_[kPlans];
  int used_ = 0, oldest_ = 0;  // of plans_, a ring once it is full
};

// Whose products are those of the calling thread's launches; null: no cuBLASLt. The owner of the
// device sets it together with the stream.
inline thread_local Gemm* launchGemm = nullptr;

}  // namespace baton::cuda
