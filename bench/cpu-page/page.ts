// SPDX-License-Identifier: Apache-2.0
// docs/cpu-KIND.md and its pictures, from the JSON of the suites cpu and ops and nothing else.
import type { Workload } from "../contract.js";
import type { OpsReport } from "../ops/report.js";
import { drawLines, type LinePanel } from "../page/lines.js";
import { table } from "../page/markdown.js";
import { drawBars, type Panel } from "../quality/page/bars.js";
import { machineKind } from "../runner/machine.js";
import type { Report } from "../runner/report.js";
import { machineLines } from "../runner/table.js";
import { againstBatch, againstCount } from "./series.js";
import { decodeShares, kernelShares, limitRows } from "./shares.js";
import {
  divergenceTable,
  elsewhereTable,
  profileTable,
  resultTable,
  targetTable,
  triedTable,
  unmeasuredTable,
} from "./tables.js";

export interface Page {
  markdown: string;
  /** By file name. */
  pictures: ReadonlyMap<string, string>;
}

export interface PageInit {
  report: Report;
  ops: OpsReport | undefined;
  /** All of the bench. */
  workloads: readonly Workload[];
  workloadOf: (id: string) => Workload | undefined;
  /** Of the JSON files, as the page names them. */
  sources: readonly string[];
  /** Folder of the pictures, as the page names it. */
  folder: string;
}

/** Of several sittings several, which are short already. */
const shortCommit = (commit: string) => (commit.includes(",") ? commit : commit.slice(0, 12));

function intro({ report, sources }: PageInit): string[] {
  const { machine, settings, subjects, commit, date } = report;
  const links = sources.map((file) => `[${file}](../${file})`).join(" and ");
  const cap = settings.isa === undefined ? "" : `, all of them capped to ${settings.isa} (BATON_ISA)`;
  const turns = report.results.flatMap((one) => one.turns ?? []);
  const beside = turns.filter(({ others }) => others > 0.06).length;
  return [
    "# Speed on CPUs",
    `Written by \`node bench/cpu-page.mjs ${sources.join(" ")}\` from ${links}; they are made by ` +
      "`npm run bench -- --suite cpu --rivals llama.cpp,node-llama-cpp --json FILE` and `--suite ops`.",
    `${machineLines(machine).join("; ")}. ${settings.threads} threads of every subject${cap}; ` +
      `${settings.model} where a case names no model; commit ${shortCommit(commit)}, ${date.slice(0, 10)}` +
      `${settings.quick ? "; a short run (`--quick`)" : ""}.`,
    `Subjects take turns, each turn in a process of its own, and a ratio is the median of the turns' ratios: clocks change, ` +
      `and both sides of a turn meet the same one. Other work took more than 6 % of a core in ${beside} of ` +
      `${turns.length} trials; those are left out where quiet ones are left. Models named after a shape have random ` +
      "weights: speed does not depend on values.",
    table(["subject", "what it is"], Object.entries(subjects)),
  ];
}

/** Adds a picture where there is something to draw. */
class Pictures {
  readonly files = new Map<string, string>();
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  lines(name: string, title: string, panels: readonly LinePanel[], axis: { x: string; y: string }): string {
    return panels.length === 0 ? "" : this.#add(name, title, drawLines(title, panels, axis));
  }

  bars(name: string, title: string, panels: readonly Panel[]): string {
    return panels.length === 0 ? "" : this.#add(name, title, drawBars(title, panels));
  }

  #add(name: string, title: string, svg: string): string {
    this.files.set(`${name}.svg`, svg);
    return `![${title}](${this.#folder}/${name}.svg)`;
  }
}

/** A heading and what stands under it; nothing where there is nothing. */
function section(heading: string, ...parts: readonly string[]): string[] {
  const there = parts.filter((part) => part !== "");
  return there.length === 0 ? [] : [`## ${heading}`, ...there];
}

export function makePage(init: PageInit): Page {
  const { report, ops, workloads, workloadOf, folder } = init;
  const { results, settings, machine } = report;
  const kind = machineKind(machine, settings.isa);
  const suite = workloads.filter((one) => one.suite === "cpu");
  const pictures = new Pictures(folder);
  const parts = [
    ...intro(init),
    ...section("Targets", targetTable(report, workloadOf, kind)),
    ...section("Where the time goes in what missed", profileTable(report)),
    ...section(
      "Targets of other machines",
      `This one counts as ${kind}; what follows could not be measured on it.`,
      elsewhereTable(suite, kind),
    ),
    ...section("Not measured", unmeasuredTable(report, suite)),
    ...section(
      "Speed does not buy error",
      divergenceTable(results),
      divergenceTable(results) === ""
        ? ""
        : "KL(float32 || subject) and agreement over the second halves of chunks of real text; float32 is transformers on the file's weights dequantised.",
    ),
    ...section(
      "Against the context",
      pictures.lines("prefill", "Prefill", againstCount(results, "cpu-prefill", "prefill"), {
        x: "rows of the prompt",
        y: "tokens per second",
      }),
      pictures.lines("decode", "Decode", againstCount(results, "cpu-decode", "decode"), {
        x: "rows of the context",
        y: "tokens per second",
      }),
    ),
    ...section(
      "Against the batch",
      pictures.lines("batch", "Decode of several sequences", againstBatch(results, "cpu-batch"), {
        x: "sequences",
        y: "tokens per second in all",
      }),
    ),
    ...section(
      "Share of the machine's limits",
      ops === undefined ? "" : table(["limit", "median", "span"], limitRows(ops)),
      pictures.bars("shares", "Share of the machine's limits", [
        ...decodeShares(results),
        ...(ops === undefined ? [] : kernelShares(ops)),
      ]),
    ),
    ...section("All figures", resultTable(results)),
    ...section(
      "How rivals were set up",
      report.tried?.length ? "Each way was tried once, briefly; the best was measured." : "",
      triedTable(report),
    ),
  ];
  return { markdown: `${parts.join("\n\n")}\n`, pictures: pictures.files };
}
