// SPDX-License-Identifier: Apache-2.0
// Where tunings of a test file happen: one model for all tests, a folder for each.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach } from "vitest";
import type { Model, TuneOptions } from "../../src/index.js";
import { tune } from "../../src/index.js";
import type { Site } from "./small-chain.js";
import { chainOf, collectOn, loadModelToTune } from "./small-chain.js";

/** Installs the hooks: call it at the top of the file. */
export function tuningWorld() {
  let model: Model;
  let folder: string;
  beforeAll(async () => {
    model = await loadModelToTune();
  });
  afterAll(() => model.close());
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "baton-tune-"));
    return () => rm(folder, { recursive: true, force: true });
  });
  const chain = () => chainOf(model);
  return {
    model: () => model,
    /** A path in the test's folder. */
    inFolder: (...parts: string[]) => join(folder, ...parts),
    chain,
    start: (options: TuneOptions<Site>) => tune(chain(), options),
    collect: (options: TuneOptions<Site>) => collectOn(model, options),
  };
}
