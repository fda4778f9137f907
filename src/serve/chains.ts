// SPDX-License-Identifier: Apache-2.0
// The chains that are served. Each comes as a chain, or as something that loads it from files; then it is loaded anew when
// they change. A chain holds its prompts in memory once they were read, and they are read here, before any request, so a
// request that got hold of a chain sees all of the old or all of the new, however long it runs.

import type { Step } from "../chain/steps/step.js";
import type { Chain } from "../index.js";
import { OptionInvalidError } from "../index.js";
import { ServeError } from "./errors.js";
import { lookUp, namePattern } from "./names.js";
import type { NamedPrompt, Tell } from "./prompts.js";
import { filesOfPrompt } from "./prompts.js";
import type { Loaded } from "./watched.js";
import { fingerprint, Watched } from "./watched.js";

export type AnyChain = Chain<string, string, string, string>;

/** Whatever `defineChain` has built, or a document. */
export type ServableChain = Pick<AnyChain, "definition">;

/** A chain that comes from files. */
export interface ChainSource {
  /** The chain as the files are now, and their absolute paths. Folders of prompts need not be named. */
  load(): Promise<{ chain: ServableChain; files: readonly string[] }>;
}

/** One version of a chain, whole. */
export class ServedChain {
  readonly name: string;
  readonly chain: AnyChain;
  /** Names of inputs whose values a request gives. */
  readonly inputs: readonly string[];
  /** The stage whose output is the chain's answer; null for a chain that does not end with a stage. */
  readonly answer: string | null;
  /** The same chain under named prompts, by what was asked for; the least recently used first. */
  readonly #variants = new Map<string, { folders: string; chain: AnyChain }>();

  constructor(name: string, chain: AnyChain) {
    const { steps } = chain.definition;
    const last = steps.at(-1);
    this.name = name;
    this.chain = chain;
    this.inputs = steps.filter((step) => step.given).map((step) => step.name);
    this.answer = last?.settings !== undefined && last.body === undefined ? last.name : null;
  }

  /** The chain under other prompts, by stage. Throws CHAIN_INVALID for a name that is no stage. */
  async under(prompts: ReadonlyMap<string, NamedPrompt>): Promise<AnyChain> {
    if (prompts.size === 0) return this.chain;
    const key = JSON.stringify([...prompts].map(([stage, { name }]) => [stage, name]));
    const files = [...prompts.values()].flatMap(({ folder }) => filesOfPrompt(folder));
    const folders = await fingerprint(files);
    const found = this.#variants.get(key);
    if (found?.folders === folders) return found.chain;
    const chain = this.chain.withPrompts(
      Object.fromEntries([...prompts].map(([stage, { folder }]) => [stage, folder])),
    );
    await loadPrompts(chain);
    if ((await fingerprint(files)) !== folders) {
      throw new ServeError(
        503,
        "prompt_changing",
        "A prompt is being replaced just now. Try again in a moment.",
        {
          param: "prompt",
          headers: { "retry-after": "1" },
        },
      );
    }
    this.#variants.delete(key);
    this.#variants.set(key, { folders, chain });
    const [oldest] = this.#variants.keys();
    if (this.#variants.size > mostVariants && oldest !== undefined) this.#variants.delete(oldest);
    return chain;
  }
}

const mostVariants = 64;

function* stepsOf(steps: readonly Step[]): Generator<Step, void, undefined> {
  for (const step of steps) {
    yield step;
    if (step.body !== undefined) yield* stepsOf(step.body);
  }
}

/** Reads all prompts of a chain, which keeps them. */
async function loadPrompts({ definition }: AnyChain): Promise<void> {
  for (const step of stepsOf(definition.steps)) await step.loadPrompt?.(definition.model);
}

function promptFilesOf({ definition }: AnyChain): string[] {
  return [...stepsOf(definition.steps)].flatMap(({ settings }) =>
    typeof settings?.prompt === "string" ? filesOfPrompt(settings.prompt) : [],
  );
}

async function read(name: string, source: ChainSource): Promise<Loaded<ServedChain>> {
  const { files, ...loaded } = await source.load();
  const chain = loaded.chain as AnyChain; // its names are of no interest to types here
  await loadPrompts(chain);
  return { value: new ServedChain(name, chain), files: [...files, ...promptFilesOf(chain)] };
}

export class Chains {
  readonly #watched: ReadonlyMap<string, Watched<ServedChain>>;
  readonly #tell: Tell;

  private constructor(watched: ReadonlyMap<string, Watched<ServedChain>>, tell: Tell) {
    this.#watched = watched;
    this.#tell = tell;
  }

  /** Throws OPTION_INVALID for a name that cannot be one, and what the chains' sources throw. */
  static async open(
    chains: Readonly<Record<string, ServableChain | ChainSource>>,
    tell: Tell,
  ): Promise<Chains> {
    const watched = new Map<string, Watched<ServedChain>>();
    for (const [name, given] of Object.entries(chains)) {
      if (!new RegExp(namePattern).test(name)) {
        throw new OptionInvalidError(
          `A chain cannot be served as ${JSON.stringify(name)}. Give a name that begins with a letter or a digit and has ` +
            "letters, digits and . _ : @ - in it.",
          { facts: { option: "chains", value: name } },
        );
      }
      const source: ChainSource =
        "load" in given ? given : { load: async () => ({ chain: given, files: [] }) };
      watched.set(name, await Watched.open(() => read(name, source)));
    }
    return new Chains(watched, tell);
  }

  get names(): readonly string[] {
    return [...this.#watched.keys()];
  }

  /** The version of now. Throws ServeError 404. `name`: checked. */
  get(name: string, param: string): ServedChain {
    return lookUp(this.#watched, "chain", name, param).value;
  }

  /** Looks for what has changed; see Watched.look. */
  async look(now = false): Promise<void> {
    for (const [name, watched] of this.#watched) {
      const look = await watched.look(
        (error) => this.#tell("broken", `chain "${name}" stays as it was`, error),
        now,
      );
      if (look === "replaced") this.#tell("replaced", `chain "${name}" was loaded again`);
    }
  }
}
