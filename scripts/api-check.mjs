// SPDX-License-Identifier: Apache-2.0
// The server against its own OpenAPI document: schemathesis makes requests from the schemas, sound and broken ones, and
// looks at whether what comes back is what the document says, and never a failure of the server. It comes from PyPI into a
// virtual environment beside the models; where that cannot be had the check is left out, and the last line says why.
//
// In the document that it is given, names are those of the server it meets: others would be answered with 404 alone. One
// check is off, that every request which the schemas allow is taken: contexts end, and some fields exclude each other.
//
//   npm run test:api [-- --examples N --seed N]     20 examples for each operation
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { ensureBuilt } from "./lib/ensure.mjs";
import { entry, root, Stop, say } from "./lib/run.mjs";

const version = "4.32.5";

/** The program, or null with the reason said. */
function schemathesis() {
  const cache = process.env.XDG_CACHE_HOME || path.join(os.homedir(), ".cache");
  const folder = path.join(cache, "baton", `schemathesis-${version}`);
  const program = path.join(folder, "bin/schemathesis");
  if (existsSync(path.join(folder, "complete"))) return program;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(path.dirname(folder), { recursive: true });
  const steps = [
    ["python3", ["-m", "venv", folder]],
    [
      path.join(folder, "bin/python"),
      ["-m", "pip", "install", "-q", "--disable-pip-version-check", `schemathesis==${version}`],
    ],
  ];
  for (const [command, args] of steps) {
    const done = spawnSync(command, args, { encoding: "utf8", timeout: 300_000 });
    if (done.status === 0) continue;
    const why = done.error?.message ?? done.stderr.trim().split("\n").at(-1);
    say(`left out: the server against its OpenAPI document (${command} ${args[1]}: ${why})`);
    return null;
  }
  writeFileSync(path.join(folder, "complete"), "");
  return program;
}

async function startServer() {
  const load = (file) => import(pathToFileURL(path.join(root, "dist", file)).href);
  const { defineChain, loadModel } = await load("index.js");
  const { createServer } = await load("serve/index.js");
  const file = path.join(root, "test/fixtures/tiny-llama/tiny-q8_0.gguf");
  const model = await loadModel(file, { threads: 1, cacheBytes: 64 << 20 });
  const qa = defineChain(model).input("question").stage("answer", { maxTokens: 8 });
  const server = await createServer({ models: { tiny: model }, chains: { qa }, reloadMs: 0 });
  const { url } = await server.listen({ port: 0 });
  const close = async () => {
    await server.close({ limitMs: 0 });
    await model.close();
  };
  return { url, close };
}

/** The server's document with the names that it serves. */
async function documentOf(url) {
  const document = await (await fetch(`${url}/openapi.json`)).json();
  const { schemas } = document.components;
  for (const name of ["ChatCompletionRequest", "CompletionRequest"])
    schemas[name].properties.model = { type: "string", enum: ["tiny"] };
  const { inputs } = schemas.ChainRunRequest.properties;
  Object.assign(inputs, {
    properties: { question: { type: "string", minLength: 1 } },
    required: ["question"],
  });
  for (const [route, operations] of Object.entries(document.paths)) {
    if (!route.startsWith("/v1/chains/")) continue;
    for (const { parameters = [] } of Object.values(operations))
      for (const one of parameters) if (one.name === "name") one.schema = { type: "string", enum: ["qa"] };
  }
  return document;
}

await entry(async () => {
  const { values } = parseArgs({ options: { examples: { type: "string" }, seed: { type: "string" } } });
  await ensureBuilt();
  const program = schemathesis();
  if (program === null) return;
  const { url, close } = await startServer();
  const folder = mkdtempSync(path.join(os.tmpdir(), "baton-api-"));
  try {
    const file = path.join(folder, "openapi.json");
    writeFileSync(file, JSON.stringify(await documentOf(url)));
    const args = ["run", file, "--url", url, "--phases", "coverage,fuzzing", "--no-color"];
    args.push("--exclude-checks", "positive_data_acceptance", "--max-examples", values.examples ?? "20");
    if (values.seed !== undefined) args.push("--seed", values.seed);
    // the server is in this process: it must be free to answer
    const run = spawn(program, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [run.stdout, run.stderr])
      stream.on("data", (part) => {
        output += part;
      });
    const code = await new Promise((resolve) => run.on("close", resolve));
    if (code !== 0) {
      process.stderr.write(output);
      throw new Stop(`schemathesis found faults (exit code ${code}); they are above`);
    }
    const cases = /(\d+) generated/.exec(output)?.[1];
    if (cases === undefined || Number(cases) < 100)
      throw new Stop(`only ${cases} requests were made:\n${output}`);
    say(`the server answered ${cases} requests as its OpenAPI document says`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await close();
  }
});
