// SPDX-License-Identifier: Apache-2.0
// The page about speed on CPUs from a small report: pictures against context and batch, shares of limits, distances, and
// what this machine cannot show. The committed page is what the committed figures make.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { pageOf } from "../../bench/cpu-page/main.js";
import { mergeReports } from "../../bench/cpu-page/merge.js";
import { makePage } from "../../bench/cpu-page/page.js";
import type { OpsReport } from "../../bench/ops/report.js";
import type { Result } from "../../bench/runner/report.js";
import { workloadOf, workloads } from "../../bench/workloads/index.js";
import { report, result } from "./samples.js";

const figures = (median: number) => ({ median, min: median, max: median });

const ops: OpsReport = {
  machine: report([]).machine,
  date: "2026-11-21T12:00:00.000Z",
  commit: "abc",
  settings: { threads: 2, quick: true, repeat: 3, isa: "avx2" },
  limits: [
    { name: "read 256 MiB", unit: "B/s", bytes: 2 ** 28, rate: { median: 2e10, min: 1.9e10, max: 2.1e10 } },
  ],
  kernels: [1, 512, 512].map((rows, at) => ({
    ...{ op: "linear int8", type: "Q8_0", rows, detail: "", isa: "avx2", bytes: 1, flops: 1, int8: 1 },
    ...{ milliseconds: figures(1), bound: "memory", share: [0.9, 0.5, 0.75][at] as number },
    ...{ section: "linear Q8_0", disturbed: false },
  })),
};

const of = (workload: string, subject: string, metric: string, median: number, unit = "tok/s") =>
  result({ workload, subject, metric, unit, ...figures(median) });

const results = [
  ...[128, 2048].flatMap((context) => {
    const id = `cpu-decode-smollm2-135m-Q8_0-${context}`;
    return [
      of(id, "baton", "decode", 150),
      of(id, "llama-bench", "decode", 60),
      of(id, "baton", "bandwidth", 16, "GB/s"),
      of(id, "limits", "bandwidth", 20, "GB/s"),
    ];
  }),
  ...[1, 8].map((count) => of("cpu-batch-own-128", "baton", `decode-${count}`, 100 * count)),
  of("cpu-divergence-4096", "baton", "kl", 2.1, "1e-3 nats"),
  of("cpu-divergence-4096", "baton", "top", 98, "%"),
  of("cpu-divergence-4096", "llama-perplexity", "kl", 3.2, "1e-3 nats"),
  of("cpu-divergence-4096", "llama-perplexity", "top", 98.5, "%"),
];

function page(withOps: boolean) {
  const profiles = [
    {
      workload: "cpu-decode-smollm2-135m-Q8_0-128",
      ops: [
        { op: "linear down", share: 0.98, ofLimit: 0.75 },
        { op: "rope", share: 0.015, ofLimit: 0.1 },
        { op: "between", share: 0.005, ofLimit: 0 },
      ],
    },
  ];
  const whole = {
    ...report(results),
    profiles,
    unmeasured: [{ workload: "cpu-kv-2048", subject: "baton", why: "it fell over" }],
  };
  const { markdown, pictures } = makePage({
    ...{ report: whole, ops: withOps ? ops : undefined, workloads, workloadOf, folder: "cpu" },
    sources: ["bench/results/x-cpu.json", ...(withOps ? ["bench/results/x-ops.json"] : [])],
  });
  return { pictures, markdown: markdown.replace(/ {2,}/g, " ") };
}

describe("sittings", () => {
  const sitting = (date: string, commit: string, ...figures: Result[]) => ({
    ...report(figures),
    date,
    commit,
  });
  const of128 = (median: number) => of("cpu-kv-2048", "baton", "gain", median);

  it("become one report, the later one's where both have a case", () => {
    const later = sitting(
      "2026-11-23T00:00:00.000Z",
      "b".repeat(40),
      of128(2),
      of("cpu-load-16", "baton", "resident", 1),
    );
    const earlier = sitting("2026-11-22T00:00:00.000Z", "a".repeat(40), of128(1), ...results);
    const merged = mergeReports([later, earlier]);
    expect(merged.results).toHaveLength(results.length + 2);
    expect(merged.results.filter(({ workload }) => workload === "cpu-kv-2048")).toEqual([of128(2)]);
    expect(merged.commit).toBe("aaaaaaaaaaaa, bbbbbbbbbbbb");
  });

  it("of different machines or settings are refused", () => {
    const one = report([]);
    const capped = { ...one, settings: { ...one.settings, isa: "avx2" } };
    expect(() => mergeReports([one, capped])).toThrow(/isa is {2}in one sitting and avx2 in another/);
    expect(() => mergeReports([one, { ...one, machine: { ...one.machine, cpu: "Other" } }])).toThrow(
      /cpu is/,
    );
    expect(() => mergeReports([])).toThrow(/no report/);
  });
});

describe("the page", () => {
  it("gives every target its verdict, and those of other machines by what they need", () => {
    const { markdown } = page(false);
    const long = "| cpu-decode-smollm2-135m-Q8_0-2048 |";
    expect(markdown).toContain(`${long} decode | >= 2.5x llama-bench | 2.50 | | met |`);
    expect(markdown).toContain(`${long} decode | >= 2.5x node-llama-cpp | - | | not measured |`);
    expect(markdown).toContain(`${long} bandwidth | >= 0.8x limits | 0.800 | | met |`);
    expect(markdown).toContain("| cpu-divergence-4096 | kl | <= llama-perplexity | 2.10 | | met |");
    expect(markdown).toContain("| cpu-divergence-4096 | top | >= llama-perplexity | 98.0 | | **missed** |");
    expect(markdown).toContain("This one counts as avx2");
    expect(markdown).toContain("| cpu-prefill | all | >= 3x llama-bench | amx |");
    expect(markdown).not.toContain("| cpu-prefill | all | >= 1.3x llama-bench |");
  });

  it("says what has no figures and why, and where the time of what missed goes", () => {
    const { markdown } = page(false);
    expect(markdown).toContain("| cpu-decode-smollm2-135m-Q8_0-128 | linear down | 98.0 % | 75.0 % |");
    expect(markdown).toContain("| cpu-decode-smollm2-135m-Q8_0-128 | others | 2.0 % | |");
    expect(markdown).toContain("| cpu-kv-2048 | baton | it fell over |");
    expect(markdown).toContain("| cpu-load | all | was not asked for |");
    expect(markdown).not.toContain("| cpu-decode | all | was not asked for |");
  });

  it("draws speed against context and batch, and shares of limits", () => {
    const { markdown, pictures } = page(true);
    expect([...pictures.keys()]).toEqual(["decode.svg", "batch.svg", "shares.svg"]);
    for (const name of pictures.keys()) expect(markdown).toContain(`(cpu/${name})`);
    expect(pictures.get("decode.svg")).toContain("<title>llama-bench, 2048: 60.0 (60.0 to 60.0)</title>");
    expect(pictures.get("decode.svg")).not.toContain("limits");
    expect(pictures.get("batch.svg")).toContain("<title>baton, 8: 800 (800 to 800)</title>");
    const shares = pictures.get("shares.svg") ?? "";
    expect(shares).toContain("<title>smollm2-135m-Q8_0-2048: 80.0 (80.0 to 80.0)</title>");
    // The best of a kernel's cases.
    expect(shares).toContain("<title>linear int8 Q8_0: 75.0 (75.0 to 75.0)</title>");
    expect(shares).toContain("<title>linear int8 Q8_0: 90.0 (90.0 to 90.0)</title>");
    expect(markdown).toContain("| read 256 MiB | 20.0 GB/s | 19.0 to 21.0 |");
    expect(page(false).pictures.get("shares.svg")).not.toContain("linear int8");
  });

  const root = fileURLToPath(new URL("../..", import.meta.url));
  const committed = readdirSync(path.join(root, "docs")).filter((name) => /^cpu-\w+\.md$/.test(name));
  it("is committed for some kind of machine", () => expect(committed).not.toEqual([]));
  it.each(committed)("%s is as the committed figures make it", (file) => {
    const markdown = readFileSync(path.join(root, "docs", file), "utf8");
    const files = new Set(markdown.match(/bench\/results\/[\w-]+-(?:cpu|ops)[\w-]*\.json/g));
    const made = pageOf([...files].map((file) => path.join(root, file)));
    expect(`${made.name}.md`).toBe(file);
    expect(made.markdown).toBe(markdown);
    for (const [name, svg] of made.pictures)
      expect(readFileSync(path.join(root, "docs", made.name, name), "utf8")).toBe(svg);
  });
});
