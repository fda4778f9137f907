// SPDX-License-Identifier: Apache-2.0
// What is linked into the addon is named with its licence. What is in the base package: test/scripts/vendor.test.ts.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const text = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

test("THIRD_PARTY.md names every crate of Cargo.lock, and no other", () => {
  const lock = text("native/engine/constrain/llguidance/Cargo.lock");
  const locked = [...lock.matchAll(/^name = "([^"]+)"$/gm)].map(([, name]) => name as string);
  const crates = new Set(locked.filter((name) => name !== "baton-llguidance"));
  const notices =
    text("THIRD_PARTY.md")
      .split(/^## /m)
      .find((section) => section.startsWith("In the compiled addon")) ?? "";
  const table = [...notices.matchAll(/^\| ([a-z][\w, -]+?) +\|/gm)].flatMap(([, names]) =>
    (names as string).split(", "),
  );
  const compiling = /while it compiles: ([^.]+)\./.exec(notices)?.[1]?.split(/,\s+/) ?? [];
  const named = new Set([...table, ...compiling].filter((name) => name !== "crate"));
  expect(named).toEqual(crates);
});
