// SPDX-License-Identifier: Apache-2.0
// rows.h for every table that has the operation, and the choice of the table.
#include "kernels/rows.h"

#include "kernels/attend/kv_element.h"
#include "kv_pool.h"
#include "support.h"

using namespace baton;
using namespace baton::test;

TEST("embed: rows of the table, exact; negative ids leave their row alone") {
  for (const Ops* ops : tablesWith(&Ops::embed)) {
    for (const QuantType& type : quantTypes()) {
      for (const int length : {32, 64, 96, 576}) {
        const int M = wholeBlocks(type, length);
        Random random(static_cast<uint32_t>(M));
        std::vector<float> w(static_cast<size_t>(9 * M)), exact = w;
        random.fill(w);
        Misaligned<std::byte> table(quantRowBytes(type, 9 * M), type.dtype == DType::kF32 ? 4 : 2);
        type.quantize(w.data(), table.data(), w.size());
        type.dequantize(table.data(), exact.data(), w.size());
        const int32_t tokens[] = {8, -1, 0, 3};
        Misaligned<float> out(static_cast<size_t>(4 * M), 1, 7.0f);
        ops->embed({table.data(), type.dtype, M, tokens, out.data()}, 0, 3);
        const auto at = [&](int row) { return out.data() + row * M; };
        CHECK(sameBits(at(0), exact.data() + 8 * M, static_cast<size_t>(M)));
        CHECK(sameBits(at(2), exact.data(), static_cast<size_t>(M)));
        CHECK(at(1)[0] == 7.0f && at(1)[M - 1] == 7.0f);
        CHECK(at(3)[0] == 7.0f && at(3)[M - 1] == 7.0f);
        ops->embed({table.data(), type.dtype, M, tokens, out.data(), 1.7f}, 0, 3);
        int wrong = at(1)[0] != 7.0f;
        for (int i = 0; i < M; ++i) {
          wrong += at(0)[i] != exact[static_cast<size_t>(8 * M + i)] * 1.7f;
        }
        CHECK_EQ(wrong, 0);
      }
    }
    const float odd[] = {1, 2, 3, 4, 5, 6, 7};
    const int32_t token = 0;
    float out[8] = {};
    ops->embed({odd, DType::kF32, 7, &token, out}, 0, 1);
    CHECK(sameBits(out, odd, 7) && out[7] == 0);
  }
}

TEST("rmsnorm: against double precision, in place, and only the rows asked for") {
  for (const Ops* ops : tablesWith(&Ops::rmsnorm)) {
    for (const int M : {1, 7, 8, 31, 64, 100, 576, 2048}) {
      Random random(static_cast<uint32_t>(M));
      const auto n = static_cast<size_t>(M);
      Misaligned<float> x(3 * n, 1), weight(n, 3), y(3 * n, 1, 5.0f);
      random.fill(x);
      random.fill(weight);
      ops->rmsnorm({x.data(), weight.data(), y.data(), M, 1e-5f}, 1, 3);
      for (size_t r = 1; r < 3; ++r) {
        double squares = 0;
        for (size_t i = 0; i < n; ++i) squares += static_cast<double>(x[r * n + i]) * x[r * n + i];
        const double scale = 1 / std::sqrt(squares / M + 1e-5f);
        std::vector<double> want(n), bound(n);
        for (size_t i = 0; i < n; ++i) {
          want[i] = x[r * n + i] * scale * weight[i];
          bound[i] = std::fabs(want[i]) * kEpsilon * (8 + M / 2.0) + 1e-30;
        }
        checkWithin(std::string(isaName(ops->isa)) + " rmsnorm M=" + std::to_string(M), &y[r * n],
                    want.data(), bound.data(), n);
      }
      CHECK(y[0] == 5.0f && y[n - 1] == 5.0f);
      Misaligned<float> sum(3 * n, 1, 5.0f);
      ops->rmsnorm({x.data(), weight.data(), sum.data(), M, 1e-5f, true}, 1, 3);
      int wrong = sum[0] != 5.0f;
      for (size_t i = n; i < 3 * n; ++i) wrong += sum[i] != 5.0f + y[i];
      CHECK_EQ(wrong, 0);
      ops->rmsnorm({x.data(), weight.data(), x.data(), M, 1e-5f}, 1, 3);
      CHECK(sameBits(&x[n], &y[n], 2 * n));
    }
  }
}

TEST("addBias: every row asked for, exactly, and nothing else") {
  for (const Ops* ops : tablesWith(&Ops::addBias)) {
    for (const int N : {1, 7, 8, 31, 64, 576}) {
      const auto n = static_cast<size_t>(N);
      Misaligned<float> y(4 * n, 1), bias(n, 3);
      Random random(static_cast<uint32_t>(N));
      random.fill(y);
      random.fill(bias);
      const std::vector<float> before(y.data(), y.data() + 4 * n);
      ops->addBias({bias.data(), y.data(), N}, 1, 3);
      int wrong = 0;
      for (size_t i = 0; i < 4 * n; ++i) {
        const bool asked = i / n == 1 || i / n == 2;
        wrong += y[i] != (asked ? before[i] + bias[i % n] : before[i]);
      }
      CHECK_EQ(wrong, 0);
    }
  }
}

TEST("quantize: same bits in every table, half a step at most, zeros and tiny groups") {
  constexpr int kK = 256, kR = 40;
  Random random(17);
  Misaligned<float> x(size_t{kK} * kR, 1);
  random.fill(x);
  for (size_t i = 0; i < 32; ++i) x[i] = 0;
  for (size_t i = 32; i < 64; ++i) x[i] = 1e-38f;
  for (size_t i = 64; i < 96; ++i) x[i] = i == 70 ? -3e38f : 1e-3f;
  for (size_t i = 96; i < 128; ++i) x[i] = static_cast<float>(i) - 96.0f + 0.5f;  // ties
  x[96] = 127.0f;
  const auto run = [&](const Ops& ops, std::vector<int8_t>& q, std::vector<float>& d,
                       std::vector<float>& s) {
    q.assign(x.size(), 99);
    d.assign(x.size() / kGroup, -1);
    s = d;
    ops.quantize({x.data(), q.data(), d.data(), s.data(), kK}, 0, kR);
  };
  std::vector<int8_t> q0, q;
  std::vector<float> d0, s0, d, s;
  run(kScalarOps, q0, d0, s0);
  int wrong = 0;
  for (size_t g = 0; g < d0.size(); ++g) {
    float largest = 0;
    int sum = 0;
    for (size_t i = g * 32; i < g * 32 + 32; ++i) {
      largest = std::max(largest, std::fabs(x[i]));
      sum += q0[i];
      wrong += !(std::fabs(static_cast<double>(x[i]) - static_cast<double>(d0[g]) * q0[i]) <=
                 d0[g] * 0.50001 + (g == 1 ? 1e-37 : 0));
    }
    wrong += g != 1 && d0[g] != largest / 127.0f;
    wrong += s0[g] != d0[g] * static_cast<float>(sum);
  }
  CHECK_EQ(wrong, 0);
  CHECK(d0[0] == 0 && s0[0] == 0 && d0[1] == 0);
  for (const Ops* ops : tablesWith(&Ops::quantize)) {
    run(*ops, q, d, s);
    CHECK(q == q0);
    CHECK(sameBits(d.data(), d0.data(), d.size()));
    CHECK(sameBits(s.data(), s0.data(), s.size()));
  }
}

TEST("rmsnormQuantize: the bits of rmsnorm and then quantize, with the normed rows and without") {
  for (const Ops* ops : tablesWith(&Ops::rmsnormQuantize)) {
    for (const int M : {32, 64, 96, 576, 2048}) {
      const auto n = static_cast<size_t>(M), groups = n / kGroup;
      Misaligned<float> x(4 * n, 1), weight(n, 3), want(4 * n, 1, 5.0f);
      Random random(static_cast<uint32_t>(M));
      random.fill(x);
      random.fill(weight);
      for (size_t i = 0; i < 32; ++i) weight[i] *= i < 16 ? 0 : 1e-38f;  // a group that is zero
      for (size_t i = 2 * n; i < 3 * n; ++i) x[i] *= 1e-12f;             // epsilon counts
      std::vector<int8_t> wantQ(4 * n, 99);
      std::vector<float> wantD(4 * groups, -1), wantS = wantD;
      ops->rmsnorm({x.data(), weight.data(), want.data(), M, 1e-5f}, 1, 3);
      ops->quantize({want.data(), wantQ.data(), wantD.data(), wantS.data(), M}, 1, 3);
      CHECK(wantD[groups] == 0 && (M == 32 || wantD[groups + 1] > 0));
      Misaligned<float> y(4 * n, 1, 5.0f);
      for (float* rows : {static_cast<float*>(nullptr), y.data(), x.data()}) {  // x: in place
        std::vector<int8_t> q(4 * n, 99);
        std::vector<float> d(4 * groups, -1), s = d;
        ops->rmsnormQuantize(
            {x.data(), weight.data(), rows, q.data(), d.data(), s.data(), M, 1e-5f}, 1, 3);
        CHECK(q == wantQ);
        CHECK(sameBits(d.data(), wantD.data(), d.size()));
        CHECK(sameBits(s.data(), wantS.data(), s.size()));
      }
      CHECK(sameBits(y.data(), want.data(), y.size()));
      CHECK(sameBits(&x[n], &want[n], 2 * n));
    }
  }
}

TEST("rope: both pairings against double precision; turning back gives the row again") {
  for (const Ops* ops : tablesWith(&Ops::rope)) {
    for (const int D : {16, 32, 64, 80, 128, 256}) {
      for (const RopePairing pairing : {RopePairing::kAdjacent, RopePairing::kHalves}) {
        constexpr int kHeads = 3, kPositions = 50;
        const int half = D / 2;
        Misaligned<float> cos(static_cast<size_t>(kPositions * half), 1), sin(cos.size(), 1);
        for (int p = 0; p < kPositions; ++p) {
          for (int i = 0; i < half; ++i) {
            const double angle = p * std::pow(10000.0, -2.0 * i / D);
            cos[static_cast<size_t>(p * half + i)] = static_cast<float>(std::cos(angle));
            sin[static_cast<size_t>(p * half + i)] = static_cast<float>(std::sin(angle));
          }
        }
        const int ldx = kHeads * D + 3, ldo = kHeads * D + 5;
        Misaligned<float> x(static_cast<size_t>(3 * ldx), 1);
        Random(static_cast<uint32_t>(D)).fill(x);
        const int32_t positions[] = {0, 49, -13}, back[] = {0, -49, 13};
        Misaligned<float> out(static_cast<size_t>(3 * ldo), 2, 9.0f);
        RopeArgs args{x.data(), ldx,        out.data(), ldo,       kHeads,
                      D,        cos.data(), sin.data(), positions, pairing};
        ops->rope(args, 0, 3);
        int wrong = 0, untouched = 0;
        for (int r = 0; r < 3; ++r) {
          for (int h = 0; h < kHeads; ++h) {
            for (int i = 0; i < half; ++i) {
              const int i1 = pairing == RopePairing::kAdjacent ? 2 * i : i;
              const int i2 = pairing == RopePairing::kAdjacent ? 2 * i + 1 : i + half;
              const auto at = static_cast<size_t>(std::abs(positions[r]) * half + i);
              const double c = cos[at], s = positions[r] < 0 ? -sin[at] : sin[at];
              const double x1 = x[static_cast<size_t>(r * ldx + h * D + i1)];
              const double x2 = x[static_cast<size_t>(r * ldx + h * D + i2)];
              const double bound = 2 * kEpsilon * (std::fabs(x1) + std::fabs(x2)) + 1e-30;
              const auto o = static_cast<size_t>(r * ldo + h * D);
              wrong += !(std::fabs(out[o + static_cast<size_t>(i1)] - (x1 * c - x2 * s)) <= bound);
              wrong += !(std::fabs(out[o + static_cast<size_t>(i2)] - (x1 * s + x2 * c)) <= bound);
            }
          }
          for (int i = kHeads * D; i < ldo; ++i)
            untouched += out[static_cast<size_t>(r * ldo + i)] == 9.0f;
        }
        CHECK_EQ(wrong, 0);
        CHECK_EQ(untouched, 15);
        args.x = args.out;
        args.ldx = ldo;
        args.positions = back;
        ops->rope(args, 0, 3);  // in place
        for (int r = 0; r < 3; ++r) {
          for (int i = 0; i < kHeads * D; ++i) {
            wrong += !(std::fabs(out[static_cast<size_t>(r * ldo + i)] -
                                 x[static_cast<size_t>(r * ldx + i)]) <= 4e-6);
          }
        }
        CHECK_EQ(wrong, 0);
      }
    }
  }
}

// Rows of int8 as they read against the rounding of kv_pool.h; those with NaN and infinity besides.
void checkInt8(const Misaligned<float>& k, const Misaligned<float>& v, int G, int D,
               const std::vector<std::byte>& pool, const std::vector<int32_t>& block,
               const std::vector<int32_t>& slot, size_t stride) {
  const size_t head = kvHeadBytes(KvType::kInt8, D);
  int wrong = 0;
  for (size_t r = 0; r < block.size(); ++r) {
    for (int g = 0; g < G; ++g) {
      const size_t in = r * static_cast<size_t>(G * D + 1) + static_cast<size_t>(g * D);
      std::vector<float> key(k.data() + in, k.data() + in + D);
      std::vector<float> value(v.data() + in, v.data() + in + D);
      const std::byte* base =
          pool.data() + static_cast<size_t>(block[r]) * stride + static_cast<size_t>(g) * head;
      const std::byte* values = base + static_cast<size_t>(G) * head;
      const bool special = r == 0;  // a NaN in head 0, an infinity in head 1
      roundRow(KvType::kInt8, key.data(), D);
      if (!special) roundRow(KvType::kInt8, value.data(), D);
      for (int t = 0; t < D; ++t) {
        const float gotKey = keyElement(KvType::kInt8, base, D, slot[r], t);
        const float got = valueElement(KvType::kInt8, values, D, slot[r], t);
        wrong += gotKey != key[static_cast<size_t>(t)];
        if (!special) wrong += got != value[static_cast<size_t>(t)];
        if (special && g == 0) wrong += !std::isnan(got);
        if (special && g == 1) wrong += got != (t == 0 ? -65504.0f * 127 : 0);
      }
    }
  }
  CHECK_EQ(wrong, 0);
}

TEST("kvStore: K transposed and V in rows, same bytes in every table, nothing else touched") {
  for (const KvType kv : kKvTypes) {
    for (const int D : {16, 64, 80}) {
      constexpr int kG = 2, kR = 21, kBlocks = 3;
      Misaligned<float> k(static_cast<size_t>(kR * (kG * D + 1)), 1), v(k.size(), 1);
      Random random(static_cast<uint32_t>(D));
      random.fill(k);
      random.fill(v);
      k[0] = 1e-6f, k[1] = 70000.0f, v[0] = -1e-7f;
      if (kv == KvType::kInt8) v[3] = kNan, v[static_cast<size_t>(D)] = -INFINITY;
      const size_t head = kvHeadBytes(kv, D);
      const size_t stride = 2 * kG * head + 32;
      std::vector<int32_t> block, slot;
      for (int r = 0; r < kR; ++r) {
        block.push_back(r % 2 == 0 ? 2 : 0);
        slot.push_back((r / 2 * 5) % 16);
      }
      const auto run = [&](const Ops& ops) {
        std::vector<std::byte> pool(stride * kBlocks, std::byte{0x5a});
        ops.kvStore({k.data(), kG * D + 1, v.data(), kG * D + 1, kG, D, kv, pool.data(),
                     pool.data() + kG * head, head, stride, block.data(), slot.data()},
                    0, kR);
        return pool;
      };
      const std::vector<std::byte> reference = run(kScalarOps);
      if (kv == KvType::kF32) {  // layout, independently
        int wrong = 0;
        for (int r = 0; r < kR; ++r) {
          for (int g = 0; g < kG; ++g) {
            for (int t = 0; t < D; ++t) {
              const std::byte* base = reference.data() +
                                      static_cast<size_t>(block[static_cast<size_t>(r)]) * stride +
                                      static_cast<size_t>(g) * head;
              const int s = slot[static_cast<size_t>(r)];
              const auto in = static_cast<size_t>(r * (kG * D + 1) + g * D + t);
              float key, value;
              std::memcpy(&key, base + 4 * (t * 16 + s), 4);
              std::memcpy(&value, base + kG * head + static_cast<size_t>(4 * (s * D + t)), 4);
              wrong += key != k[in] || value != v[in];
            }
          }
        }
        CHECK_EQ(wrong, 0);
      }
      if (kv == KvType::kInt8) checkInt8(k, v, kG, D, reference, block, slot, stride);
      for (const Ops* ops : tablesWith(&Ops::kvStore)) CHECK(run(*ops) == reference);
    }
  }
}

TEST("swiglu: against double precision, far arguments included, in place") {
  for (const Ops* ops : tablesWith(&Ops::swiglu)) {
    for (const int F : {1, 8, 13, 64, 1536}) {
      const auto n = static_cast<size_t>(2 * F);
      Misaligned<float> gate(n, 1), up(n, 3), out(n, 1);
      Random random(static_cast<uint32_t>(F));
      random.fill(gate);
      random.fill(up);
      for (size_t i = 0; i < n; ++i) gate[i] *= 10;
      gate[0] = -200;
      if (n > 4) gate[1] = 200, gate[2] = -80, gate[3] = 0;
      ops->swiglu({gate.data(), up.data(), out.data(), F}, 0, 2);
      std::vector<double> want(n), bound(n);
      for (size_t i = 0; i < n; ++i) {
        const double g = gate[i];
        want[i] = g / (1 + std::exp(-g)) * up[i];
        bound[i] = std::fabs(want[i]) * 1e-6 + 1e-33;
      }
      checkWithin(std::string(isaName(ops->isa)) + " swiglu", out.data(), want.data(), bound.data(),
                  n);
      ops->swiglu({gate.data(), up.data(), gate.data(), F}, 0, 2);
      CHECK(sameBits(gate.data(), out.data(), n));
    }
  }
}

TEST("geglu: against double precision, far arguments included, in place") {
  for (const Ops* ops : tablesWith(&Ops::geglu)) {
    for (const int F : {1, 8, 13, 64, 1536}) {
      const auto n = static_cast<size_t>(2 * F);
      Misaligned<float> gate(n, 1), up(n, 3), out(n, 1);
      Random random(static_cast<uint32_t>(F));
      random.fill(gate);
      random.fill(up);
      for (size_t i = 0; i < n; ++i) gate[i] *= 2;
      gate[0] = -40;
      if (n > 4) gate[1] = 1e20f, gate[2] = -6, gate[3] = 0, gate[4] = -1e20f;
      ops->geglu({gate.data(), up.data(), out.data(), F}, 0, 2);
      std::vector<double> want(n), bound(n);
      for (size_t i = 0; i < n; ++i) {
        const double g = gate[i];
        const double z = std::sqrt(2 / 3.14159265358979) * (g + 0.044715 * g * g * g);
        // (1 + tanh z) / 2 without its cancellation; a float's rounding of z is one of e^2z too.
        want[i] = g / (1 + std::exp(-2 * z)) * up[i];
        bound[i] = std::fabs(want[i]) * (1e-6 + 1e-6 * std::min(std::fabs(z), 50.0)) + 1e-16;
      }
      checkWithin(std::string(isaName(ops->isa)) + " geglu", out.data(), want.data(), bound.data(),
                  n);
      ops->geglu({gate.data(), up.data(), gate.data(), F}, 0, 2);
      CHECK(sameBits(gate.data(), out.data(), n));
    }
  }
}

TEST("device: the self test passes for every table, and the table in use is one of them") {
  bool found = false;
  for (const Ops* ops : availableOps()) {
    found = found || ops == &cpuOps();
    const auto checks = selfTest(*ops);
    CHECK(checks.size() > 30);
    for (const KernelCheck& check : checks) {
      expect(check.ok, __FILE__, __LINE__,
             std::string(isaName(check.isa)) + " " + check.op + ": error " + show(check.error));
    }
  }
  CHECK(found);
  CHECK(availableOps().front() == &kScalarOps);
}
