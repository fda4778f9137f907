// SPDX-License-Identifier: Apache-2.0
// A call: rows and what to generate behind them, from the moment it may compute to the end of its output. It holds its
// turn and its place for exactly as long as it computes, however slowly somebody reads; what nobody has read yet is text
// and becomes one piece.

import type { DecodeProgress, Generation, GenerationOptions } from "../index.js";
import { BatonError } from "../index.js";
import type { ServeContext } from "./context.js";
import type { Tenant } from "./keys.js";
import type { ServedModel } from "./models.js";
import type { Usage } from "./openai/usage.js";
import { usageOf } from "./openai/usage.js";
import type { Filled, Place, Rows } from "./places.js";
import { OwnPlace } from "./places.js";

export interface Call {
  served: ServedModel;
  tenant: Tenant;
  rows: Rows;
  options: GenerationOptions;
  /** Checked. */
  session?: string;
  signal: AbortSignal;
}

/** A call whose rows are computed. */
export interface StartedCall {
  generation: Generation;
  /** Its text is held to a form. */
  held: boolean;
  /** Of what it has written so far. */
  usage(): Usage;
}

async function openPlace(
  { sessions, trunks }: ServeContext,
  { served, tenant, session }: Call,
): Promise<Place> {
  if (session !== undefined) return sessions.take(served, tenant.salt, session);
  return new OwnPlace(served, trunks, tenant.salt);
}

/** Fills the place; what idle sessions and trunks hold is given up if the pool has no room otherwise. */
async function fill(context: ServeContext, place: Place, { rows, signal }: Call): Promise<Filled> {
  try {
    return await place.fill(rows, signal);
  } catch (error) {
    const isFull = BatonError.isInstance(error) && error.code === "CACHE_BUDGET";
    if (!isFull || signal.aborted) throw error;
    const freed = [context.sessions.clear(), context.trunks.clear()].includes(true);
    if (!freed) throw error;
    return await place.fill(rows, signal);
  }
}

/**
 * Resolves when it is the call's turn and its rows are computed. Rejects with whatever is in the way until then, when
 * nothing is held any more.
 */
export function startCall(context: ServeContext, call: Call): Promise<StartedCall> {
  return new Promise((resolve, reject) => {
    const turn = context.gate.run(call.signal, async () => {
      const place = await openPlace(context, call);
      try {
        const filled = await fill(context, place, call);
        let written = 0;
        const onProgress = ({ done }: DecodeProgress) => {
          written = done;
        };
        const generation = place.generate({ ...call.options, signal: call.signal, onProgress });
        const held = call.options.output !== undefined;
        resolve({ generation, held, usage: () => usageOf(filled.rows, filled.reused, written) });
        await generation.result;
      } finally {
        place.leave();
      }
    });
    turn.catch(reject); // after it has started: the generation tells its reader
  });
}
