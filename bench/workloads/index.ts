// SPDX-License-Identifier: Apache-2.0
// All workloads, in the order in which they are run and printed.
import type { Workload } from "../contract.js";
import { compressAnswerChain } from "./compress-answer.js";
import { decode } from "./decode.js";
import { drafting } from "./drafting.js";
import { fanOut } from "./fan-out.js";
import { handover } from "./handover.js";
import { memory } from "./memory.js";
import { overhead } from "./overhead.js";
import { prefill } from "./prefill.js";
import { recallReasonChain } from "./recall-reason.js";
import { stages } from "./stages.js";
import { trainAnswer, trainCompress } from "./train.js";

export const workloads: readonly Workload[] = [
  prefill,
  decode,
  handover,
  memory,
  overhead,
  drafting,
  recallReasonChain,
  stages,
  fanOut,
  compressAnswerChain,
  trainAnswer,
  trainCompress,
];

/** The workload that a case id belongs to, in its full or its quick form. */
export function workloadOf(id: string): Workload | undefined {
  return workloads.find((one) => [...one.cases(false), ...one.cases(true)].some((each) => each.id === id));
}
