// SPDX-License-Identifier: Apache-2.0
// Our own engine without sharing: what the shared chain is compared with (players.ts says what each reuses).
import type { Subject } from "../contract.js";
import { measureChains } from "./chains/measure.js";
import { prefixedPlayer, recomputedPlayer } from "./chains/players.js";

export const batonRecompute: Subject = {
  name: "baton-recompute",
  rival: false,
  kinds: ["chain", "rounds", "fan-out", "rows"],
  measure: (task, settings) => measureChains(task, settings, recomputedPlayer),
  describe: async () => "our engine; every stage reads its whole visible text anew behind its own prompt",
};

export const batonPrefix: Subject = {
  name: "baton-prefix",
  rival: false,
  kinds: ["rounds", "fan-out"],
  measure: (task, settings) => measureChains(task, settings, prefixedPlayer),
  describe: async () => "our engine; as baton-recompute, with a prefix cache per role",
};
