// SPDX-License-Identifier: Apache-2.0
// The builder. Every call returns a new chain and checks the whole definition; types carry names as flat unions, so
// that `reads` and `own` accept only what was declared before and nobody else owns. The body of a group is built by a
// function that gets a builder which knows the names around it and returns it with the group's steps.

import type { OutputSchema } from "../cache/output-schema.js";
import type { SnapshotSource } from "../cache/snapshot/places.js";
import { ChainInvalidError, ClosedError, OptionInvalidError } from "../errors.js";
import { Model } from "../model/model.js";
import type { PromptSource } from "../model/prompt.js";
import type {
  Around,
  Fresh,
  GroupResult,
  InBranch,
  InRounds,
  Inside,
  ResultsOf,
  SiteOf,
  TopLevel,
  Typed,
} from "./chain-types.js";
import type { ChainDefinition } from "./definition.js";
import type { Explanation } from "./explain.js";
import { explainChain } from "./explain.js";
import { checkPlaces } from "./names.js";
import { checkLayout, checkName } from "./options.js";
import { planChain } from "./plan.js";
import { resumeRun, startRun } from "./run.js";
import type { Step } from "./steps/index.js";
import { stepKinds } from "./steps/index.js";
import type { AnyInputOptions } from "./steps/input.js";
import type {
  ChainOptions,
  ChainRun,
  ComputedInput,
  FanOutSource,
  GivenInput,
  JoinOptions,
  ResumedRun,
  ResumeOptions,
  RoundContext,
  RoundsOptions,
  RoundsResult,
  RunOptions,
  StageOptions,
  StageResult,
} from "./types.js";
import { withPrompts } from "./with-prompts.js";

interface Definition extends ChainDefinition {
  /** The group whose steps these are; absent for a chain. */
  group?: { name: string };
}

/**
 * `Shared`: inputs that may still be read or owned. `Stages`: stages. `Given`: inputs that `run` takes. `Inputs`: all
 * inputs, owned ones included. `Groups`: results of groups by name. `Nested`: names of the stages in groups, as events
 * say them. `Outer`: what stands around the steps, for the body of a group.
 */
export class Chain<
  Shared extends string = never,
  Stages extends string = never,
  Given extends string = never,
  Inputs extends string = never,
  Groups = unknown,
  Nested extends string = never,
  Outer extends Around = TopLevel,
> {
  readonly #definition: Definition;

  /** Use `defineChain`. */
  constructor(definition: Definition) {
    this.#definition = definition;
    if (definition.group !== undefined) return; // checked with the chain that the group becomes part of
    planChain(definition.steps);
    checkPlaces(definition.steps, definition.layout);
  }

  get model(): Model {
    return this.#definition.model;
  }

  /** Names of the inputs that `run` takes. */
  get inputs(): readonly Given[] {
    return this.#definition.steps.filter((step) => step.given).map((step) => step.name as Given);
  }

  /** Names of the stages, joins among them, that stand in no group. */
  get stages(): readonly Stages[] {
    return this.#definition.steps
      .filter((step) => step.settings !== undefined)
      .map((step) => step.name as Stages);
  }

  #with(step: Step): Definition {
    return { ...this.#definition, steps: [...this.#definition.steps, step] };
  }

  /** The steps that `body` adds to a builder. Throws CHAIN_INVALID when it returns something else. */
  #bodyOf(name: string, body: (inside: never) => unknown): readonly Step[] {
    const group = { name };
    const built: unknown = body(new Chain({ ...this.#definition, steps: [], group }) as never);
    if (built instanceof Chain && #definition in built && built.#definition.group === group) {
      return built.#definition.steps;
    }
    throw new ChainInvalidError(
      `The function for the steps of "${name}" does not return the builder that it was given, with steps added.`,
      { facts: { step: name } },
    );
  }

  /** Declares an input. With `from` the program computes it after every stage declared before has ended. */
  input<const Name extends string>(
    name: Name & Fresh<Name, Inputs | Stages | keyof Groups | keyof Outer["results"]>,
    options: ComputedInput<Shared, ResultsOf<Inputs, Stages, Groups, Outer>, Outer["context"]>,
  ): Chain<Shared | Name, Stages, Given, Inputs | Name, Groups, Nested, Outer>;
  input<const Name extends string>(
    name: Name & Fresh<Name, Inputs | Stages | keyof Groups | keyof Outer["results"]>,
    options?: GivenInput<Shared>,
  ): Chain<Shared | Name, Stages, Given | Name, Inputs | Name, Groups, Nested, Outer>;
  input(name: string, options: unknown = {}): unknown {
    return new Chain(this.#with(stepKinds.input(checkName(name), options as AnyInputOptions)));
  }

  /** Declares a stage. Throws CHAIN_INVALID or OPTION_INVALID naming stage, value and what is available. */
  stage<
    const Name extends string,
    const Own extends Shared = never,
    const Schema extends OutputSchema | undefined = undefined,
  >(
    name: Name & Fresh<Name, Inputs | Stages | keyof Groups | keyof Outer["results"]>,
    options: StageOptions<
      Exclude<Shared, Own> | Stages | Extract<keyof Groups, string> | Outer["outputs"],
      Own,
      Schema
    > = {},
  ): Chain<Exclude<Shared, Own>, Stages | Name, Given, Inputs, Groups & Typed<Name, Schema>, Nested, Outer> {
    return new Chain(this.#with(stepKinds.stage(checkName(name), options)));
  }

  /**
   * Declares steps that run over and over, up to `max` times or until a condition holds. Every output reads what was
   * shared before it, in order of turns: earlier rounds and this one. Later steps read all rounds, by default or under
   * `name`; inside, `name` stands for the rounds before.
   */
  rounds<
    const Name extends string,
    S extends string,
    St extends string,
    I extends string,
    B,
    N extends string,
  >(
    name: Name & Fresh<Name, Inputs | Stages | keyof Groups | keyof Outer["results"]>,
    body: (
      round: Chain<
        Shared,
        never,
        never,
        never,
        unknown,
        never,
        InRounds<Name, Inputs, Stages, Groups, Outer>
      >,
    ) => Chain<S, St, never, I, B, N, InRounds<Name, Inputs, Stages, Groups, Outer>>,
    options: RoundsOptions<
      ResultsOf<Inputs, Stages, Groups, Outer> &
        GroupResult<I, St, B> &
        Record<Name, Pick<RoundsResult<GroupResult<I, St, B>>, "rounds">>,
      Outer["context"] & RoundContext
    >,
  ): Chain<
    Extract<Shared, S>,
    Stages,
    Given,
    Inputs,
    Groups & Record<Name, RoundsResult<GroupResult<I, St, B>>>,
    Nested | `${Name}[${number}].${St | N}`,
    Outer
  > {
    const steps = this.#bodyOf(checkName(name), body);
    return new Chain(this.#with(stepKinds.rounds(name, { ...(options as object), body: steps } as never)));
  }

  /**
   * Declares steps that run once or not at all. They stand where they would stand without the condition; when it does
   * not hold, nobody reads them and their result is undefined.
   */
  when<const Name extends string, S extends string, St extends string, I extends string, B, N extends string>(
    name: Name & Fresh<Name, Inputs | Stages | keyof Groups | keyof Outer["results"]>,
    condition: (
      results: ResultsOf<Inputs, Stages, Groups, Outer>,
      context: Outer["context"],
    ) => boolean | Promise<boolean>,
    body: (
      inside: Chain<Shared, never, never, never, unknown, never, Inside<Inputs, Stages, Groups, Outer>>,
    ) => Chain<S, St, never, I, B, N, Inside<Inputs, Stages, Groups, Outer>>,
  ): Chain<
    Extract<Shared, S>,
    Stages,
    Given,
    Inputs,
    Groups & Record<Name, GroupResult<I, St, B> | undefined>,
    Nested | `${Name}.${St | N}`,
    Outer
  > {
    const steps = this.#bodyOf(checkName(name), body);
    return new Chain(this.#with(stepKinds.when(name, { condition: condition as never, body: steps })));
  }

  /**
   * Declares steps that run for each item, or `samples` times, at once and unseen by each other; what stands before
   * them is computed once for all. Over items, the one input inside without `from` takes the item; duplicates are
   * branches of their own. Of samples, number i adds i to the seeds of its stages; without a temperature all are the
   * same. Later steps read the outputs of all branches, by default or under `name`. Needs layout `contiguous`, the
   * default: on the one line of `concatenated` branches would stand behind each other.
   */
  fanOut<
    const Name extends string,
    S extends string,
    St extends string,
    G extends string,
    I extends string,
    B,
    N extends string,
  >(
    name: Name & Fresh<Name, Inputs | Stages | keyof Groups | keyof Outer["results"]>,
    source: FanOutSource<ResultsOf<Inputs, Stages, Groups, Outer>, Outer["context"]>,
    body: (
      branch: Chain<Shared, never, never, never, unknown, never, InBranch<Inputs, Stages, Groups, Outer>>,
    ) => Chain<S, St, G, I, B, N, InBranch<Inputs, Stages, Groups, Outer>>,
  ): Chain<
    Extract<Shared, S>,
    Stages,
    Given,
    Inputs,
    Groups & Record<Name, readonly GroupResult<I, St, B>[]>,
    Nested | `${Name}[${number}].${St | N}`,
    Outer
  > {
    const steps = this.#bodyOf(checkName(name), body);
    return new Chain(this.#with(stepKinds.fanOut(name, { ...(source as object), body: steps })));
  }

  /**
   * Declares a stage that joins what it names in `reads`, the branches of a fan-out end to end. The run fails when
   * there is nothing to join.
   */
  join<
    const Name extends string,
    const Own extends Shared = never,
    const Schema extends OutputSchema | undefined = undefined,
  >(
    name: Name & Fresh<Name, Inputs | Stages | keyof Groups | keyof Outer["results"]>,
    options: JoinOptions<
      Exclude<Shared, Own> | Stages | Extract<keyof Groups, string> | Outer["outputs"],
      Own,
      Schema
    >,
  ): Chain<Exclude<Shared, Own>, Stages | Name, Given, Inputs, Groups & Typed<Name, Schema>, Nested, Outer> {
    return new Chain(this.#with(stepKinds.join(checkName(name), options)));
  }

  /**
   * Runs another chain as a step. Each of its inputs is bound to an input or stage declared before, whose KV it then
   * reads where it is, or to a function, whose text is computed as if the chain ran alone. Later steps read its
   * outputs, by default or under `name`.
   */
  use<
    const Name extends string,
    S extends string,
    St extends string,
    G extends string,
    I extends string,
    B,
    N extends string,
  >(
    name: Name & Fresh<Name, Inputs | Stages | keyof Groups | keyof Outer["results"]>,
    chain: Chain<S, St, G, I, B, N>,
    inputs: Readonly<
      Record<
        NoInfer<G>,
        | Shared
        | Stages
        | Outer["outputs"]
        | ((
            results: ResultsOf<Inputs, Stages, Groups, Outer>,
            context: Outer["context"],
          ) => string | Promise<string>)
      >
    >,
  ): Chain<
    Shared,
    Stages,
    Given,
    Inputs,
    Groups & Record<Name, Record<St, StageResult> & B>,
    Nested | `${Name}.${St | N}`,
    Outer
  > {
    const body = this.#stepsOf(checkName(name), chain);
    return new Chain(this.#with(stepKinds.use(name, { body, inputs: inputs as never })));
  }

  /** Throws OPTION_INVALID for what is no chain over the same model in the same layout. */
  #stepsOf(name: string, chain: unknown): readonly Step[] {
    const { model, layout } = this.#definition;
    if (typeof chain === "object" && chain !== null && #definition in chain) {
      const used = chain.#whole();
      if (used.model === model && used.layout === layout) return used.steps;
    }
    throw new OptionInvalidError(
      `"${name}" uses what is not a chain over the same model in layout "${layout}". Define it with both.`,
      { facts: { step: name, option: "chain", value: String(chain) } },
    );
  }

  /**
   * The same chain under other prompts, by stage; those in groups behind the names of the groups ("debate.reason").
   * Throws CHAIN_INVALID for a name that is no stage.
   */
  withPrompts(
    prompts: Readonly<Partial<Record<Stages | SiteOf<Nested>, PromptSource>>>,
  ): Chain<Shared, Stages, Given, Inputs, Groups, Nested, Outer> {
    const { steps } = this.#whole();
    return new Chain({ ...this.#definition, steps: withPrompts(steps, prompts) });
  }

  /** The chain's segments with frames, views and shifts; with numbers for every input whose value is given. */
  async explain(inputs: Partial<Record<Inputs, string>> = {}): Promise<Explanation> {
    return explainChain(this.#whole(), inputs);
  }

  /**
   * Starts a run: iterate it for events, await `result`. All failures arrive there. Runs of one model share its
   * engine and its batches: start as many as the KV budget holds, or let `maxConcurrentRuns` of loadModel decide.
   */
  run(
    inputs: Readonly<Record<Given, string>>,
    options: RunOptions = {},
  ): ChainRun<Stages | Nested, Record<Stages, StageResult> & Groups> {
    return startRun<Stages | Nested, Record<Stages, StageResult> & Groups>(
      { ...this.#whole(), inputs },
      options,
    );
  }

  /**
   * Goes on from what `snapshot` of a run of this chain has saved, in this process or another: stages that had ended do
   * not run again, a stage in the middle of its output goes on behind it, the program's functions are asked for nothing
   * that they have answered. All failures arrive as those of `run`, KV_MISMATCH for a snapshot of another chain, prompt or
   * model and SNAPSHOT_INVALID for a damaged one among them.
   */
  resume(
    from: SnapshotSource,
    options: ResumeOptions = {},
  ): ResumedRun<Stages | Nested, Record<Stages, StageResult> & Groups> {
    return resumeRun(this.#whole(), from, options);
  }

  /** For code of this package. Throws CHAIN_INVALID for the builder of a group's steps. */
  get definition(): ChainDefinition {
    return this.#whole();
  }

  #whole(): Definition {
    const { group } = this.#definition;
    if (group === undefined) return this.#definition;
    throw new ChainInvalidError(
      `These are the steps inside of "${group.name}", not a chain. Run the chain that has them.`,
      { facts: { step: group.name } },
    );
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
