#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// What `baton` starts: it looks at the version of Node, in words that any old one can read, before it loads anything that
// such a one could not.
"use strict";

const [major, minor] = process.versions.node.split(".").map(Number);
if (major > 20 || (major === 20 && minor >= 19)) {
  import("../dist/bundle/cli.js");
} else {
  const remedy = "Install a newer one, for example the current LTS release.";
  process.stderr.write(
    `baton: this is Node ${process.versions.node}, and Baton needs 20.19 or newer. ${remedy}\n`,
  );
  process.exitCode = 1;
}
