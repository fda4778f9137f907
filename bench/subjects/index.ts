// SPDX-License-Identifier: Apache-2.0
// All subjects, ours first.
import type { Subject } from "../contract.js";
import { baton } from "./baton.js";
import { batonPrefix, batonRecompute } from "./baton-chains.js";
import { limits } from "./limits.js";
import { llamaBatchedBench } from "./llama-batched-bench.js";
import { llamaBench } from "./llama-bench.js";
import { llamaForks } from "./llama-forks.js";
import { llamaPerplexity } from "./llama-perplexity.js";
import { nodeLlamaCpp } from "./node-llama-cpp.js";
import { fthss, peft } from "./pytorch.js";

export const subjects: readonly Subject[] = [
  baton,
  batonRecompute,
  batonPrefix,
  limits,
  llamaBench,
  llamaBatchedBench,
  llamaPerplexity,
  llamaForks,
  nodeLlamaCpp,
  fthss,
  peft,
];
