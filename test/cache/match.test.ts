// SPDX-License-Identifier: Apache-2.0
// match: what of a text a handle has already, and soft prompts as contents of a handle.

import { expect, test } from "vitest";
import { failure } from "../chain/failure.js";
import { loadTiny } from "../chain/tiny-model.js";
import { free, ids } from "./snapshot-support.js";

test("the first rows that are the same are counted, closed, open and owed ones, and nothing changes", async () => {
  const model = await loadTiny();
  const handle = model.cache.open();
  expect(await handle.match(ids(5, 1))).toEqual({ rows: 5, common: 0 });
  await handle.append(ids(20, 1));
  const fork = handle.fork();
  await handle.append(ids(30, 2));
  const { tokens } = await handle.generate({ ...free, maxTokens: 6 }).result;
  const all = [...ids(20, 1), ...ids(30, 2), ...tokens];
  expect(handle.rows).toBe(all.length);
  expect(await handle.match(all)).toEqual({ rows: 56, common: 56 });
  expect(await handle.match(all.slice(0, 20), all.slice(20, 33))).toEqual({ rows: 33, common: 33 });
  expect(await handle.match([...all, 7])).toEqual({ rows: 57, common: 56 });
  for (const at of [0, 19, 20, 37, 50, 55]) {
    const other = all.map((id, i) => (i === at ? (id + 1) % model.info.vocab : id));
    expect(await handle.match(other)).toEqual({ rows: 56, common: at });
  }
  expect(handle.rows).toBe(all.length);
  expect((await fork.match(all)).common).toBe(20);
  handle.truncate(37);
  expect((await handle.match(all)).common).toBe(37);
  await model.close();
});

test("texts are rows as append would have them, and what is none is refused", async () => {
  const model = await loadTiny();
  const handle = model.cache.open();
  await handle.append("The harbour of Marsk ");
  await handle.append("freezes.");
  expect(await handle.match("The harbour of Marsk ", "freezes.")).toMatchObject({ common: handle.rows });
  expect((await handle.match("The harbour of Oslo ")).common).toBeGreaterThan(0);
  expect((await failure(handle.match(""))).code).toBe("OPTION_INVALID");
  expect((await failure(handle.match([model.info.vocab]))).code).toBe("OPTION_INVALID");
  const session = await model.session({ id: "a" });
  await session.append("The harbour of Marsk ");
  expect((await session.match("The harbour of Marsk ", "thaws.")).common).toBe(session.rows);
  handle.close();
  expect((await failure(handle.match("a"))).code).toBe("CLOSED");
  await model.close();
});

test("soft prompts are contents: a text's tokens, and rows by their numbers", async () => {
  const model = await loadTiny();
  const { hidden } = model.info;
  const rows = Float32Array.from({ length: 3 * hidden }, (_, i) => Math.sin(i) / 10);
  const [soft, plain] = [model.cache.open(), model.cache.open()];
  await soft.append({ prompt: { rows, count: 3 } });
  await plain.append({ rows, count: 3 });
  await soft.append(ids(4, 1));
  await plain.append(ids(4, 1));
  const texts = [soft, plain].map(
    async (one) => (await one.generate({ ...free, maxTokens: 6 }).result).tokens,
  );
  const [one, other] = await Promise.all(texts);
  expect(one).toEqual(other);
  expect(await soft.match({ prompt: { rows, count: 3 } }, ids(4, 1))).toEqual({ rows: 7, common: 7 });
  const changed = rows.map((value, i) => (i === hidden + 2 ? value + 1e-3 : value));
  expect((await soft.match({ rows: changed, count: 3 })).common).toBe(1);
  const text = model.cache.open();
  const { rows: appended } = await text.append({ prompt: { text: "Be brief. ", virtualTokens: 9 } });
  expect(appended).toBe(9);
  const error = await failure(text.append({ prompt: "no/such/folder" }));
  expect(error.code).toBe("PROMPT_INVALID");
  await model.close();
});
