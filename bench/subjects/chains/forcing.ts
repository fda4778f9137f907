// SPDX-License-Identifier: Apache-2.0
// Gives the outputs of chains to the engine. The chains run through the public API; on their way to the engine the jobs
// that generate get the tokens to take (`forced`, an option of the seam that nothing public leads to). A job is known
// by the seed of its stage, which greedy sampling does not use.
import type { Turn } from "../../chains/forced-chain.js";

export type Package = typeof import("../../../src/index.js");
export type Model = Awaited<ReturnType<Package["loadModel"]>>;

interface Timing {
  /** ms of performance.now(): first token here, job done. */
  first: number;
  end: number;
}

export class Forcing {
  readonly #turns = new Map<number, Turn>();
  readonly #timings = new Map<number, Timing>();

  constructor(model: Model) {
    const run = model.engine.run.bind(model.engine);
    model.engine.run = async (job, listeners = {}) => {
      const { generate } = job;
      const turn = generate === undefined ? undefined : this.#turns.get(generate.sampler.seed);
      if (generate === undefined || turn === undefined) return run(job, listeners);
      const closing = turn.closes ? generate.closers.slice(0, 1) : [];
      const forced = Int32Array.from([...turn.tokens, ...closing]);
      const timing = { first: 0, end: 0 };
      this.#timings.set(generate.sampler.seed, timing);
      const outcome = await run(
        { ...job, generate: { ...generate, forced } },
        {
          ...listeners,
          onTokens: (ids, logprobs) => {
            timing.first ||= performance.now();
            listeners.onTokens?.(ids, logprobs);
          },
        },
      );
      timing.end = performance.now();
      return outcome;
    };
  }

  /** The job with this seed will write the turn's tokens. */
  give(seed: number, turn: Turn): void {
    this.#turns.set(seed, turn);
  }

  /** Milliseconds from the end of one job to the first token of another. */
  between(seed: number, later: number): number {
    const [from, to] = [this.#timings.get(seed), this.#timings.get(later)];
    if (from === undefined || to === undefined) throw new Error("a turn has not run");
    return to.first - from.end;
  }
}

/** Seed of the turn at `index` in the run numbered `run`. */
export function seedOf(run: number, index: number): number {
  return run * 64 + index + 1;
}

/** Most tokens that the turn's job samples: the closing token is one of them. */
export function lengthOf(turn: Turn): number {
  return turn.tokens.length + (turn.closes ? 1 : 0);
}
