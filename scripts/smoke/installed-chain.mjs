// SPDX-License-Identifier: Apache-2.0
// Run by pack-check.mjs inside an empty project that has baton-lm installed and no AI SDK: one chain of two stages on the
// model file given, by itself, as a language model and behind the server. Fails when the chain does, when a stage is empty or when the second
// one reused nothing.
import { defineChain, loadModel } from "baton-lm";
import { createBaton } from "baton-lm/ai-sdk";
import { createServer } from "baton-lm/server";

const model = await loadModel(process.argv[2], { threads: 2 });
try {
  const chain = defineChain(model)
    .input("question")
    .stage("compress", { prompt: { text: "Shorten this." }, reads: ["question"], maxTokens: 8 })
    .stage("answer", { prompt: { text: "Answer this." }, reads: ["question", "compress"], maxTokens: 8 });
  const { compress, answer } = await chain.run({ question: "Which bird sings at night?" }).result;
  if (compress.usage.tokens < 1 || answer.usage.tokens < 1) throw new Error("a stage made no token");
  if (answer.usage.rowsReused < 1) throw new Error("the second stage reused no row of the first");
  const prompt = [{ role: "user", content: [{ type: "text", text: "Which bird sings at night?" }] }];
  const { content } = await createBaton({ model }).chain(chain).doGenerate({ prompt });
  if (content[0]?.text !== answer.text) throw new Error("the chain as a language model answers otherwise");
  const server = await createServer({ models: { tiny: model }, chains: { qa: chain } });
  const ask = async (route, body) => {
    const init = {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    };
    const response = await server.fetch(new Request(`http://localhost${route}`, body ? init : {}));
    if (response.status !== 200)
      throw new Error(`${route} answers ${response.status}: ${await response.text()}`);
    return response.text();
  };
  const served = JSON.parse(
    await ask("/v1/chains/qa", { inputs: { question: "Which bird sings at night?" } }),
  );
  if (!JSON.stringify(served).includes(JSON.stringify(answer.text)))
    throw new Error("the chain as served answers otherwise");
  if (!(await ask("/metrics")).includes("process_cpu")) throw new Error("the server has no metrics");
  if (!(await ask("/openapi.json")).includes("/v1/chat/completions"))
    throw new Error("the server has no document");
  await server.close();
  console.log(
    `an installed chain ran: ${compress.usage.tokens} and ${answer.usage.tokens} tokens on ${model.info.isa}`,
  );
} finally {
  await model.close();
}
