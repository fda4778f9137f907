// SPDX-License-Identifier: Apache-2.0
// A model of a worker thread's own.

import { generate, openTiny } from "./tiny.mjs";

const engine = await openTiny();
await generate(engine);
await engine.close();
