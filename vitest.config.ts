// SPDX-License-Identifier: Apache-2.0
// Two forks at most: the machines this runs on have two cores, and the engine brings threads of its own. Frozen rows of
// tests stay out of the user's cache, and every number that a test computes is looked at.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/fixtures/**", "**/node_modules/**"],
    pool: "forks",
    maxWorkers: 2,
    env: { BATON_FROZEN_FOLDER: "off", BATON_WATCH_NUMBERS: "1" },
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
