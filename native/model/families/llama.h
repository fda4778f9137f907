// SPDX-License-Identifier: Apache-2.0
// LLaMA (arXiv 2302.13971, 2307.09288): pre-norm RMSNorm, rotary attention with grouped KV heads,
// SwiGLU, no biases.
#pragma once

#include "model/families/families.h"

namespace baton {

extern const Family kLlama;

}  // namespace baton
