// SPDX-License-Identifier: Apache-2.0
// What a release is refused for before anything is packed.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { root } from "../../scripts/lib/run.mjs";

const { version } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
const changelog = readFileSync(path.join(root, "CHANGELOG.md"), "utf8");

function release(tag: string) {
  const { status, stderr } = spawnSync(process.execPath, ["scripts/release.mjs", "--tag", tag], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, GITHUB_REPOSITORY: "" },
  });
  return { status, stderr };
}

describe("release.mjs", () => {
  it("refuses a tag that is not package.json's version", () => {
    expect(release("v9.9.9")).toEqual({
      status: 1,
      stderr: `baton: the tag is v9.9.9, and package.json has ${version}\n`,
    });
  });

  it("refuses a version whose section of the changelog has no date yet", (context) => {
    const heading = `## ${version} - not released yet`;
    context.skip(!changelog.includes(heading), "this version has its date");
    expect(release(`v${version}`)).toEqual({
      status: 1,
      stderr: `baton: CHANGELOG.md says "${heading}": write the date of the release there\n`,
    });
  });
});
