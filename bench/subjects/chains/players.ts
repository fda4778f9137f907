// SPDX-License-Identifier: Apache-2.0
// Three ways of our own engine to run the same chain, all through the public API.
//
// shared: the product. A stage reads what earlier stages and inputs have left in the cache. The turns of rounds stand
//   as stages one after another, which is the plan that rounds make.
// recomputed: what a chain of prompt-tuned roles does that hands text on. Every turn reads its whole visible text
//   anew, behind its own prompt (as inputs of its own); branches are so many calls. What it reuses: the KV of each
//   role's prompt, which stands in front and is computed once per loaded model, as in the shared chain. Nothing else:
//   text that was read behind another prompt has other KV.
// prefixed: recomputed, with a prefix cache per role. A role that comes back within a chain does not read again what it
//   has read or written before; branches are forks behind the trunk. Handles compute the last row of what was appended
//   together with what follows, so each turn has one forward of one row more.
import type { ForcedChain, Turn } from "../../chains/forced-chain.js";
import { checkWritten, promptRows, tokensOf, visiblePieces } from "../../chains/forced-chain.js";
import type { Forcing, Model, Package } from "./forcing.js";
import { lengthOf, seedOf } from "./forcing.js";

export interface Player {
  /** Turns one after another. `run`: a number of its own for every call. */
  line(chain: ForcedChain, run: number): Promise<void>;
  /** Turns as branches. */
  branches(chain: ForcedChain, run: number): Promise<void>;
}

export interface Stage {
  library: Package;
  model: Model;
  forcing: Forcing;
}

/** The builder without its types, which know names that stand in the program only. */
interface AnyChain {
  input(name: string): AnyChain;
  stage(name: string, options: object): AnyChain;
  fanOut(name: string, source: { samples: number }, body: (branch: AnyChain) => AnyChain): AnyChain;
  run(inputs: Record<string, string>): { result: Promise<Record<string, unknown>> };
}
interface Written {
  tokens: readonly number[];
}
type Handle = ReturnType<Model["cache"]["open"]>;

/** Random rows, the same for a role in every process. Speed does not depend on their values. */
export function promptOf(role: string, hidden: number): { rows: Float32Array; count: number } {
  let state = [...role].reduce((sum, char) => Math.imul(sum, 31) + char.charCodeAt(0), 7) >>> 0;
  const rows = Float32Array.from({ length: promptRows * hidden }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32 - 0.5) * 0.4;
  });
  return { rows, count: promptRows };
}

function prompts({ model }: Stage): (role: string) => ReturnType<typeof promptOf> {
  const known = new Map<string, ReturnType<typeof promptOf>>();
  return (role) => {
    const found = known.get(role) ?? promptOf(role, model.info.hidden);
    known.set(role, found);
    return found;
  };
}

function emptyChain({ library, model }: Stage): AnyChain {
  return library.defineChain(model) as unknown as AnyChain;
}

function textsOf(pieces: readonly { name: string; text: string }[]): Record<string, string> {
  return Object.fromEntries(pieces.map(({ name, text }) => [name, text]));
}

export function sharedPlayer(stage: Stage): Player {
  const promptFor = prompts(stage);
  const optionsOf = (turn: Turn, seed: number) => {
    stage.forcing.give(seed, turn);
    const { reads, own } = turn;
    return { prompt: promptFor(turn.role), reads, own, maxTokens: lengthOf(turn), seed };
  };
  const withInputs = ({ inputs }: ForcedChain) =>
    inputs.reduce((chain, { name }) => chain.input(name), emptyChain(stage));
  return {
    async line(chain, run) {
      const defined = chain.turns.reduce(
        (built, turn, i) => built.stage(turn.name, optionsOf(turn, seedOf(run, i))),
        withInputs(chain),
      );
      const results = await defined.run(textsOf(chain.inputs)).result;
      for (const turn of chain.turns) checkWritten(turn, (results[turn.name] as Written).tokens);
    },
    async branches(chain, run) {
      const [first] = chain.turns;
      if (first === undefined) throw new Error("no branches");
      const options = {
        ...optionsOf(first, seedOf(run, 0)),
        maxTokens: Math.max(...chain.turns.map(lengthOf)),
      };
      // sample i adds i to the seed
      chain.turns.forEach((turn, i) => {
        stage.forcing.give(seedOf(run, i), turn);
      });
      const defined = withInputs(chain).fanOut("all", { samples: chain.turns.length }, (branch) =>
        branch.stage("one", options),
      );
      const { all } = await defined.run(textsOf(chain.inputs)).result;
      const branches = all as Partial<Record<string, Written>>[];
      chain.turns.forEach((turn, i) => {
        checkWritten(turn, branches[i]?.one?.tokens ?? []);
      });
    },
  };
}

export function recomputedPlayer(stage: Stage): Player {
  const promptFor = prompts(stage);
  const call = async (chain: ForcedChain, turn: Turn, seed: number) => {
    const visible = visiblePieces(chain, turn);
    const own = visible.map(({ name }) => name);
    stage.forcing.give(seed, turn);
    const options = { prompt: promptFor(turn.role), reads: [], own, maxTokens: lengthOf(turn), seed };
    const defined = own.reduce((built, name) => built.input(name), emptyChain(stage)).stage("one", options);
    const { one } = await defined.run(textsOf(visible)).result;
    checkWritten(turn, (one as Written).tokens);
  };
  return {
    async line(chain, run) {
      for (const [i, turn] of chain.turns.entries()) await call(chain, turn, seedOf(run, i));
    },
    async branches(chain, run) {
      await Promise.all(chain.turns.map((turn, i) => call(chain, turn, seedOf(run, i))));
    },
  };
}

export function prefixedPlayer(stage: Stage): Player {
  const { model, forcing } = stage;
  const promptFor = prompts(stage);
  const behindPrompt = new Map<string, Promise<Handle>>();
  const open = async (role: string): Promise<Handle> => {
    let opening = behindPrompt.get(role);
    if (opening === undefined) {
      const handle = model.cache.open();
      opening = handle.append(promptFor(role)).then(() => handle);
      behindPrompt.set(role, opening);
    }
    return (await opening).fork();
  };
  const write = async (handle: Handle, turn: Turn, seed: number) => {
    forcing.give(seed, turn);
    checkWritten(turn, (await handle.generate({ maxTokens: lengthOf(turn), seed }).result).tokens);
  };
  return {
    async line(chain, run) {
      const roles = new Map<string, { handle: Handle; rows: number }>();
      for (const [i, turn] of chain.turns.entries()) {
        const role = roles.get(turn.role) ?? { handle: await open(turn.role), rows: 0 };
        roles.set(turn.role, role);
        const visible = tokensOf(visiblePieces(chain, turn));
        await role.handle.append(visible.slice(role.rows));
        await write(role.handle, turn, seedOf(run, i));
        role.rows = visible.length + turn.tokens.length;
      }
      for (const { handle } of roles.values()) handle.close();
    },
    async branches(chain, run) {
      const [first] = chain.turns;
      if (first === undefined) throw new Error("no branches");
      const trunk = await open(first.role);
      await trunk.append(tokensOf(visiblePieces(chain, first)));
      const handles = chain.turns.map(() => trunk.fork());
      await Promise.all(chain.turns.map((turn, i) => write(handles[i] as Handle, turn, seedOf(run, i))));
      for (const handle of [trunk, ...handles]) handle.close();
    },
  };
}
