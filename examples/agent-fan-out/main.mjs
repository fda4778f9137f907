// SPDX-License-Identifier: Apache-2.0
// One case, several agents. The case file is a session: its rows are computed once and read by all agents, which are forks
// of it and work at the same time. An agent whose year does not stand in the case file takes its attempt back and tries again. What they
// found goes onto the case file, which is saved; the next start finds it there and goes on.

import { mkdir } from "node:fs/promises";
import { parseArgs } from "node:util";
import { loadModel } from "baton-lm";

const { values: flags } = parseArgs({
  options: {
    folder: { type: "string", default: "sessions" },
    "max-tokens": { type: "string", default: "12" },
    model: { type: "string", default: "smollm2-135m-instruct" },
  },
});
const maxTokens = Number(flags["max-tokens"]);

const caseFile = `The lighthouse on Ferry Rock was built in 1871 by the engineer Ada Lindqvist.
In 1987 it was moved forty metres inland on rails, because the cliff below it was crumbling.
The town museum, opened in 1952, keeps the old lamp of the lighthouse.
`;
const tasks = {
  builder: "The lighthouse was built in the year",
  mover: "The lighthouse was moved in the year",
  museum: "The museum was opened in the year",
};

const model = await loadModel(flags.model);
await mkdir(flags.folder, { recursive: true });
const trunk = await model.session({ id: "ferry-rock", folder: flags.folder });
if (trunk.rows === 0) await trunk.append(caseFile);
else console.log(`the case file was saved: ${trunk.rows} rows, none of them computed`);

/** @param {string} name @param {string} task */
async function work(name, task) {
  const agent = trunk.fork({ id: `ferry-rock/${name}` });
  try {
    const { rowsComputed } = await agent.append(task);
    const before = agent.mark();
    for (const seed of [0, 1, 2]) {
      // the first attempt is greedy, later ones are drawn
      const temperature = seed === 0 ? 0 : 0.7;
      const { text } = await agent.generate({ maxTokens, temperature, seed }).result;
      const [year] = /\b1[89]\d\d\b/.exec(text) ?? [];
      if (year !== undefined && caseFile.includes(year))
        return { name, found: `${task} ${year}.`, attempts: seed + 1, rowsComputed };
      agent.rewind(before); // as if it had never been written
    }
    return { name, found: `${task}: not found.`, attempts: 3, rowsComputed };
  } finally {
    agent.close();
  }
}

const shared = trunk.rows;
const findings = await Promise.all(Object.entries(tasks).map(([name, task]) => work(name, task)));
for (const { name, found, attempts, rowsComputed } of findings) {
  console.log(
    `[${name}] ${found} (${attempts} attempts, ${rowsComputed} rows computed to begin, ${shared} shared)`,
  );
}

await trunk.append(findings.map(({ found }) => `${found}\n`).join(""));
await trunk.snapshot();
console.log(`the case file has ${trunk.rows} rows`);
await model.close();
