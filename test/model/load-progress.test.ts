// SPDX-License-Identifier: Apache-2.0
// What is told while a model is opened, on the real model: bytes that grow and end at the file's; and that whoever listens
// may end the load, by an abort or by throwing. When events arrive is the machine's business, and nothing here depends
// on it: how far the engine tells, and where a load stops, is tested in test/native/engine/weight_panels_test.cpp.

import { beforeAll, describe, expect, test } from "vitest";
import { loadModel } from "../../src/index.js";
import type { LoadProgress } from "../../src/model/progress.js";
import { resolveModel } from "../../src/model/source.js";
import { EngineClient } from "../../src/native/engine-client.js";
import { loadNative } from "../../src/native/load.js";
import { eventually, failure, mappings, tinyOptions } from "../robustness/support.js";

const name = "smollm2-135m-instruct";
const small = { threads: 1, cacheBytes: 8 << 20 };

describe("a load", () => {
  let path = "";
  let total = 0;
  beforeAll(async () => {
    ({ path } = await resolveModel(name));
    total = loadNative().readModelFile(path).fileBytes;
  });
  const file = () => path.split("/").at(-1) as string;
  const unmapped = (before: number) => eventually(() => mappings(file()) === before);

  test("begins at no byte, grows, and ends with all of them", async () => {
    const told: LoadProgress[] = [];
    const model = await loadModel(name, { ...small, onProgress: (one) => told.push(one) });
    await model.close();
    const engine = told.filter(({ source }) => source === "engine");
    const loads = engine.filter(({ phase }) => phase === "load").map(({ done }) => done);
    expect(loads[0]).toBe(0);
    expect(loads).toEqual([...new Set(loads)].sort((a, b) => a - b));
    expect(loads.at(-1)).toBeLessThanOrEqual(total);
    expect(engine.slice(0, -1).every(({ phase }) => phase === "load")).toBe(true);
    expect(engine.at(-1)).toEqual({ source: "engine", phase: "ready", done: total, total });
    expect(engine.every((one) => one.total === total)).toBe(true);
    expect(told.at(-1)).toBe(engine.at(-1));
  });

  test("is heard of while it goes on, where this thread has nothing else to do", async () => {
    const told: [done: number, total: number][] = [];
    for (let turn = 0; turn < 20 && told.length === 0; turn++) {
      const client = await EngineClient.open(path, name, tinyOptions, undefined, (...one) => told.push(one));
      await client.close();
    }
    expect(told.length).toBeGreaterThan(0);
    expect(told.length).toBeLessThanOrEqual(102);
    for (const [done, all] of told) {
      expect(done).toBeGreaterThan(0); // what needs no work is done from the start
      expect(done).toBeLessThanOrEqual(all);
      expect(all).toBe(total);
    }
    expect(told.map(([done]) => done)).toEqual(told.map(([done]) => done).sort((a, b) => a - b));
  });

  test("that is aborted by who listens rejects with the reason, says no more and lets the file go", async () => {
    const before = mappings(file());
    let stopped = 0;
    for (let turn = 0; turn < 20 && stopped < 3; turn++) {
      const controller = new AbortController();
      const reason = new Error("enough");
      let after = 0;
      const opening = EngineClient.open(path, name, tinyOptions, controller.signal, () => {
        if (controller.signal.aborted) after += 1;
        controller.abort(reason);
      });
      const outcome = await opening.catch((error: unknown) => error);
      if (controller.signal.aborted) {
        expect(outcome).toBe(reason);
        stopped += 1;
      } else await (outcome as EngineClient).close();
      expect(after).toBe(0);
    }
    expect(stopped).toBe(3);
    expect(await unmapped(before)).toBe(true);
  });

  test("whose listener throws rejects with that, calls it no more and lets the file go", async () => {
    const before = mappings(file());
    for (const place of ["first", "load", "ready"]) {
      const thrown = new Error(place);
      let calls = 0;
      const fail = () => {
        calls += 1;
        throw thrown;
      };
      if (place === "load") {
        for (let turn = 0; turn < 20 && calls === 0; turn++) {
          const opening = EngineClient.open(path, name, tinyOptions, undefined, fail);
          const outcome = await opening.catch((error: unknown) => error);
          if (calls > 0) expect(outcome).toBe(thrown);
          else await (outcome as EngineClient).close();
        }
      } else {
        const onProgress = ({ source, phase }: LoadProgress) => {
          if (source === "engine" && (place === "first" || phase === "ready")) fail();
        };
        expect(await failure(loadModel(name, { ...small, onProgress }))).toBe(thrown);
      }
      expect(calls).toBe(1);
      expect(await unmapped(before)).toBe(true);
    }
  });
});
