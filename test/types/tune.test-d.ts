// SPDX-License-Identifier: Apache-2.0
// What the compiler must accept and refuse about tuning. Checked by `tsc --noEmit`; never executed.

import type { Model, TunedPrompt, TuneStep } from "../../src/index.js";
import { defineChain, tune } from "../../src/index.js";

declare const model: Model;

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Equal<A, B>): void {}

const chain = defineChain(model)
  .input("question")
  .stage("compress")
  .stage("answer", { reads: ["question", "compress"] });
const data = "train.jsonl";

const run = tune(chain, { stages: ["answer"], data, learningRate: 1e-2 });
async function results() {
  for await (const step of run) same<typeof step, TuneStep>(true);
  const { prompts } = await run.result;
  same<typeof prompts, Readonly<Record<"answer", TunedPrompt>>>(true);
}
void results;
const one = tune(chain, { stages: { answer: { virtualTokens: 20, init: { text: "Answer." } } }, data });
same<Awaited<typeof one.result>["prompts"], Readonly<Record<"answer", TunedPrompt>>>(true);
const both = tune(chain, {
  stages: ["compress", "answer"],
  labels: ["answer"],
  data,
  dev: [{ question: "?" }],
});
same<Awaited<typeof both.result>["prompts"], Readonly<Record<"compress" | "answer", TunedPrompt>>>(true);
void tune.explain(chain, { stages: ["answer"], data });

// @ts-expect-error no stage of that name
tune(chain, { stages: ["anwser"], data });
// @ts-expect-error an input is no stage
tune(chain, { stages: ["question"], data });
// @ts-expect-error no stage of that name
tune(chain, { stages: { nothing: {} }, data });
// @ts-expect-error no stage of that name
tune(chain, { stages: ["answer"], labels: ["nothing"], data });
// @ts-expect-error no stages
tune(chain, { data });
// @ts-expect-error no data
tune(chain, { stages: ["answer"] });
// @ts-expect-error unknown option
tune(chain, { stages: ["answer"], data, learningrate: 1 });
// @ts-expect-error unknown option of a stage
tune(chain, { stages: { answer: { rows: 3 } }, data });
// @ts-expect-error only three schedules
tune(chain, { stages: ["answer"], data, schedule: "exponential" });
// @ts-expect-error not a chain
tune(model, { stages: ["answer"], data });
// @ts-expect-error no stage of that name
void tune.explain(chain, { stages: ["nothing"], data });

// stages in groups stand behind the names of the groups
const debate = defineChain(model)
  .input("question")
  .rounds("debate", (round) => round.stage("recall").stage("reason"), { max: 3 });
tune(debate, { stages: ["debate.recall", "debate.reason"], data });
// @ts-expect-error without the name of its group
tune(debate, { stages: ["reason"], data });

// @ts-expect-error best or last
void tune.export("run.safetensors", { keep: "first" });
async function exported() {
  const { prompts } = await tune.export("run.safetensors", { output: "prompts/answer", keep: "best" });
  same<typeof prompts, Readonly<Record<string, TunedPrompt>>>(true);
  const { answer } = prompts;
  // any of them may be absent
  if (answer !== undefined) chain.withPrompts({ answer });
}
void exported;
