// SPDX-License-Identifier: Apache-2.0
// docs/gpu.md and its picture, from what a run on a GPU left and nothing else: what nobody measured stands there as such.
import type { GpuRun } from "../gpu/lines.js";
import { failureTable, figureTable, noteTable, targetTable } from "../gpu/tables.js";
import { ceiling } from "../gpu/targets.js";
import type { PageFiles } from "../page/files.js";
import { escaped, picture, round } from "../page/svg.js";

const width = 720;
const left = 210;
const rowHeight = 24;
const colours = { copy: "#0369a1", gemm: "#b45309" };

interface Share {
  name: string;
  of: "copy" | "gemm";
  share: number;
}

/** Our kernels as shares of the nearer ceiling, as far as one was measured. */
export function shares(run: GpuRun): Share[] {
  const limits = { copy: ceiling(run, "copy"), gemm: ceiling(run, "gemm") };
  const best = new Map<string, Share>();
  for (const { case: name, subject, metric, median } of run.figures) {
    const of = metric === "bandwidth" ? "copy" : metric === "arithmetic" ? "gemm" : undefined;
    const limit = of && limits[of]?.median;
    if (subject !== "baton" || of === undefined || limit === undefined) continue;
    const share = median / limit;
    if (share > (best.get(name)?.share ?? 0)) best.set(name, { name, of, share });
  }
  return [...best.values()];
}

function drawShares(all: readonly Share[]): string {
  const top = 30;
  const wide = width - left - 90;
  const bars = all.flatMap(({ name, of, share }, i) => {
    const y = top + i * rowHeight;
    const said = `${(100 * share).toFixed(0)} % of ${of}`;
    return [
      `<text x="${left - 8}" y="${y + 9}" text-anchor="end" dominant-baseline="central" fill="#1f2328">${escaped(name)}</text>`,
      `<rect x="${left}" y="${y}" width="${round(Math.min(1, share) * wide)}" height="18" fill="${colours[of]}" fill-opacity="0.6"/>`,
      `<text x="${round(left + Math.min(1, share) * wide + 8)}" y="${y + 9}" dominant-baseline="central" fill="#57606a">${escaped(said)}</text>`,
    ];
  });
  const height = top + all.length * rowHeight + 10;
  const line = `<path d="M${left + wide} ${top - 8}V${height - 8}" stroke="#57606a" stroke-dasharray="4 3"/>`;
  return picture("Kernels as shares of the ceilings", { width, height }, [...bars, line]);
}

const about =
  "`bench/gpu/run.sh` measures everything here by one command in under nine minutes on a machine with a GPU; `node " +
  "bench/gpu/bundle.mjs` makes a folder for a machine that has nothing but a driver (and PyTorch, for the peers). Ceilings are " +
  "of the same run: a copy in memory, bytes read and written, and a product of bfloat16 of 8,192 in each direction, the best " +
  "that anybody reached of each. Shapes are in [bench/gpu/shapes.json](../bench/gpu/shapes.json); ours and the peers' are the same.";

const nothing =
  "**Nothing was measured on a GPU yet.** The kernels were compiled for compute capability 8.0 to 12.0, and every one " +
  "runs emulated against its reference in CI; so does every case of the benchmark, on few rows. No figure of speed follows from " +
  "that, and none stands here.";

function section(heading: string, ...parts: readonly string[]): string[] {
  const there = parts.filter((part) => part !== "");
  return there.length === 0 ? [] : [`## ${heading}`, ...there];
}

/** `sources`: the files, as the page names them. */
export function makePage(run: GpuRun, sources: readonly string[]): PageFiles {
  const links = sources.map((file) => `[${file}](../${file})`).join(" and ");
  const drawn = shares(run);
  const pictures = new Map(drawn.length === 0 ? [] : [["shares.svg", drawShares(drawn)]]);
  const parts = [
    "# Speed on GPUs",
    sources.length === 0
      ? "Written by `node bench/gpu-page.mjs`."
      : `Written by \`node bench/gpu-page.mjs ${sources.join(" ")}\` from ${links}.`,
    run.device === undefined ? nothing : `Device: ${run.device}.`,
    about,
    ...section("Targets", targetTable(run)),
    ...section(
      "Shares of the ceilings",
      drawn.length === 0 ? "" : "![Shares of the ceilings](gpu/shares.svg)",
    ),
    ...section("All figures", figureTable(run)),
    ...section("Not measured", failureTable(run)),
    ...section("What the run said", noteTable(run)),
  ];
  return { markdown: `${parts.join("\n\n")}\n`, pictures };
}
