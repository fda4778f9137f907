// SPDX-License-Identifier: Apache-2.0
// How results are typed by `output`. Checked by `tsc --noEmit`, never executed.

import * as z from "zod";
import type { CacheHandle, Model, StageResult } from "../../src/index.js";
import { defineChain } from "../../src/index.js";

declare const model: Model;
declare const handle: CacheHandle;

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Equal<A, B>): void {}

const person = z.object({ name: z.string(), born: z.string().transform((text) => new Date(text)) });

async function handles() {
  const { object } = await handle.generate({ output: person }).result;
  same<typeof object, { name: string; born: Date }>(true);
  same<Awaited<ReturnType<typeof regex>>, string>(true);
  async function regex() {
    return (await handle.generate({ output: { regex: /a/ } }).result).object;
  }
  const json = await handle.generate({ output: { jsonSchema: {} } }).result;
  same<typeof json.object, unknown>(true);
  const both = await handle.generate({ output: { jsonSchema: {}, schema: person } }).result;
  same<typeof both.object.born, Date>(true);
  const free = await handle.generate({ maxTokens: 1 }).result;
  same<typeof free.object, unknown>(true);
  // @ts-expect-error no schema
  handle.generate({ output: 3 });
}
void handles;

const chain = defineChain(model)
  .input("question")
  .stage("who", { output: person, reads: ["question"] })
  .stage("free", { reads: ["who"] })
  .input("next", {
    from: ({ who, free }) => {
      same<typeof who.object.born, Date>(true);
      same<typeof free, StageResult>(true);
      return who.object.name;
    },
  })
  .fanOut("votes", { samples: 2 }, (branch) => branch.stage("vote", { output: { regex: "yes|no" } }))
  .join("pick", { reads: ["votes"], output: z.enum(["yes", "no"]) });

async function runs() {
  const { who, votes, pick } = await chain.run({ question: "" }).result;
  same<typeof who.object, { name: string; born: Date }>(true);
  same<typeof who.text, string>(true);
  same<typeof pick.object, "yes" | "no">(true);
  for (const { vote } of votes) same<typeof vote.object, string>(true);
}
void runs;

// @ts-expect-error a name that is taken
chain.stage("who", { output: person });
