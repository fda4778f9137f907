// SPDX-License-Identifier: Apache-2.0
// What the steps of one list see while they run: the results so far, by the names they were declared under, and the
// lane they run in. A group runs its body in a scope of its own, once per instance.

import { ChainInvalidError, InternalError, StepFailedError } from "../errors.js";
import type { Lane } from "./lane.js";
import type { PlannedSegment } from "./plan.js";
import type { RunState } from "./run-state.js";
import type { Step } from "./steps/step.js";

/** What the program's own code learns besides results: the round, the item, the place in the fan-out. */
export type CallFacts = Readonly<Record<string, string | number>>;

export interface ScopeInit {
  /** In front of the names of its steps: "debate[1].". */
  prefix: string;
  /** The same without numbers. */
  site: string;
  lane: Lane;
  facts?: CallFacts;
  /** Values of inputs that are given, by name. */
  given?: Readonly<Record<string, string>>;
  /** Texts of inputs whose segments other steps have written, by name. */
  aliases?: Readonly<Record<string, string>>;
  /** Added to the seeds of stages. */
  seed?: number;
  /** What callbacks see of the steps around: null, nothing. */
  outer: Scope | null;
  /** Results that are known besides. */
  also?: Readonly<Record<string, unknown>>;
}

export class Scope {
  readonly run: RunState;
  readonly lane: Lane;
  readonly seed: number;
  readonly #init: ScopeInit;
  readonly #inputs = new Map<string, unknown>();
  readonly #outputs = new Map<string, unknown>();

  constructor(run: RunState, init: ScopeInit) {
    this.run = run;
    this.lane = init.lane;
    this.seed = init.seed ?? 0;
    this.#init = init;
    for (const [name, text] of Object.entries(init.aliases ?? {})) this.#inputs.set(name, { text });
  }

  /** The scope of a chain's own steps. */
  static root(run: RunState, given: Readonly<Record<string, string>>): Scope {
    return new Scope(run, { prefix: "", site: "", lane: run.lane, given, outer: null });
  }

  /** Name of a step among those of the whole chain. */
  nameOf(step: string): string {
    return this.#init.prefix + step;
  }

  siteOf(step: string): string {
    return this.#init.site + step;
  }

  /** A scope for one instance of the group `name`, which sees all that this one sees. */
  inner(name: string, label: string, init: Partial<ScopeInit> = {}): Scope {
    return new Scope(this.run, {
      prefix: `${this.nameOf(name)}${label}.`,
      site: `${this.siteOf(name)}.`,
      lane: this.lane,
      seed: this.seed,
      outer: this,
      ...init,
      facts: { ...this.#init.facts, ...init.facts },
    });
  }

  /** Executes the steps one after another. */
  async execute(steps: readonly Step[]): Promise<void> {
    for (const step of steps) {
      this.lane.signal.throwIfAborted();
      if (!Object.hasOwn(this.#init.aliases ?? {}, step.name)) await step.execute(this);
    }
  }

  // ---- results

  /** Throws CHAIN_INVALID for a value that is no text or empty. */
  setInput(name: string, text: unknown): void {
    this.run.setText(this.nameOf(name), text);
    this.#inputs.set(name, { text });
  }

  set(name: string, result: unknown): void {
    this.#outputs.set(name, result);
  }

  givenText(name: string): string {
    const text = this.#init.given?.[name];
    if (text === undefined) throw new InternalError(`Input "${this.nameOf(name)}" was not given.`);
    return text;
  }

  /** Everything known so far, by name, steps around included: what the program's own code gets. */
  results(): Record<string, unknown> {
    return { ...this.#init.outer?.results(), ...this.#init.also, ...this.declared() };
  }

  /** Inputs and results of this scope's own steps. */
  declared(): Record<string, unknown> {
    return Object.fromEntries([...this.#inputs, ...this.#outputs]);
  }

  /** Results of this scope's own stages and groups. */
  outputs(): Record<string, unknown> {
    return Object.fromEntries(this.#outputs);
  }

  /** The segment of a step of this scope. */
  segmentOf(name: string): PlannedSegment {
    return this.run.segment(this.nameOf(name));
  }

  // ---- the program's own code

  /**
   * Calls `work` with the results so far; `name` and `what` say in messages whose it is. While a promise is awaited, rows that earlier stages still owe are
   * computed; `eager`: in any case. Throws STEP_FAILED with the cause, or the signal's reason.
   */
  async call(
    name: string,
    what: string,
    work: (results: never, context: never) => unknown,
    { eager = false }: { eager?: boolean } = {},
  ): Promise<unknown> {
    const { signal } = this.lane;
    const { record } = this.run;
    const question = `${what} ${name} in ${this.#init.prefix}`; // conditions of rounds are asked in every round
    const known = record.answer(question);
    if (known !== null) return known.value;
    const failed = (cause: unknown) => {
      if (signal.aborted) return signal.reason;
      const reason = cause instanceof Error ? cause.message : String(cause);
      return new StepFailedError(
        `${what} "${name}" failed: ${reason}. Mend it, or let it return what says so.`,
        {
          facts: { step: name },
          cause,
        },
      );
    };
    let value: unknown;
    try {
      value = work(this.results() as never, { signal, ...this.#init.facts } as never);
    } catch (cause) {
      throw failed(cause);
    }
    if (!eager && !(value instanceof Promise)) {
      record.setAnswer(question, value);
      return value;
    }
    const wait = async () => {
      try {
        const answer = await value;
        record.setAnswer(question, answer);
        return answer;
      } catch (cause) {
        throw failed(cause);
      }
    };
    const [awaited] = await Promise.all([this.lane.race(wait()), this.lane.flush()]);
    return awaited;
  }

  /** As `call`, for a question: throws CHAIN_INVALID for an answer that is neither true nor false. */
  async ask(
    name: string,
    what: string,
    work: (results: never, context: never) => boolean | Promise<boolean>,
  ): Promise<boolean> {
    const answer = await this.call(name, what, work);
    if (typeof answer === "boolean") return answer;
    throw new ChainInvalidError(
      `${what} "${name}" returned ${String(answer)}, which is neither true nor false. Return one of them.`,
      {
        facts: { step: name, value: String(answer) },
      },
    );
  }
}
