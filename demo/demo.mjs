// SPDX-License-Identifier: Apache-2.0
// Two specialists over one frozen model and one KV cache: `compress` reads a text and notes what matters, `answer`
// reads what is cached and answers. The soft prompts are texts here; trained ones are folders in the same place.
//
// Then the same two roles with text handed over instead of KV, run for real, and what each way costs.
import { BatonError, defineChain, loadModel } from "baton-lm";

const passages = `Marsk is a harbour town of nine thousand people. Its harbour freezes for eleven weeks a year, and then supplies come by road.

The lighthouse on Ferry Rock was built in 1871 by the engineer Ada Lindqvist. In 1987 it was moved forty metres inland on rails, because the cliff below it was crumbling.

The town museum keeps the old lamp of the lighthouse and the diary of its last keeper, Jon Varga. It is open from Tuesday to Saturday.`;
const question = process.argv[2] ?? "Who built the lighthouse on Ferry Rock?";

const user = "<|im_start|>user\n";
const toAssistant = "<|im_end|>\n<|im_start|>assistant\n";
const roles = {
  compress: {
    prompt: { text: "Find the facts." },
    opener: `Quote the sentences of the text that answer the question.${toAssistant}`,
    maxTokens: 64,
  },
  answer: {
    prompt: { text: "Answer from the text." },
    opener: `<|im_end|>\n${user}Use the quote to answer the question in one sentence.${toAssistant}`,
    maxTokens: 48,
  },
};
const formats = {
  passages: `${user}Text:\n{passages}\n\n`,
  question: "Question: {question}\n",
  notes: `${roles.compress.opener}{notes}`,
};

/** Text and question are shared: their KV is the plain model's, written once and read by both stages. */
function sharedChain(model) {
  return defineChain(model)
    .input("passages", { format: formats.passages })
    .input("question", { format: formats.question })
    .stage("compress", roles.compress)
    .stage("answer", roles.answer);
}

/** The same roles with text handed over: each stage reads everything behind its own prompt, from the start. */
function recomputeChains(model) {
  const inputs = () =>
    defineChain(model)
      .input("passages", { format: formats.passages })
      .input("question", { format: formats.question });
  const compress = inputs().stage("compress", { ...roles.compress, own: ["passages", "question"] });
  const answer = inputs()
    .input("notes", { format: formats.notes })
    .stage("answer", { ...roles.answer, own: ["passages", "question", "notes"] });
  return async () => {
    const first = await compress.run({ passages, question }).result;
    const notes = first.compress.text;
    const second = await answer.run({ passages, question, notes }).result;
    return { ...first, ...second };
  };
}

/** Prints what every stage writes as it comes. */
async function show(run) {
  for await (const event of run) {
    if (event.type === "stage-start") process.stdout.write(`${event.stage.padEnd(10)}`);
    else if (event.type === "text-delta") process.stdout.write(event.text);
    else if (event.type === "stage-end") process.stdout.write("\n");
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
  return ({ source, phase, bytes, total, detail }) => {
    const share = phase === "download" && total ? ` ${Math.floor((4 * bytes) / total) * 25} %` : "";
    const line = `model      ${source}: ${phase}${share}${phase === "failed" ? ` (${detail})` : ""}`;
    if (line !== last && phase !== "start") console.log(line);
    last = line;
  };
}

async function main() {
  // Without content index: what one way has computed must not be found by the other.
  const model = await loadModel("smollm2-135m-instruct", { indexBytes: 0, onProgress: reportLoad() });
  try {
    const { weightType, isa, threads } = model.info;
    console.log(`           ${model.name}, ${weightType}, ${isa} kernels, ${threads} threads\n`);
    const chain = sharedChain(model);
    console.log(`${passages}\n\nquestion  ${question}`);
    await show(chain.run({ passages, question }));

    console.log("\nWhere everything stands (frames, views, shifts):\n");
    console.log(String(await chain.explain({ passages, question })));

    // both ways once unmeasured (the streamed run above, and this one), then once measured: all prompts are warm
    const recompute = recomputeChains(model);
    await recompute();
    const shared = await chain.run({ passages, question }).result;
    const recomputed = await recompute();
    console.log("\nWhat it costs, KV shared or text handed over and everything read again:\n");
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
