// SPDX-License-Identifier: Apache-2.0
// Two specialists over one frozen model and one KV cache: `compress` reads a text and notes what matters, `answer`
// reads the note as it stands in the cache and answers. Both soft prompts are trained, that of `answer` while it read
// notes that `compress` had written (prompts/README.md). The same chain with the texts that they began as shows what
// training has brought. --untuned leaves the trained prompts out.
//
// Then the same two roles with text handed over instead of KV, run for real, and what each way costs.
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { BatonError, defineChain, loadModel } from "baton-lm";

const options = { untuned: { type: "boolean" }, model: { type: "string" } };
const { values: flags, positionals } = parseArgs({ options, allowPositionals: true });

const passages = `Marsk is a harbour town of nine thousand people. Its harbour freezes for eleven weeks a year, and then supplies come by road.

The lighthouse on Ferry Rock was built in 1871 by the engineer Ada Lindqvist. In 1987 it was moved forty metres inland on rails, because the cliff below it was crumbling.

The town museum keeps the old lamp of the lighthouse and the diary of its last keeper, Jon Varga. It is open from Tuesday to Saturday.`;
const question = positionals[0] ?? "When was the lighthouse built?";

const folderOf = (stage) => fileURLToPath(new URL(`../prompts/compress-answer/${stage}`, import.meta.url));
const trained = { compress: folderOf("compress"), answer: folderOf("answer") };
/** The roles as they were trained, but for the prompts: here are the texts that those began as. */
const roles = {
  compress: {
    prompt: {
      text: "Extract from the passages the evidence that is needed to answer the question. ",
      virtualTokens: 50,
    },
    opener: "Evidence:",
    maxTokens: 96,
  },
  answer: {
    prompt: {
      text: "Answer the question with a short phrase, using the evidence. ",
      virtualTokens: 50,
    },
    opener: "Answer:",
    maxTokens: 24,
  },
};
const formats = {
  question: "Question: {question}\n",
  passages: "Passages:\n{passages}\n",
  notes: "Evidence: {notes}",
};

/** Both read the question, `compress` reads the text, too; `answer` reads what `compress` has left in the cache. */
function sharedChain(model) {
  return defineChain(model)
    .input("question", { format: formats.question })
    .input("passages", { format: formats.passages })
    .stage("compress", { ...roles.compress, reads: ["question", "passages"] })
    .stage("answer", { ...roles.answer, reads: ["question", "compress"] });
}

/** The same roles with text handed over: each stage reads everything behind its own prompt, from the start. */
function recomputeChains(model) {
  const compress = defineChain(model)
    .input("question", { format: formats.question })
    .input("passages", { format: formats.passages })
    .stage("compress", { ...roles.compress, own: ["question", "passages"] });
  const answer = defineChain(model)
    .input("question", { format: formats.question })
    .input("notes", { format: formats.notes })
    .stage("answer", { ...roles.answer, own: ["question", "notes"] });
  return async () => {
    const first = await compress.run({ passages, question }).result;
    const second = await answer.run({ question, notes: first.compress.text }).result;
    return { ...first, ...second };
  };
}

/** Prints what every stage writes as it comes, from its first letter on. */
async function show(run) {
  let begun = false;
  for await (const event of run) {
    if (event.type === "stage-start") {
      process.stdout.write(`${event.stage.padEnd(10)}`);
      begun = false;
    } else if (event.type === "text-delta") {
      const text = begun ? event.text : event.text.trimStart();
      begun ||= text !== "";
      process.stdout.write(text);
    } else if (event.type === "stage-end") process.stdout.write("\n");
  }
  await run.result;
}

function costTable(ways) {
  const header = ["", "stage", "rows computed", "rows reused", "first token", "KV held"];
  const rows = Object.entries(ways).flatMap(([way, results]) =>
    Object.entries(results).map(([stage, { usage }]) => [
      way,
      stage,
      String(usage.rowsComputed),
      String(usage.rowsReused),
      `${usage.timeToFirstTokenMs.toFixed(1)} ms`,
      `${(usage.kvBytes / 2 ** 20).toFixed(2)} MiB`,
    ]),
  );
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** One line for each source that is tried and for each quarter of a download. */
function reportLoad() {
  let last = "";
  return ({ source, phase, done, total, detail }) => {
    const share = phase === "download" && total ? ` ${Math.floor((4 * done) / total) * 25} %` : "";
    const line = `model      ${source}: ${phase}${share}${phase === "failed" ? ` (${detail})` : ""}`;
    if (line !== last && phase !== "start") console.log(line);
    last = line;
  };
}

async function main() {
  // Without content index: what one way has computed must not be found by the other.
  const name = flags.model ?? "smollm2-135m-instruct";
  const model = await loadModel(name, { indexBytes: 0, onProgress: reportLoad() });
  try {
    const { weightType, isa, threads } = model.info;
    console.log(`           ${model.name}, ${weightType}, ${isa} kernels, ${threads} threads\n`);
    const chain = sharedChain(model);
    console.log(`${passages}\n\nquestion  ${question}`);
    if (!flags.untuned) {
      console.log("\nWith the trained prompts (prompts/compress-answer):\n");
      await show(chain.withPrompts(trained).run({ passages, question }));
    }
    console.log("\nThe same chain before training, with the texts that the prompts began as:\n");
    await show(chain.run({ passages, question }));

    console.log("\nWhere everything stands (frames, views, shifts):\n");
    console.log(String(await chain.explain({ passages, question })));

    // both ways once unmeasured (the streamed run above, and this one), then once measured: all prompts are warm
    const recompute = recomputeChains(model);
    await recompute();
    const shared = await chain.run({ passages, question }).result;
    const recomputed = await recompute();
    console.log(
      "\nWhat it costs, KV shared or text handed over and everything read again (both before training,",
    );
    console.log("since nobody has trained prompts for the second way):\n");
    console.log(costTable({ shared, recompute: recomputed }));
    console.log(`\nanswers   shared: ${shared.answer.text}\n       recompute: ${recomputed.answer.text}`);
  } finally {
    await model.close();
  }
}

try {
  await main();
} catch (error) {
  if (!BatonError.isInstance(error)) throw error;
  console.error(`demo: ${error.message} [${error.code}]`);
  process.exitCode = 1;
}
