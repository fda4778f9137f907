// SPDX-License-Identifier: Apache-2.0
// The public names of baton-lm/server.

import "../node-version.js";

export type { ChainSource, ServableChain } from "./chains.js";
export { keysOfText } from "./keys.js";
export type { LogEntry, ServerOptions } from "./options.js";
export type { BatonServer, Listening, ListenOptions } from "./server.js";
export { createServer } from "./server.js";
