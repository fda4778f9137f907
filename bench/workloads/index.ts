// SPDX-License-Identifier: Apache-2.0
// All workloads, in the order in which they are run and printed.
import type { Workload } from "../contract.js";
import { shapeNames, weightTypeNames } from "../models/shapes.js";
import { cacheBranches } from "./cache/branches.js";
import { cacheMoving } from "./cache/moving.js";
import { cachePolicies } from "./cache/policies.js";
import { cacheReuse } from "./cache/reuse.js";
import { cacheSnapshot } from "./cache/snapshot.js";
import { compressAnswerChain } from "./compress-answer.js";
import { constrained } from "./constrained.js";
import { cpuBatch } from "./cpu/batch.js";
import { cpuDecode } from "./cpu/decode.js";
import { cpuDivergence } from "./cpu/divergence.js";
import { cpuDrafting } from "./cpu/drafting.js";
import { cpuHandover } from "./cpu/handover.js";
import { cpuKv } from "./cpu/kv.js";
import { cpuLoad } from "./cpu/load.js";
import { cpuOverhead } from "./cpu/overhead.js";
import { cpuPrefill } from "./cpu/prefill.js";
import { decode } from "./decode.js";
import { drafting } from "./drafting.js";
import { fanOut } from "./fan-out.js";
import { gpuBatch } from "./gpu/batch.js";
import { gpuChain } from "./gpu/chain.js";
import { gpuDecode } from "./gpu/decode.js";
import { gpuHandover } from "./gpu/handover.js";
import { gpuPrefill } from "./gpu/prefill.js";
import { gpuTrain } from "./gpu/train.js";
import { handover } from "./handover.js";
import { memory } from "./memory.js";
import { overhead } from "./overhead.js";
import { prefill } from "./prefill.js";
import { recallReasonChain } from "./recall-reason.js";
import { server } from "./server.js";
import { stages } from "./stages.js";
import { trainAnswer, trainCompress } from "./train.js";

export const workloads: readonly Workload[] = [
  prefill,
  decode,
  handover,
  memory,
  overhead,
  drafting,
  constrained,
  cpuPrefill,
  cpuDecode,
  cpuHandover,
  cpuBatch,
  cpuKv,
  cpuOverhead,
  cpuLoad,
  cpuDrafting,
  cpuDivergence,
  cacheSnapshot,
  cacheReuse,
  cacheBranches,
  cacheMoving,
  cachePolicies,
  server,
  gpuDecode,
  gpuPrefill,
  gpuBatch,
  gpuChain,
  gpuTrain,
  gpuHandover,
  recallReasonChain,
  stages,
  fanOut,
  compressAnswerChain,
  trainAnswer,
  trainCompress,
];

const anyChoice = { shapes: shapeNames, types: weightTypeNames };
const owners = new Map(
  [true, false].flatMap((quick) =>
    workloads.flatMap((one) => one.cases(quick, anyChoice).map(({ id }) => [id, one] as const)),
  ),
);

/** The workload that a case id belongs to, in its full or its quick form. */
export function workloadOf(id: string): Workload | undefined {
  return owners.get(id);
}
