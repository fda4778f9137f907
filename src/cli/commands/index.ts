// SPDX-License-Identifier: Apache-2.0
// The commands of `baton`. A new one is a file and a line here.

import { buildCommand } from "./build.js";
import type { CliCommand } from "./command.js";
import { doctorCommand } from "./doctor.js";
import { explainCommand } from "./explain.js";
import { exportCommand } from "./export.js";
import { inspectCommand } from "./inspect.js";
import { pullCommand } from "./pull.js";
import { runCommand } from "./run.js";
import { serveCommand } from "./serve.js";
import { tuneCommand } from "./tune.js";

export const commands: readonly CliCommand[] = [
  runCommand,
  serveCommand,
  explainCommand,
  tuneCommand,
  exportCommand,
  pullCommand,
  inspectCommand,
  doctorCommand,
  buildCommand,
];
