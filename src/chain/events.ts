// SPDX-License-Identifier: Apache-2.0
// The events of a run. Neighbouring text deltas and progress figures that nobody has read yet become one.

import { Channel } from "./channel.js";
import type { ChainEvent } from "./types.js";

/** The two as one event, or null if they must stay apart. */
function merged<S extends string>(last: ChainEvent<S>, next: ChainEvent<S>): ChainEvent<S> | null {
  if (last.type === "text-delta" && next.type === "text-delta" && last.stage === next.stage) {
    const joined = { ...last, text: last.text + next.text };
    if (next.logprobs === undefined) return joined;
    return { ...joined, logprobs: [...(last.logprobs ?? []), ...next.logprobs] };
  }
  if (last.type === "prefill" && next.type === "prefill" && last.stage === next.stage) return next;
  return null;
}

export class EventChannel<Stage extends string> extends Channel<ChainEvent<Stage>> {
  /** `cancel` is called when the reader leaves its loop early. */
  constructor(cancel: () => void) {
    super(cancel, merged);
  }
}
