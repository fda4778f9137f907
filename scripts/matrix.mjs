// SPDX-License-Identifier: Apache-2.0
// The packages installed in every way that users install them, and run: package managers, versions of Node, ways to load
// them, and what may be amiss. Then what it takes: seconds and bytes.
//
//   matrix.mjs [--only TEXT | --short] [--times] [--prebuilt] [--json FILE] [--keep]
//
// --prebuilt takes the binaries of prebuilds/ as they are; otherwise that of this machine is made. --only runs the rows whose group or name has TEXT, --short the few that CI runs; --times measures, on a machine that does nothing else, and runs no row.
// `--json` adds to the file what was seen: rows by their names, so that parts can be run apart. `node scripts/matrix-page.mjs
// FILE...` writes docs/install.md.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { ensureBuilt, ensureModules, ensureTypeScript } from "./lib/ensure.mjs";
import { packBoth } from "./lib/matrix/pack.mjs";
import { serveRegistry } from "./lib/matrix/registry.mjs";
import { groups, shortRows } from "./lib/matrix/rows.mjs";
import { measure } from "./lib/matrix/times.mjs";
import { matrixTools } from "./lib/matrix/tools.mjs";
import { entry, root, Stop, say } from "./lib/run.mjs";
import { makePrebuilds } from "./prebuilds.mjs";

async function runRows(context, isWanted) {
  const chosen = groups.flatMap(({ name: group, rows }) =>
    rows.filter(({ name }) => isWanted(group, name)).map((row) => ({ group, ...row })),
  );
  if (chosen.length === 0) throw new Stop("no row has that in its name");
  const results = [];
  for (const { group, name, run } of chosen) {
    const result = { group, name, passed: true, seen: "" };
    try {
      result.seen = await run(context);
    } catch (error) {
      if (!(error instanceof Stop)) throw error;
      result.passed = false;
      result.seen = error.message;
    }
    // paths of this machine tell nobody anything
    result.seen = result.seen.replaceAll(context.work, "…").replaceAll(root, "…");
    say(`${result.passed ? "as it must" : "NOT AS IT MUST"}: ${name}: ${result.seen}`);
    results.push(result);
  }
  return results;
}

/** The file's rows with those of now in the place of their namesakes. */
function merged(file, now) {
  const before = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : { rows: [] };
  const isNow = ({ group, name }) => now.rows.some((row) => row.group === group && row.name === name);
  return { ...before, ...now, rows: [...before.rows.filter((row) => !isNow(row)), ...now.rows] };
}

function machine() {
  const [cpu] = os.cpus();
  return {
    cpu: cpu?.model ?? "unknown",
    cores: os.availableParallelism(),
    kernel: `${os.type()} ${os.release()}`,
  };
}

await entry(async () => {
  const options = {
    only: { type: "string" },
    times: { type: "boolean" },
    short: { type: "boolean" },
    prebuilt: { type: "boolean" },
    json: { type: "string" },
    keep: { type: "boolean" },
  };
  const { values } = parseArgs({ options });
  if (values.prebuilt) {
    await ensureModules();
    await ensureTypeScript();
  } else {
    await ensureBuilt();
    makePrebuilds();
  }
  const work = mkdtempSync(path.join(os.tmpdir(), "baton-matrix-"));
  const packed = packBoth(work);
  const registry = await serveRegistry(packed.platforms);
  let tools;
  const context = {
    ...{ ...packed, work, registry, caches: path.join(root, "build-cmake/matrix-caches") },
    get tools() {
      tools ??= matrixTools(); // some hundred megabytes, which not all rows need
      return tools;
    },
  };
  const isWanted = (group, name) =>
    values.short ? shortRows.includes(name) : `${group} ${name}`.includes(values.only ?? "");
  try {
    const rows = values.times ? [] : await runRows(context, isWanted);
    const times = values.times ? { times: await measure(context) } : {};
    const facts = {
      suite: "install",
      date: new Date().toISOString().slice(0, 10),
      machine: machine(),
      ...(tools && { tools: tools.versions }),
    };
    const all = { ...facts, ...times, rows };
    if (values.json) writeFileSync(values.json, `${JSON.stringify(merged(values.json, all), null, 2)}\n`);
    return rows.every((row) => row.passed) ? 0 : 1;
  } finally {
    registry.close();
    if (values.keep) say(`kept ${work}`);
    else rmSync(work, { recursive: true });
  }
});
