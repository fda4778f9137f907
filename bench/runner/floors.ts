// SPDX-License-Identifier: Apache-2.0
// Floors are reported, never asserted: a test that fails on a busy machine teaches people to ignore tests.
import type { Floor, MachineKind, Metric, Workload } from "../contract.js";
import { quietShare } from "./load.js";
import type { Result } from "./report.js";
import { pairedRatio, type Spread, timesBetter } from "./statistics.js";

export interface FloorCheck {
  /** Id of the case. */
  workload: string;
  metric: string;
  /** The promise in words, e.g. ">= 0.7x llama-bench". */
  promise: string;
  /** Figure that is compared with the promise, or null when a side of it was not measured. */
  figure: number | null;
  /** Its least and its most, where it is of several turns. */
  span?: { min: number; max: number };
  outcome: "pass" | "miss" | "not measured";
  /** A side of it was measured on a machine that was not quiet. */
  disturbed: boolean;
}

const wasDisturbed = (result: Result | undefined) =>
  (result?.disturbed ?? 0) > 0 && result?.n === result?.disturbed;

/** Turn by turn where both sides have turns, else of the medians. */
function ratioOf(
  own: Result,
  other: Result,
  better: Metric["better"],
): Pick<Spread, "median" | "min" | "max"> {
  const quiet = ({ others }: { others: number }) => others <= quietShare;
  const paired = pairedRatio(own.turns ?? [], other.turns ?? [], better, quiet);
  if (paired !== null) return paired;
  const ratio = timesBetter(own.median, other.median, better);
  return { median: ratio, min: ratio, max: ratio };
}

type Verdict = Pick<FloorCheck, "figure" | "span" | "outcome">;

function verdict(figure: number, span: { min: number; max: number } | null, kept: boolean): Verdict {
  const outcome = kept ? "pass" : "miss";
  return span === null || span.min === span.max
    ? { figure, outcome }
    : { figure, span: { min: span.min, max: span.max }, outcome };
}

const unknown: Verdict = { figure: null, outcome: "not measured" };

function check(floor: Floor, metric: Metric, own: Result, other: Result | undefined): Verdict {
  if ("atMost" in floor) return verdict(own.median, own, own.median <= floor.atMost);
  if ("atLeast" in floor) return verdict(own.median, own, own.median >= floor.atLeast);
  if (other === undefined) return unknown;
  if ("noWorse" in floor) {
    const worse = metric.better === "higher" ? other.median - own.median : own.median - other.median;
    return verdict(own.median, own, worse <= floor.slack);
  }
  if ("atMostShare" in floor) {
    const share = own.median / other.median;
    return verdict(share, null, share <= floor.atMostShare);
  }
  const ratio = ratioOf(own, other, metric.better);
  return verdict(ratio.median, ratio, ratio.median >= floor.factor);
}

/** The promise in words. */
export function promiseOf(floor: Floor, { unit, better }: Pick<Metric, "unit" | "better">): string {
  if ("atMost" in floor) return `<= ${Number(floor.atMost.toPrecision(3))} ${unit}`;
  if ("atLeast" in floor) return `>= ${floor.atLeast} ${unit}`;
  const of = floor.theirs === undefined ? floor.against : `${floor.against}'s ${floor.theirs}`;
  if ("noWorse" in floor) return `${better === "higher" ? ">=" : "<="} ${of}`;
  return "atMostShare" in floor ? `<= ${floor.atMostShare} of ${of}` : `>= ${floor.factor}x ${of}`;
}

/** Whether a promise is made for that case on such a machine. */
export function isPromised({ cases, on }: Floor, caseId: string, kind: MachineKind | undefined): boolean {
  return (cases?.test(caseId) ?? true) && (on === undefined || kind === undefined || on.includes(kind));
}

/** One check per floor and case that `subject` was measured on. */
export function checkFloors(
  results: readonly Result[],
  workloadOf: (caseId: string) => Workload | undefined,
  subject: string,
  kind?: MachineKind,
): FloorCheck[] {
  const find = (workload: string, name: string, metric: string) =>
    results.find((r) => r.workload === workload && r.subject === name && r.metric === metric);
  const own = results.filter((result) => result.subject === subject);
  return own.flatMap((result) => {
    const { workload, metric: name } = result;
    const owner = workloadOf(workload);
    const metric = owner?.metrics.find((one) => one.name === name);
    if (owner === undefined || metric === undefined) return [];
    const floors = owner.floors.filter((one) => one.metric === name && isPromised(one, workload, kind));
    return floors.map((floor): FloorCheck => {
      const other = "against" in floor ? find(workload, floor.against, floor.theirs ?? name) : undefined;
      const promise = promiseOf(floor, metric);
      const disturbed = wasDisturbed(result) || wasDisturbed(other);
      return { workload, metric: name, promise, ...check(floor, metric, result, other), disturbed };
    });
  });
}
