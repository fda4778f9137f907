// SPDX-License-Identifier: Apache-2.0
// All subjects, ours first.
import type { Subject } from "../contract.js";
import { baton } from "./baton.js";
import { batonPrefix, batonRecompute } from "./baton-chains.js";
import { llamaBench } from "./llama-bench.js";
import { nodeLlamaCpp } from "./node-llama-cpp.js";
import { fthss, peft } from "./pytorch.js";

export const subjects: readonly Subject[] = [
  baton,
  batonRecompute,
  batonPrefix,
  llamaBench,
  nodeLlamaCpp,
  fthss,
  peft,
];
