// SPDX-License-Identifier: Apache-2.0
// A trace of requests as a server of mixed chains sees them: a few long documents that many ask about, short ones that
// come back now and then, and texts that never do. Every request reads a document, alone in its frame as inputs are, and
// a question behind it.
import type { Samples, Task, TrialSettings } from "../contract.js";
import { tokenIds } from "../tokens.js";
import { type Model, open } from "./engine.js";

interface Request {
  /** Equal numbers are equal documents. */
  document: number;
  rows: number;
}

/** Uniform numbers from 0 to 1, the same in every process. */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const handbooks = 6;
const letters = 40;

/** Of three requests one is about a handbook, one about a letter, one about something new. */
export function traceOf(count: number): Request[] {
  const next = uniform(11);
  return Array.from({ length: count }, (_, at): Request => {
    const kind = next();
    const which = next();
    if (kind < 1 / 3) {
      const document = Math.floor(handbooks * which ** 2); // the first ones are asked about most
      return { document, rows: 512 + 96 * document };
    }
    if (kind < 2 / 3) {
      const document = 100 + Math.floor(letters * which);
      return { document, rows: 64 + 4 * (document - 100) };
    }
    return { document: 1000 + at, rows: 160 };
  });
}

const questionRows = 24;

/** Replays the trace: seconds, and which share of the documents' rows was found. */
async function replay(model: Model, trace: readonly Request[]): Promise<{ seconds: number; hits: number }> {
  let found = 0;
  const start = performance.now();
  for (const [at, { document, rows }] of trace.entries()) {
    using handle = model.cache.open();
    found += (await handle.append(tokenIds(rows, document + 1))).rowsReused;
    using branch = handle.fork();
    await branch.append(tokenIds(questionRows, 5000 + at));
    branch.close({ retain: "none" }); // nobody asks the same again
  }
  const all = trace.reduce((sum, { rows }) => sum + rows, 0);
  return { seconds: (performance.now() - start) / 1000, hits: found / all };
}

export async function measurePolicies(
  { requests }: Task & { kind: "policies" },
  settings: TrialSettings,
): Promise<Samples> {
  const trace = traceOf(requests);
  const sizes = new Map(trace.map(({ document, rows }) => [document, rows]));
  let samples: Samples = {};
  let base = 0;
  for (const policy of ["none", "lru", "cost"] as const) {
    const probe = await open(settings);
    const { kvBytesPerRow, blockBytes } = probe.model.info;
    await probe.model.close();
    // Room for a quarter of all documents that there are.
    const all = [...sizes.values()].reduce((sum, rows) => sum + rows, 0) * kvBytesPerRow;
    const indexBytes = Math.max(blockBytes, Math.floor(all / 4));
    const cacheBytes = 2 * indexBytes + 1024 * kvBytesPerRow;
    const { model } = await open(settings, {
      cacheBytes,
      ...(policy === "none" ? { indexBytes: 0 } : { indexBytes, cachePolicy: policy }),
    });
    await replay(model, [{ document: 9999, rows: 64 }]);
    const { seconds, hits } = await replay(model, trace);
    await model.close();
    if (policy === "none") {
      base = seconds;
      samples = { computed: [seconds] };
    } else {
      samples[`hits-${policy}`] = [hits];
      samples[`saved-${policy}`] = [base - seconds];
    }
  }
  return samples;
}
