// SPDX-License-Identifier: Apache-2.0
// llguidance (MIT): JSON Schema and regular expressions by an Earley parser over derivatives. Built
// from llguidance/ where there is cargo.
#pragma once

#include "engine/constrain/constrainers.h"

namespace baton {

extern const ConstrainerKind kLlguidance;

}  // namespace baton
