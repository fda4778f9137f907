// SPDX-License-Identifier: Apache-2.0
// Where the KV of a conversation is. A call states all of it anew; what its rows have in common with those that the
// session holds is read, what comes behind is let go, and the rest is computed. Without a session the rows are found by
// their content, as far as the model's index has kept them.
//
// Rows are compared as tokens, and an answer that comes back as text may be cut into other tokens than the model wrote. So
// an answer that reads the same is taken as the tokens that are there.

import type { CacheContent, CacheHandle, Model, PromptSource, Session, Tokenizer } from "../index.js";
import { abortOf } from "./errors.js";
import type { CallSession } from "./spec.js";

export interface Place {
  model: Model;
  /** A session's name, for `model.session`; null: none. */
  id: string | null;
  /** The caller's own session. */
  store: CallSession | undefined;
  salt: string | undefined;
}

export interface InputRows {
  total: number;
  computed: number;
  /** Whether a session holds them now. */
  held: boolean;
}

/** What a session knows of its last call: the tokens that it was given and those that it wrote. */
interface Turn {
  prompt: readonly number[];
  output: readonly number[];
}

/** A session's rows, for one call at a time. */
class Slot {
  readonly handle: CacheHandle | Session;
  turn: Turn | null = null;
  #last: Promise<void> = Promise.resolve();

  constructor(handle: CacheHandle | Session) {
    this.handle = handle;
  }

  /** Waits for its turn; the result lets the next one in. Rejects with the abort. */
  async take(signal: AbortSignal): Promise<() => void> {
    const before = this.#last;
    let free = () => {};
    const mine = new Promise<void>((resolve) => {
      free = resolve;
    });
    this.#last = before.then(() => mine);
    let onAbort = () => {};
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(abortOf(signal));
      signal.addEventListener("abort", onAbort, { once: true });
      if (signal.aborted) onAbort();
    });
    try {
      await Promise.race([before, aborted]);
      return free;
    } catch (error) {
      free();
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }
}

const slots = new WeakMap<Session, Slot>();
const numbers = new WeakMap<Model, number>();
let models = 0;

/** One key for a model under a salt, the same in every session of a caller. */
function keyOf(model: Model, salt: string | undefined): string {
  let number = numbers.get(model);
  if (number === undefined) {
    models += 1;
    number = models;
    numbers.set(model, number);
  }
  return `baton-lm.${number}.${salt ?? ""}`;
}

async function slotOf({ model, id, store, salt }: Place): Promise<Slot | null> {
  const under = salt === undefined ? {} : { salt };
  if (id !== null) {
    const session = await model.session({ id, ...under });
    const slot = slots.get(session) ?? new Slot(session);
    slots.set(session, slot);
    return slot;
  }
  if (store === undefined) return null;
  return store.getOrSet(keyOf(model, salt), () => new Slot(model.cache.open(under)), {
    onDestroy: (slot) => slot.handle.close(),
  });
}

/** `ids` with the last answer in the tokens that were written, where it reads the same. */
export function inWrittenTokens(ids: readonly number[], turn: Turn | null, tokenizer: Tokenizer): number[] {
  const { prompt, output } = turn ?? { prompt: [], output: [] };
  if (output.length === 0 || prompt.some((id, i) => ids[i] !== id)) return [...ids];
  const written = tokenizer.decode(output);
  const stream = tokenizer.stream();
  let text = "";
  let at = prompt.length;
  for (; at < ids.length && text.length < written.length; at++) {
    const id = ids[at] as number;
    const piece = stream.push([id]);
    if (piece === "" && tokenizer.specialId(tokenizer.tokenName(id)) === id) break; // the answer's turn ends here
    text += piece;
  }
  return text === written ? [...prompt, ...output, ...ids.slice(at)] : [...ids];
}

/** The rows of one call, ready to go on; `release` ends the call, `wrote` is told what it wrote. */
export interface Prefilled {
  handle: CacheHandle | Session;
  rows: InputRows;
  wrote(output: readonly number[]): void;
  release(): void;
}

/** Makes the rows of `handle` those of a soft prompt and `ids`; the last one is computed with what comes next. */
async function fill(
  handle: CacheHandle | Session,
  prompt: PromptSource | null,
  ids: readonly number[],
  signal: AbortSignal,
): Promise<{ total: number; computed: number }> {
  const lead: CacheContent[] = prompt === null ? [] : [{ prompt }];
  const before = lead.length === 0 ? 0 : (await handle.match(...lead)).rows;
  const { rows: total, common } = await handle.match(...lead, ids);
  const kept = common < before ? 0 : common; // a soft prompt is appended whole
  if (kept < handle.rows) handle.truncate(kept);
  const missing: CacheContent[] = kept < before ? [...lead, ids] : [ids.slice(kept - before)];
  let computed = 1;
  for (const content of missing) {
    if (Array.isArray(content) && content.length === 0) continue;
    computed += (await handle.append(content, { signal })).rowsComputed;
  }
  return { total, computed };
}

/** Rejects as `append` of a handle, and with the abort. */
export async function prefill(
  place: Place,
  { prompt, ids }: { prompt: PromptSource | null; ids: readonly number[] },
  signal: AbortSignal,
): Promise<Prefilled> {
  const { model, salt } = place;
  const slot = await slotOf(place);
  const free = (await slot?.take(signal)) ?? (() => {});
  const handle = slot?.handle ?? model.cache.open(salt === undefined ? {} : { salt });
  /** Any number of times. */
  const release = () => {
    if (slot === null) handle.close();
    free();
  };
  try {
    const tokens = inWrittenTokens(ids, slot?.turn ?? null, model.tokenizer);
    const rows = { ...(await fill(handle, prompt, tokens, signal)), held: slot !== null };
    const wrote = (output: readonly number[]) => {
      if (slot !== null) slot.turn = { prompt: tokens, output };
    };
    return { handle, rows, wrote, release };
  } catch (error) {
    release();
    throw error;
  }
}
