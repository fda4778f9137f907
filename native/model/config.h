// SPDX-License-Identifier: Apache-2.0
// Metadata to ModelConfig. What comes out keeps the promises that the kernels and the engine build
// on: H a multiple of G, D a multiple of 16 up to 256, M, F and H * D multiples of 32, and every
// size small enough that products of two dimensions fit int64 and one of them fits int.
#pragma once

#include "model/families/families.h"
#include "model/formats/gguf.h"
#include "model/model.h"

namespace baton {

// Largest sizes that are taken; beyond them a number is a mistake or an attack.
inline constexpr int kMostLayers = 1024;
inline constexpr int kMostHeads = 1024;
inline constexpr int kMostHidden = 1 << 16;  // also of H * D
inline constexpr int kMostFfn = 1 << 19;
inline constexpr int kMostVocab = 1 << 22;
inline constexpr int kMostContext = 1 << 22;
inline constexpr double kMostRopeScale = 1e6;

// By general.architecture. Errors: MODEL_FORMAT (absent), MODEL_UNSUPPORTED (unknown).
const Family& readFamily(const GgufFile& file);

// Errors: MODEL_FORMAT (absent, wrong type, contradiction), MODEL_UNSUPPORTED (not built).
ModelConfig readConfig(const GgufFile& file, const Family& family);

}  // namespace baton
