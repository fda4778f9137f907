// SPDX-License-Identifier: Apache-2.0
// Runs of chains for requests: the version that is served when the request comes, under the prompts that it asks for, in
// its turn.

import type { ChainEvent, ChainRun, StageUsage } from "../index.js";
import type { AnyChain } from "./chains.js";
import type { ServeContext } from "./context.js";
import type { Tenant } from "./keys.js";
import type { Usage } from "./openai/usage.js";
import { usageOfStages } from "./openai/usage.js";

export interface ChainCall {
  chain: AnyChain;
  inputs: Readonly<Record<string, string>>;
  tenant: Tenant;
  signal: AbortSignal;
}

/** A run that has begun: whatever can be wrong with its inputs is not. */
export interface StartedRun {
  /** All of its events, for one reader. */
  events: AsyncIterable<ChainEvent>;
  result: Promise<Readonly<Record<string, unknown>>>;
  /** Of the stages whose ends were read. */
  usage(): Usage;
}

type Events = AsyncIterator<ChainEvent, undefined>;

function startedRun(
  run: ChainRun<string>,
  first: IteratorResult<ChainEvent, undefined>,
  rest: Events,
): StartedRun {
  const usages: StageUsage[] = [];
  const events = async function* () {
    try {
      for (let next = first; next.done !== true; next = await rest.next()) {
        if (next.value.type === "stage-end") usages.push(next.value.usage);
        yield next.value;
      }
    } finally {
      await rest.return?.(); // a reader that leaves cancels the run
    }
  };
  return {
    events: { [Symbol.asyncIterator]: events },
    result: run.result as StartedRun["result"],
    usage: () => usageOfStages(usages),
  };
}

/** Resolves with the run's first event. Rejects with whatever is in the way until then. */
export function startRun(
  context: ServeContext,
  { chain, inputs, tenant, signal }: ChainCall,
): Promise<StartedRun> {
  return new Promise((resolve, reject) => {
    const turn = context.gate.run(signal, async () => {
      const run = chain.run(inputs, { signal, ...(tenant.salt === undefined ? {} : { salt: tenant.salt }) });
      const events = run[Symbol.asyncIterator]();
      resolve(startedRun(run, await events.next(), events));
      await run.result;
    });
    turn.catch(reject); // after it has begun: its reader hears
  });
}
