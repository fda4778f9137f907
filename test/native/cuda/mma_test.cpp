// SPDX-License-Identifier: Apache-2.0
// Tensor cores as emulated, against plain loops; asynchronous copies, which arrive when they have
// been waited for; and the maps of tiles.cuh: every number of a matrix is held once, and every tile
// that kernels use is read and written without conflicts of banks.
#include "emulation/cuda.h"

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/half.h"
#include "cuda/lanes.cuh"
#include "cuda/mma.cuh"
#include "cuda/tiles.cuh"
#include "kernels/support.h"

using namespace baton;
using namespace baton::cuda;
using namespace baton::test;
using baton::emulation::Fault;
using baton::emulation::Order;

namespace {

// Whether all of kRows x kColumns are reached, each once, by `cellOf(lane, i)` for i below kEach,
// which begins `along` numbers of its row or, of a right matrix, of its column.
template <int kRows, int kColumns, class CellOf>
constexpr bool bijective(CellOf cellOf, int each, int rowsAlong, int columnsAlong) {
  std::array<int, size_t{kRows} * kColumns> seen{};
  for (int lane = 0; lane < kWarp; ++lane) {
    for (int i = 0; i < each; ++i) {
      const Cell first = cellOf(lane, i);
      for (int r = 0; r < rowsAlong; ++r) {
        for (int c = 0; c < columnsAlong; ++c) {
          const int row = first.row + r, column = first.column + c;
          if (row < 0 || row >= kRows || column < 0 || column >= kColumns) return false;
          ++seen[static_cast<size_t>(row * kColumns + column)];
        }
      }
    }
  }
  for (const int count : seen) {
    if (count != 1) return false;
  }
  return true;
}

static_assert(bijective<16, 8>(sumCell, 4, 1, 1));
static_assert(bijective<16, 16>(leftCell<2>, 4, 1, 2));
static_assert(bijective<16, 8>(rightCell<2>, 2, 2, 1));
static_assert(bijective<16, 32>(leftCell<4>, 4, 1, 4));
static_assert(bijective<32, 8>(rightCell<4>, 2, 4, 1));
static_assert(bijective<16, 2>([](int lane, int) { return loadedChunk(lane); }, 1, 1, 1));

// Eight lanes of 16 bytes are served at once where they are in 32 banks.
constexpr bool free(const std::array<int, 8>& offsets) {
  unsigned banks = 0;
  for (const int offset : offsets) banks |= 1u << offset / kChunkBytes % 8;
  return banks == 255;
}

// Of a tile: every chunk has a place of its own, within the tile; ldmatrix at any 16 rows and two
// columns of chunks, and copies by threads in order, are free of conflicts.
template <int kChunks, int kRows>
constexpr bool sound() {
  std::array<int, size_t{kChunks} * kRows> seen{};
  for (int row = 0; row < kRows; ++row) {
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const int offset = chunkOffset<kChunks>(row, chunk);
      if (offset < 0 || offset % kChunkBytes != 0) return false;
      if (offset / kChunkBytes >= kChunks * kRows) return false;
      if (++seen[static_cast<size_t>(offset / kChunkBytes)] != 1) return false;
    }
  }
  for (int row = 0; row < kRows; row += 16) {
    for (int chunk = 0; chunk < kChunks; chunk += 2) {
      for (int lane = 0; lane < kWarp; lane += 8) {
        std::array<int, 8> offsets{};
        for (int i = 0; i < 8; ++i) {
          const Cell at = loadedChunk(lane + i);
          offsets[static_cast<size_t>(i)] = chunkOffset<kChunks>(row + at.row, chunk + at.column);
        }
        if (!free(offsets)) return false;
      }
    }
  }
  for (int first = 0; first < kChunks * kRows; first += 8) {
    std::array<int, 8> offsets{};
    for (int i = 0; i < 8; ++i) {
      const Cell at = copiedChunk<kChunks>(first + i);
      offsets[static_cast<size_t>(i)] = chunkOffset<kChunks>(at.row, at.column);
    }
    if (!free(offsets)) return false;
  }
  return true;
}

static_assert(sound<2, 64>());   // 32 bytes
static_assert(sound<4, 64>());   // products: 32 numbers of 16 bits, or 64 bytes; K of D 256
static_assert(sound<8, 64>());   // K of attention, and V of D 64
static_assert(sound<16, 64>());  // V of D 128
static_assert(sound<32, 32>());  // V of D 256

void inWarp(size_t sharedBytes, const std::function<void()>& kernel) {
  for (const Order order : {Order::kForwards, Order::kBackwards}) {
    emulation::setOrder(order);
    emulation::launch(dim3(1), dim3(kWarp), sharedBytes, kernel);
  }
  emulation::setOrder(Order::kForwards);
}

std::string faultOf(unsigned threads, size_t sharedBytes, const std::function<void()>& kernel) {
  try {
    emulation::launch(dim3(1), dim3(threads), sharedBytes, kernel);
  } catch (const Fault& fault) {
    return fault.what();
  }
  return {};
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A matrix of bytes or of numbers of 16 bits, and the registers of lanes that hold it.
template <class T>
struct Matrix {
  int columns;
  std::vector<T> numbers;

  Matrix(int rows, int width) : columns(width), numbers(static_cast<size_t>(rows * width)) {}
  T& at(int row, int column) { return numbers[static_cast<size_t>(row * columns + column)]; }
  T at(int row, int column) const { return numbers[static_cast<size_t>(row * columns + column)]; }

  // A register from `first` on, along the row or the column.
  unsigned word(Cell first, bool along) const {
    unsigned bits = 0;
    for (int i = 0; i < static_cast<int>(4 / sizeof(T)); ++i) {
      const T number = at(first.row + (along ? 0 : i), first.column + (along ? i : 0));
      bits |= static_cast<unsigned>(static_cast<std::make_unsigned_t<T>>(number))
              << (8 * sizeof(T) * static_cast<size_t>(i));
    }
    return bits;
  }
};

template <Bits16 kBits>
float wide(uint16_t bits) {
  return kBits == Bits16::kBfloat ? floatOfBfloat(bits) : floatOfHalf(bits);
}

template <Bits16 kBits>
void checkHalves() {
  Matrix<uint16_t> a(16, 16), b(16, 8);
  Random random(1);
  for (auto* matrix : {&a, &b}) {
    for (uint16_t& x : matrix->numbers) {
      const float number = static_cast<float>(random.below(31)) - 15;  // so that sums are exact
      x = kBits == Bits16::kBfloat ? bfloatOfFloat(number) : halfOfFloat(number);
    }
  }
  std::vector<float> got(16 * 8);
  inWarp(0, [&] {
    const int lane = static_cast<int>(threadIdx.x);
    unsigned left[4];
    for (int r = 0; r < 4; ++r) left[r] = a.word(leftCell<2>(lane, r), true);
    float c[4];
    for (int i = 0; i < 4; ++i) c[i] = static_cast<float>(sumCell(lane, i).row);
    multiply<kBits>(c, left, b.word(rightCell<2>(lane, 0), false),
                    b.word(rightCell<2>(lane, 1), false));
    for (int i = 0; i < 4; ++i) {
      const Cell at = sumCell(lane, i);
      got[static_cast<size_t>(at.row * 8 + at.column)] = c[i];
    }
  });
  int wrong = 0;
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float sum = static_cast<float>(row);
      for (int k = 0; k < 16; ++k) sum += wide<kBits>(a.at(row, k)) * wide<kBits>(b.at(k, column));
      wrong += got[static_cast<size_t>(row * 8 + column)] != sum;
    }
  }
  CHECK_EQ(wrong, 0);
}

void checkBytes(int depth) {
  Matrix<int8_t> a(16, depth), b(depth, 8);
  Random random(2);
  for (auto* matrix : {&a, &b}) {
    for (int8_t& x : matrix->numbers) x = static_cast<int8_t>(random.below(256));
  }
  std::vector<int> got(16 * 8);
  inWarp(0, [&] {
    const int lane = static_cast<int>(threadIdx.x);
    unsigned left[4] = {}, right[2] = {};
    for (int r = 0; r < depth / 8; ++r) left[r] = a.word(leftCell<4>(lane, r), true);
    for (int r = 0; r < depth / 16; ++r) right[r] = b.word(rightCell<4>(lane, r), false);
    int c[4];
    for (int i = 0; i < 4; ++i) c[i] = sumCell(lane, i).row;
    if (depth == 32) {
      multiply(c, left, right[0], right[1]);
    } else {
      multiply(c, left[0], left[1], right[0]);
    }
    for (int i = 0; i < 4; ++i) {
      const Cell at = sumCell(lane, i);
      got[static_cast<size_t>(at.row * 8 + at.column)] = c[i];
    }
  });
  int wrong = 0;
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      int sum = row;
      for (int k = 0; k < depth; ++k) sum += a.at(row, k) * b.at(k, column);
      wrong += got[static_cast<size_t>(row * 8 + column)] != sum;
    }
  }
  CHECK_EQ(wrong, 0);
}

// Matrices of 8 rows of 8 numbers, one behind the other: which lane gets which.
template <int kCount, bool kTransposed>
void checkLoad() {
  int wrong = 0;
  inWarp(kCount * 128, [&] {
    const unsigned lane = threadIdx.x;
    auto* shared = sharedMemory<uint16_t>();
    for (unsigned i = lane; i < kCount * 64; i += kWarp) shared[i] = static_cast<uint16_t>(i);
    __syncwarp();
    unsigned got[kCount];
    const unsigned brings = std::min(lane, 8u * kCount - 1);  // lanes beyond are not looked at
    loadMatrices<kCount, kTransposed>(got, shared + brings * 8);
    for (unsigned matrix = 0; matrix < kCount; ++matrix) {
      for (unsigned i = 0; i < 2; ++i) {
        const unsigned outer = lane / 4, inner = lane % 4 * 2 + i;
        const unsigned want = matrix * 64 + (kTransposed ? inner * 8 + outer : outer * 8 + inner);
        wrong += (got[matrix] >> 16 * i & 0xffff) != want;
      }
    }
  });
  CHECK_EQ(wrong, 0);
}

}  // namespace

TEST("emulated CUDA: mma of 16-bit numbers and of bytes is the product of the matrices") {
  checkHalves<Bits16::kBfloat>();
  checkHalves<Bits16::kHalf>();
  checkBytes(32);
  checkBytes(16);
}

TEST("emulated CUDA: mma rounds to nothing nearer than zero, and keeps infinities and NaN") {
  inWarp(0, [&] {
    const uint16_t one = bfloatOfFloat(1), small = bfloatOfFloat(0x1p-20f), huge = 0x7f80;
    const auto product = [&](float first, uint16_t left, uint16_t right) {
      float c[4] = {first, first, first, first};
      const unsigned a[4] = {left, left, 0, 0};  // k = 0, 2, 4, 6: the others are 0
      multiply<Bits16::kBfloat>(c, a, right, 0);
      return c[0];
    };
    CHECK_EQ(product(1, one, one), 5.0f);
    CHECK_EQ(product(8, small, one), 8 + 4 * 0x1p-20f);
    CHECK_EQ(product(64, bfloatOfFloat(-0x1p-20f), one), 64 - 0x1p-18f);
    CHECK_EQ(product(64, small, bfloatOfFloat(1.9f)), 64.0f);  // cut off: 64 + 0x1.8p-18
    CHECK_EQ(product(0, huge, one), kInfinity);
    CHECK(std::isnan(product(kInfinity, huge, bfloatOfFloat(-1))));
  });
}

TEST("emulated CUDA: ldmatrix hands rows and columns of its matrices to lanes") {
  checkLoad<1, false>();
  checkLoad<1, true>();
  checkLoad<2, false>();
  checkLoad<2, true>();
  checkLoad<4, false>();
  checkLoad<4, true>();
}

TEST("emulated CUDA: ldmatrix counts conflicts of banks, and refuses what a device would") {
  emulation::takeBankConflicts();
  const auto load = [](int stride, size_t first) {
    unsigned got[1];
    loadMatrices<1>(got, sharedMemory<char>() + first + threadIdx.x % 8 * stride);
  };
  inWarp(1024, [&] { load(16, 0); });
  CHECK_EQ(emulation::takeBankConflicts(), 0);
  inWarp(1024, [&] { load(32, 0); });
  CHECK_EQ(emulation::takeBankConflicts(), 2);  // of both orders
  inWarp(1024, [&] { load(128, 0); });
  CHECK_EQ(emulation::takeBankConflicts(), 14);
  CHECK(has(faultOf(32, 1024, [&] { load(16, 8); }), "ldmatrix of a place"));
  CHECK(has(faultOf(32, 1024, [&] { load(160, 0); }), "not in shared memory"));
  CHECK(has(faultOf(16, 1024, [&] { load(16, 0); }), "thread 16 does not exist"));
}

TEST("emulated CUDA: a copy arrives when the thread has waited for its group") {
  const std::array<uint32_t, 8> from = {1, 2, 3, 4, 5, 6, 7, 8};
  alignas(16) std::array<uint32_t, 8> data = from;
  std::vector<int> wrong(kWarp);
  inWarp(kWarp * 48, [&] {
    int& bad = wrong[threadIdx.x];
    uint32_t* mine = sharedMemory<uint32_t>() + 12 * threadIdx.x;
    for (int i = 0; i < 12; ++i) mine[i] = 9;
    copyAsync<16>(mine, data.data());
    bad += mine[0] != 0xffffffffu;  // not there yet, and no longer what was there
    endCopies();
    copyAsync<16>(mine + 4, data.data() + 4);
    copyAsync<4>(mine + 8, data.data() + 6);
    endCopies();
    copyAsync<16>(mine + 8, data.data(), false);
    waitForCopies<1>();  // the third group has not ended: the first two have, the last is left
    bad += mine[0] != 1 || mine[3] != 4 || mine[4] != 0xffffffffu || mine[8] != 0xffffffffu;
    waitForCopies<0>();
    bad += mine[4] != 5 || mine[7] != 8;
    bad += mine[8] != 7 || mine[9] != 0xffffffffu;  // the second group alone
    endCopies();
    waitForCopies<0>();
    bad += mine[8] != 0 || mine[11] != 0;  // zeros, for what is not there
  });
  CHECK(wrong == std::vector<int>(kWarp, 0));
}

TEST("emulated CUDA: copies of others are read after their wait and a barrier, not before") {
  alignas(16) std::array<uint32_t, 4> data = {7, 7, 7, 7};
  for (const bool barrier : {true, false}) {
    int wrong = 0;
    inWarp(kWarp * 16, [&] {
      uint32_t* shared = sharedMemory<uint32_t>();
      copyAsync<16>(shared + 4 * threadIdx.x, data.data());
      endCopies();
      waitForCopies<0>();
      if (barrier) __syncthreads();
      wrong += shared[4 * (kWarp - 1 - threadIdx.x)] != 7;
    });
    CHECK_EQ(wrong > 0, !barrier);
  }
}

TEST("emulated CUDA: copies that begin or end where a device would refuse them") {
  alignas(16) static std::array<char, 64> data = {};
  const auto copy = [](size_t to, size_t from) {
    return faultOf(2, 64, [=] {
      if (threadIdx.x == 1) copyAsync<16>(sharedMemory<char>() + to, data.data() + from);
    });
  };
  CHECK(copy(48, 48).empty());
  CHECK(has(copy(0, 4), "thread 1: cp.async from a place"));
  CHECK(has(copy(8, 0), "thread 1: cp.async to a place"));
  CHECK(has(copy(64, 0), "thread 1: cp.async to a place"));
}
