// SPDX-License-Identifier: Apache-2.0
// The rows of the install matrix: what is done, and what must be seen. A row returns the line that it saw, which is what
// the page shows, and throws where that is not what users shall see.
import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { root, Stop } from "../run.mjs";
import { addPrograms, emptyProject, install, poorPath, programEnv, run } from "./project.mjs";

const model = path.join(root, "test/fixtures/tiny-llama/tiny-q4_1.gguf");
const binaryOf = (folder) => {
  const scope = path.join(folder, "node_modules/@baton-lm");
  return path.join(scope, readdirSync(scope)[0], "baton.node");
};
const lastLine = (text) => text.trim().split("\n").at(-1);

/** Runs a program of scripts/smoke and returns its last line; `refused` is what must be in the words of one that fails. */
async function start(folder, program, { node = process.execPath, args = [model], env, refused } = {}) {
  const done = await run(node, [program, ...args], { cwd: folder, env: programEnv(env) });
  if (refused === undefined) {
    if (done.code !== 0) throw new Stop(`${program} ended with ${done.code}: ${done.text.slice(-2000)}`);
    return lastLine(done.out);
  }
  const line = done.text.split("\n").find((one) => refused.test(one));
  if (typeof done.code !== "number" || done.code === 0 || !line)
    throw new Stop(`${program} ended with ${done.code}, and not with ${refused}: ${done.text.slice(-2000)}`);
  return line.trim();
}

/** One project with npm that several rows run in. */
async function shared(context) {
  context.project ??= (async () => {
    const folder = emptyProject(context.work, "shared", context.registry);
    await install(context, "npm", folder, { options: ["--ignore-scripts"] });
    const programs = ["installed-chain.mjs", "short-chain.mjs", "required-chain.cjs", "worker-chain.mjs"];
    addPrograms(folder, ...programs);
    return folder;
  })();
  return context.project;
}

async function managed(context, manager, options = []) {
  const folder = emptyProject(
    context.work,
    [manager, ...options].join("").replace(/\W+/g, "-"),
    context.registry,
  );
  await install(context, manager, folder, { options });
  addPrograms(folder, "installed-chain.mjs");
  return { folder, seen: await start(folder, "installed-chain.mjs") };
}

const managerRows = [
  { name: "npm", run: async (context) => (await managed(context, "npm")).seen },
  {
    name: "npm --ignore-scripts",
    run: async (context) => (await managed(context, "npm", ["--ignore-scripts"])).seen,
  },
  { name: "pnpm", run: async (context) => (await managed(context, "pnpm")).seen },
  { name: "bun, run by Node", run: async (context) => (await managed(context, "bun")).seen },
  {
    name: "bun, run by bun",
    async run(context) {
      const folder = path.join(context.work, "bun");
      return start(folder, "installed-chain.mjs", { node: context.tools.bun });
    },
  },
];

const nodeRow = (version) => ({
  name: `Node ${version}`,
  run: async (context) =>
    start(await shared(context), "installed-chain.mjs", { node: context.tools.nodes[version] }),
});

/** In place of a run: by `import`, by `require` and by `npx baton`, each one sentence. */
const oldNode = {
  name: "Node 18",
  async run(context) {
    const folder = await shared(context);
    const node = context.tools.nodes["18"];
    const refused = /Node 18\.[\d.]+,? (?:and (?:baton-lm|Baton) needs|and this)|needs Node 20\.19.*18\./;
    const imported = await start(folder, "short-chain.mjs", { node, refused });
    await start(folder, "required-chain.cjs", { node, refused });
    await start(folder, "node_modules/baton-lm/bin/baton.cjs", { node, args: ["doctor"], refused });
    return imported;
  },
};

const formRows = [
  {
    name: "import",
    run: async (context) => start(await shared(context), "short-chain.mjs"),
  },
  {
    name: "require()",
    run: async (context) => start(await shared(context), "required-chain.cjs"),
  },
  {
    name: "require() on Node 20.19.0",
    run: async (context) =>
      start(await shared(context), "required-chain.cjs", { node: context.tools.nodes["20.19.0"] }),
  },
  {
    name: "require() on Node 22.12.0",
    run: async (context) =>
      start(await shared(context), "required-chain.cjs", { node: context.tools.nodes["22.12.0"] }),
  },
  {
    name: "worker_threads",
    run: async (context) => start(await shared(context), "worker-chain.mjs"),
  },
  ...["esm", "cjs"].flatMap((format) => [bundleRow(format, true), bundleRow(format, false)]),
];

function bundleRow(format, external) {
  const file = `bundled-${format}${external ? "-external" : ""}.${format === "esm" ? "mjs" : "cjs"}`;
  return {
    name: `bundled by esbuild as ${format === "esm" ? "ESM" : "CommonJS"}, baton-lm ${external ? "external" : "inside"}`,
    async run(context) {
      const folder = await shared(context);
      const { build } = await import("esbuild");
      await build({
        ...{ absWorkingDir: folder, entryPoints: ["short-chain.mjs"], outfile: file },
        ...{
          bundle: true,
          platform: "node",
          format,
          logLevel: "error",
          external: external ? ["baton-lm"] : [],
        },
      });
      return start(folder, file);
    },
  };
}

const hardRows = [
  {
    name: "no compiler on PATH",
    async run(context) {
      const bin = poorPath(path.join(context.work, "poor-bin"), process.execPath);
      const folder = emptyProject(context.work, "poor", context.registry);
      await install(context, "npm", folder, { env: { PATH: bin } });
      addPrograms(folder, "installed-chain.mjs");
      return start(folder, "installed-chain.mjs", { env: { PATH: bin } });
    },
  },
  {
    name: "offline, npm's cache warm",
    async run(context) {
      const folder = emptyProject(context.work, "offline", context.registry);
      await shared(context); // has been online, with the same cache
      await install(context, "npm", folder, { options: ["--offline"] });
      addPrograms(folder, "installed-chain.mjs");
      return start(folder, "installed-chain.mjs");
    },
  },
  {
    name: "without optional dependencies (npm --omit=optional)",
    async run(context) {
      const folder = emptyProject(context.work, "omitted", context.registry);
      await install(context, "npm", folder, { options: ["--omit=optional"] });
      addPrograms(folder, "native-error.mjs");
      return start(folder, "native-error.mjs");
    },
  },
  ...[0.5, 0.99, 0].map((share) => ({
    name: `prebuilt binary cut to ${share * 100} %`,
    async run(context) {
      const folder = emptyProject(context.work, `cut-${share * 100}`, context.registry);
      await install(context, "npm", folder);
      const file = binaryOf(folder);
      truncateSync(file, Math.floor(statSync(file).size * share));
      addPrograms(folder, "native-error.mjs");
      return start(folder, "native-error.mjs");
    },
  })),
  {
    name: "prebuilt binary is no binary",
    async run(context) {
      const folder = emptyProject(context.work, "garbage", context.registry);
      await install(context, "npm", folder);
      const file = binaryOf(folder);
      const { length } = readFileSync(file);
      rmSync(file);
      writeFileSync(file, Buffer.alloc(length, "baton"));
      addPrograms(folder, "native-error.mjs");
      return start(folder, "native-error.mjs");
    },
  },
  {
    name: "two versions in one process",
    async run(context) {
      const folder = emptyProject(context.work, "two", context.registry);
      const specs = [context.base.tarball, `baton-lm-next@file:${context.next.tarball}`];
      await install(context, "npm", folder, { specs });
      addPrograms(folder, "two-versions.mjs");
      return start(folder, "two-versions.mjs");
    },
  },
];

/** Rows that need none of the matrix's own tools and are not said by others: under a minute, for checks of every change. */
export const shortRows = [
  "require()",
  "worker_threads",
  "bundled by esbuild as ESM, baton-lm inside",
  "bundled by esbuild as CommonJS, baton-lm inside",
  "prebuilt binary cut to 50 %",
  "two versions in one process",
];

/** Groups in the order of the page. */
export const groups = [
  { name: "Package managers", rows: managerRows },
  { name: "Nodes", rows: [oldNode, ...["20.19.0", "20", "22", "24"].map(nodeRow)] },
  { name: "Ways to load it", rows: formRows },
  { name: "Where something is amiss", rows: hardRows },
];
