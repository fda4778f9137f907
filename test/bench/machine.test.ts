// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { shapeNames, weightTypeNames } from "../../bench/models/shapes.js";
import { othersShare, parseCpuTimes } from "../../bench/runner/load.js";
import { describeMachine, machineSlug } from "../../bench/runner/machine.js";
import { readOptions, UsageError } from "../../bench/runner/options.js";
import { tokenIds } from "../../bench/tokens.js";
import { workloadOf, workloads } from "../../bench/workloads/index.js";

const cpuinfo = `processor\t: 0
model name\t: Imagined EPYC 9
cpu family\t: 25
model\t\t: 17
stepping\t: 1
cache size\t: 1024 KB
flags\t\t: fpu sse2 avx avx2 fma avx512f avx512_vnni rdpid

processor\t: 1
model name\t: another
`;

describe("describeMachine", () => {
  it("takes the first processor and the flags that matter", () => {
    const machine = describeMachine(cpuinfo);
    expect(machine).toMatchObject({ cpu: "Imagined EPYC 9", cpuId: "25.17.1", cacheKiB: 1024 });
    expect(machine.isa).toEqual(["avx", "avx2", "fma", "avx512f", "avx512_vnni"]);
    expect(machineSlug({ ...machine, cores: 2 })).toBe("imagined-epyc-9-25.17.1-2c");
  });

  it("describes this machine", () => {
    const machine = describeMachine();
    expect(machine.cores).toBeGreaterThan(0);
    expect(machine.node).toBe(process.version);
  });
});

describe("load", () => {
  // user nice system idle iowait irq softirq steal; utime stime cutime cstime are fields 14 to 17 of the process.
  const stat = (user: number, idle: number, steal = 0) =>
    `cpu  ${user} 0 0 ${idle} 0 0 0 ${steal} 0 0\ncpu0 1 1 1`;
  const self = (own: number) => `7 (a (b) c) S 1 1 1 0 -1 0 0 0 0 0 ${own} 0 0 0 20 0 1`;

  it("counts as others' what was busy and not ours, in cores", () => {
    const from = parseCpuTimes(stat(0, 0), self(0));
    expect(othersShare(from, parseCpuTimes(stat(100, 100), self(100)), 2)).toBe(0);
    expect(othersShare(from, parseCpuTimes(stat(150, 50), self(100)), 2)).toBe(0.5);
  });

  it("counts time that the host took as others'", () => {
    const from = parseCpuTimes(stat(0, 0), self(0));
    expect(othersShare(from, parseCpuTimes(stat(100, 80, 20), self(100)), 2)).toBe(0.2);
  });
});

const known = { suites: ["engine"], devices: ["cpu"], rivals: ["x", "y"], cases: ["prefill", "prefill-128"] };

describe("readOptions", () => {
  it("has defaults for everything", () => {
    const options = readOptions([], known);
    expect(options).toMatchObject({
      suite: "engine",
      device: "cpu",
      rivals: ["x", "y"],
      quick: false,
      only: [],
    });
    expect(options.threads).toBeGreaterThan(0);
    expect(readOptions(["--quick"], known).patienceMs).toBeLessThan(options.patienceMs);
  });

  it("reads lists", () => {
    expect(readOptions(["--rivals", "none"], known).rivals).toEqual([]);
    expect(readOptions(["--rivals", "y"], known).rivals).toEqual(["y"]);
    expect(readOptions(["--only", "prefill-128,prefill"], known).only).toEqual(["prefill-128", "prefill"]);
  });

  it("takes the data's folder from the command line, else from the environment", () => {
    const before = process.env.BATON_DATA;
    try {
      process.env.BATON_DATA = "there";
      expect(readOptions([], known).data).toBe("there");
      expect(readOptions(["--data", "here"], known).data).toBe("here");
      process.env.BATON_DATA = "";
      expect(readOptions([], known).data).toBeUndefined();
      delete process.env.BATON_DATA;
      expect(readOptions([], known).data).toBeUndefined();
    } finally {
      if (before !== undefined) process.env.BATON_DATA = before;
    }
  });

  it.each([
    [["--suite", "nope"], /--suite nope: must be engine/],
    [["--rivals", "x,z"], /--rivals z: must be x or y/],
    [["--threads", "0"], /--threads 0: must be a whole number from 1/],
    [["--unknown"], /--unknown/],
  ])("refuses %j in one sentence", (args, message) => {
    expect(() => readOptions(args, known)).toThrow(UsageError);
    expect(() => readOptions(args, known)).toThrow(message);
  });
});

describe("workloads", () => {
  it("have unique case ids that lead back to them, full and quick", () => {
    for (const quick of [false, true]) {
      const cases = workloads.flatMap((one) =>
        one
          .cases(quick, { shapes: shapeNames, types: weightTypeNames })
          .map((each) => ({ one, id: each.id })),
      );
      expect(new Set(cases.map(({ id }) => id)).size).toBe(cases.length);
      for (const { one, id } of cases) expect(workloadOf(id)).toBe(one);
    }
  });

  it("state floors only for metrics that they measure", () => {
    for (const { metrics, floors } of workloads) {
      const names = metrics.map((metric) => metric.name);
      for (const floor of floors) expect(names).toContain(floor.metric);
    }
  });
});

describe("tokenIds", () => {
  it("gives the same ids for the same seed, within the vocabulary of the smallest family", () => {
    expect(tokenIds(64)).toEqual(tokenIds(64));
    expect(tokenIds(64, 2)).not.toEqual(tokenIds(64));
    const ids = tokenIds(4096);
    expect(Math.min(...ids)).toBeGreaterThanOrEqual(256);
    expect(Math.max(...ids)).toBeLessThan(32256);
  });
});
