// SPDX-License-Identifier: Apache-2.0
// Floors are reported, never asserted: a test that fails on a busy machine teaches people to ignore tests.
import type { Metric, Workload } from "../contract.js";
import type { Result } from "./report.js";
import { timesBetter } from "./statistics.js";

export interface FloorCheck {
  /** Id of the case. */
  workload: string;
  metric: string;
  /** The promise in words, e.g. ">= 0.7x llama-bench". */
  promise: string;
  /** Figure that is compared with the promise, or null when a side of it was not measured. */
  figure: number | null;
  outcome: "pass" | "miss" | "not measured";
  /** A side of it was measured on a machine that was not quiet. */
  disturbed: boolean;
}

const wasDisturbed = (result: Result | undefined) =>
  (result?.disturbed ?? 0) > 0 && result?.n === result?.disturbed;

function factorCheck(metric: Metric, own: Result, other: Result | undefined, factor: number) {
  if (other === undefined) return { figure: null, outcome: "not measured" } as const;
  const figure = timesBetter(own.median, other.median, metric.better);
  return { figure, outcome: figure >= factor ? "pass" : "miss" } as const;
}

function shareCheck(own: Result, other: Result | undefined, most: number) {
  if (other === undefined) return { figure: null, outcome: "not measured" } as const;
  const figure = own.median / other.median;
  return { figure, outcome: figure <= most ? "pass" : "miss" } as const;
}

/** One check per floor and case that `subject` was measured on. */
export function checkFloors(
  results: readonly Result[],
  workloadOf: (caseId: string) => Workload | undefined,
  subject: string,
): FloorCheck[] {
  const find = (workload: string, name: string, metric: string) =>
    results.find((r) => r.workload === workload && r.subject === name && r.metric === metric);
  const own = results.filter((result) => result.subject === subject);
  return own.flatMap((result) => {
    const workload = workloadOf(result.workload);
    const metric = workload?.metrics.find((one) => one.name === result.metric);
    const floors = workload?.floors.filter((floor) => floor.metric === result.metric) ?? [];
    if (metric === undefined) return [];
    return floors.map((floor): FloorCheck => {
      const common = { workload: result.workload, metric: result.metric };
      if ("atMost" in floor) {
        return {
          ...common,
          promise: `<= ${floor.atMost} ${metric.unit}`,
          figure: result.median,
          outcome: result.median <= floor.atMost ? "pass" : "miss",
          disturbed: wasDisturbed(result),
        };
      }
      const other = find(result.workload, floor.against, result.metric);
      const eitherDisturbed = wasDisturbed(result) || wasDisturbed(other);
      if ("atMostShare" in floor) {
        return {
          ...common,
          promise: `<= ${floor.atMostShare} of ${floor.against}`,
          ...shareCheck(result, other, floor.atMostShare),
          disturbed: eitherDisturbed,
        };
      }
      return {
        ...common,
        promise: `>= ${floor.factor}x ${floor.against}`,
        ...factorCheck(metric, result, other, floor.factor),
        disturbed: eitherDisturbed,
      };
    });
  });
}
