// SPDX-License-Identifier: Apache-2.0
// Installs the training rivals (PyTorch, transformers, PEFT) into a virtual environment beside this file. The packages
// are large; BATON_BENCH_PYTHON names an interpreter that has them already.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const folder = path.join(here, ".venv");
const python = process.env.BATON_BENCH_PYTHON ?? path.join(folder, "bin/python");
const probe = "import torch, transformers, peft, gguf";

const works = () => existsSync(python) && spawnSync(python, ["-c", probe]).status === 0;

function run(command, args) {
  const done = spawnSync(command, args, { stdio: ["ignore", "ignore", "inherit"] });
  if (done.status === 0) return;
  console.error(
    `${command} ${args.join(" ")} failed; install Python 3.10 or newer with venv, or name one in BATON_BENCH_PYTHON`,
  );
  process.exit(1);
}

if (!works()) {
  if (process.env.BATON_BENCH_PYTHON !== undefined) {
    console.error(
      `${python} cannot "${probe}": install bench/rivals/requirements.txt there, or unset BATON_BENCH_PYTHON`,
    );
    process.exit(1);
  }
  console.error("installing PyTorch, transformers and PEFT (some GB)");
  run("python3", ["-m", "venv", folder]);
  run(python, ["-m", "pip", "install", "--quiet", "-r", path.join(here, "requirements.txt")]);
  if (!works()) {
    console.error(`${python} cannot "${probe}" after the installation`);
    process.exit(1);
  }
}
