// SPDX-License-Identifier: Apache-2.0
// Starts the runner.
import { compile } from "./compile.mjs";

compile();
await import("./build/bench/runner/main.js");
