// SPDX-License-Identifier: Apache-2.0
// The addon's own event callback throws once. Prints what the process heard of it and how the job ended.

import { loadNative } from "../../../dist/native/load.js";
import { eventually, greedy, ids, tinyOptions, tinyPath } from "./tiny.mjs";

const uncaught = [];
process.on("uncaughtException", (error) => uncaught.push(error.message));

const native = loadNative();
let ended = null;
const model = await native.openModel(tinyPath, tinyOptions, new Int32Array(1), (events) => {
  const last = events.at(-1);
  if (last.type === "done") ended = "done";
  if (last.type === "failed") ended = last;
  if (uncaught.length === 0) throw new Error("on purpose");
});
const segment = native.createSegment(model, { kind: "input", start: 0, reads: [] });
native.submit(model, { appends: [{ segment, tokens: ids(20) }], generate: greedy(300), logits: "none" });
await eventually(() => ended !== null);
await native.closeModel(model);
console.log(JSON.stringify({ uncaught, ended }));
