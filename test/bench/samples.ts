// SPDX-License-Identifier: Apache-2.0
// A small report for the tests of the runner's pure parts.
import type { Report, Result } from "../../bench/runner/report.js";

export function result(fields: Partial<Result> = {}): Result {
  return {
    workload: "prefill-512",
    subject: "baton",
    metric: "prefill",
    unit: "tok/s",
    median: 800,
    min: 790,
    max: 820,
    n: 5,
    disturbed: 0,
    ...fields,
  };
}

export function report(results: Result[]): Report {
  return {
    machine: {
      cpu: "Imagined CPU",
      cpuId: "6.1.2",
      cores: 2,
      isa: ["avx2", "fma"],
      cacheKiB: 1024,
      memoryGiB: 8,
      kernel: "Linux 6.1",
      node: "v20.20.2",
    },
    date: "2026-11-21T12:00:00.000Z",
    commit: "abc",
    settings: { model: "some.gguf", threads: 2, device: "cpu", quick: false },
    subjects: { baton: "kernels avx2" },
    results,
  };
}
