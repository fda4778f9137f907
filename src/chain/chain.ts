// SPDX-License-Identifier: Apache-2.0
// The builder. Every call returns a new chain and checks the whole definition; types carry names as flat unions, so
// that `reads` and `own` accept only what was declared before and nobody else owns.

import { ClosedError, OptionInvalidError } from "../errors.js";
import { Model } from "../model/model.js";
import type { Explanation } from "./explain.js";
import { explainChain } from "./explain.js";
import { checkLayout, checkName } from "./options.js";
import type { Plan } from "./plan.js";
import { planChain } from "./plan.js";
import { startRun } from "./run.js";
import type { Step } from "./steps/index.js";
import { stepKinds } from "./steps/index.js";
import type { AnyInputOptions } from "./steps/input.js";
import type {
  ChainOptions,
  ChainRun,
  ComputedInput,
  GivenInput,
  InputResult,
  Layout,
  RunOptions,
  StageOptions,
  StageResult,
} from "./types.js";

/** Rejects a literal name that is declared already; names known only at run time are checked then. */
type Fresh<Name extends string, Taken extends string> = string extends Taken
  ? unknown
  : Name extends Taken
    ? never
    : unknown;

/** What a `from` function gets: everything declared before it. */
type ResultsOf<Inputs extends string, Stages extends string> = Record<Inputs, InputResult> &
  Record<Stages, StageResult>;

interface Definition {
  model: Model;
  layout: Layout;
  steps: readonly Step[];
}

/**
 * `Shared`: inputs that may still be read or owned. `Stages`: outputs. `Given`: inputs that `run` takes.
 * `Inputs`: all inputs, owned ones included.
 */
export class Chain<
  Shared extends string = never,
  Stages extends string = never,
  Given extends string = never,
  Inputs extends string = never,
> {
  readonly #definition: Definition;
  readonly #plan: Plan;

  /** Use `defineChain`. */
  constructor(definition: Definition) {
    this.#definition = definition;
    this.#plan = planChain(definition.steps);
  }

  get model(): Model {
    return this.#definition.model;
  }

  /** Names of the inputs that `run` takes. */
  get inputs(): readonly Given[] {
    return this.#definition.steps.filter((step) => step.given).map((step) => step.name as Given);
  }

  #with(step: Step): Definition {
    return { ...this.#definition, steps: [...this.#definition.steps, step] };
  }

  /** Declares an input. With `from` the program computes it after every stage declared before has ended. */
  input<const Name extends string>(
    name: Name & Fresh<Name, Inputs | Stages>,
    options: ComputedInput<Shared, ResultsOf<Inputs, Stages>>,
  ): Chain<Shared | Name, Stages, Given, Inputs | Name>;
  input<const Name extends string>(
    name: Name & Fresh<Name, Inputs | Stages>,
    options?: GivenInput<Shared>,
  ): Chain<Shared | Name, Stages, Given | Name, Inputs | Name>;
  input(name: string, options: unknown = {}): unknown {
    return new Chain(this.#with(stepKinds.input(checkName(name), options as AnyInputOptions)));
  }

  /** Declares a stage. Throws CHAIN_INVALID or OPTION_INVALID naming stage, value and what is available. */
  stage<const Name extends string, const Own extends Shared = never>(
    name: Name & Fresh<Name, Inputs | Stages>,
    options: StageOptions<Exclude<Shared, Own> | Stages, Own> = {},
  ): Chain<Exclude<Shared, Own>, Stages | Name, Given, Inputs> {
    return new Chain(this.#with(stepKinds.stage(checkName(name), options)));
  }

  /** The chain's segments with frames, views and shifts; with numbers for every input whose value is given. */
  explain(inputs: Partial<Record<Inputs, string>> = {}): Promise<Explanation> {
    return explainChain(this.#definition, this.#plan, inputs);
  }

  /**
   * Starts a run: iterate it for events, await `result`. All failures arrive there. Runs of one model share its
   * engine: start as many as the KV budget holds.
   */
  run(inputs: Readonly<Record<Given, string>>, options: RunOptions = {}): ChainRun<Stages> {
    return startRun<Stages>({ ...this.#definition, plan: this.#plan, inputs }, options);
  }
}

/** An empty chain over `model`. Throws OPTION_INVALID for another layout than the known ones; CLOSED. */
export function defineChain(model: Model, options: ChainOptions = {}): Chain {
  if (!Model.isInstance(model)) {
    throw new OptionInvalidError("defineChain needs a model that loadModel returned. Await it first.", {
      facts: { option: "model", value: String(model) },
    });
  }
  if (model.closed) {
    throw new ClosedError(`Model "${model.name}" is closed. Load it again before defining a chain.`, {
      facts: { model: model.name },
    });
  }
  return new Chain({ model, layout: checkLayout(options), steps: [] });
}
