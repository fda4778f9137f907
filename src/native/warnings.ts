// SPDX-License-Identifier: Apache-2.0
// What the addon has to say that fails nothing: it prints nothing itself, so its warnings become process warnings.

import type { NativeBinding } from "./types.js";

/** Emits each warning that the addon holds as a process warning named BatonWarning, with its `code` and `facts`. */
export function emitWarnings(native: Pick<NativeBinding, "takeWarnings">): void {
  for (const { code, message, facts } of native.takeWarnings()) {
    process.emitWarning(Object.assign(new Error(message), { name: "BatonWarning", code, facts }));
  }
}
