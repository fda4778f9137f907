// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compressAnswer, MissingData, recallReason, sampleOf } from "../../bench/chains/data.js";
import type { ChainSources } from "../../bench/chains/forced-chain.js";
import { checkWritten, rolesOf, tokensOf, visiblePieces } from "../../bench/chains/forced-chain.js";
import { fanOutChain, stagesChain } from "../../bench/chains/synthetic.js";

// One id a word, its length: enough to see what was put where.
const encode = (text: string) => text.split(/(?= )/).map((word) => word.trim().length);
let data: string;
const sources = (): ChainSources => ({ encode, data });

beforeAll(() => {
  data = mkdtempSync(path.join(os.tmpdir(), "chains-test-"));
  const write = (set: string, split: string, items: unknown[]) => {
    mkdirSync(path.join(data, set), { recursive: true });
    const lines = items.map((one) => `${JSON.stringify(one)}\n`);
    writeFileSync(path.join(data, set, `${split}.jsonl`), lines.join(""));
  };
  const turn = (stage: string, text: string) => ({ stage, text });
  const three = [turn("reason", "a bb"), turn("recall", "ccc"), turn("reason", "dddd")];
  write("comqa-recall-reason", "train", [
    { question: "why so", rounds: [turn("reason", "short")], answer: "A" },
    { question: "who", rounds: three, answer: "B" },
  ]);
  write("comqa-recall-reason", "test", [{ question: "unanswered", answer: "C" }]);
  const item = { question: "q one", passages: "some long text", evidence: "long text", answer: "text" };
  write("hotpot-compress-answer", "dev", [item, item]);
});
afterAll(() => rmSync(data, { recursive: true }));

describe("recallReason", () => {
  it("takes items of three turns or more; every turn reads the question and all turns before", () => {
    const [chain, ...others] = recallReason(sources());
    expect(others).toEqual([]);
    expect(chain?.turns.map(({ role, reads }) => [role, reads])).toEqual([
      ["reason", ["question"]],
      ["recall", ["question", "turn1"]],
      ["reason", ["question", "turn1", "turn2"]],
    ]);
    expect(chain?.turns[0]).toMatchObject({ text: " a bb", tokens: [1, 2], closes: true });
    expect(rolesOf(chain === undefined ? [] : [chain])).toEqual(["reason", "recall"]);
  });
});

describe("compressAnswer", () => {
  it("gives the passages to the compressor alone", () => {
    const [chain] = compressAnswer(sources(), 1);
    if (chain === undefined) throw new Error("no chain");
    const [compress, answer] = chain.turns;
    if (compress === undefined || answer === undefined) throw new Error("no turns");
    expect(visiblePieces(chain, compress).map(({ name }) => name)).toEqual(["question", "passages"]);
    expect(tokensOf(visiblePieces(chain, answer))).toEqual([1, 3, 4, 4]);
  });
});

describe("data", () => {
  it("that is not there is named with what to give", () => {
    expect(() => recallReason({ encode, data: undefined })).toThrow(MissingData);
    expect(() => recallReason({ encode, data: undefined })).toThrow(/--data DIR or set BATON_DATA/);
    expect(() => compressAnswer({ encode, data: path.join(data, "nowhere") })).toThrow(/nowhere has no/);
  });

  it("is sampled evenly", () => {
    expect(sampleOf([0, 1, 2, 3, 4, 5, 6], 3)).toEqual([0, 2, 4]);
    expect(sampleOf([1, 2], 5)).toEqual([1, 2]);
  });
});

describe("synthetic chains", () => {
  it("have the lengths that are asked for", () => {
    const chain = stagesChain(sources(), { context: 40, stages: 3, tokens: 5 });
    expect(chain.inputs[0]?.tokens).toHaveLength(40);
    expect(chain.turns.map(({ tokens }) => tokens.length)).toEqual([5, 5, 5]);
    expect(chain.turns[2]?.reads).toEqual(["context", "stage1", "stage2"]);
    expect(new Set(chain.turns.map(({ role }) => role)).size).toBe(3);
    const branches = fanOutChain(sources(), { trunk: 9, branches: 4, tokens: 2 });
    expect(branches.turns.map(({ reads }) => reads)).toEqual(Array(4).fill(["trunk"]));
    expect(new Set(branches.turns.map(({ text }) => text)).size).toBe(4);
  });

  it("are refused with a tokenizer that splits words", () => {
    const letters = { data, encode: (text: string) => [...text].map((one) => one.charCodeAt(0)) };
    expect(() => stagesChain(letters, { context: 4, stages: 1, tokens: 1 })).toThrow(/hardly a word/);
  });
});

describe("checkWritten", () => {
  const turn = { name: "one", text: "", role: "r", reads: [], own: [], closes: false };
  it("wants the tokens, in order, all of them", () => {
    expect(() => checkWritten({ ...turn, tokens: [1, 2] }, [1, 2])).not.toThrow();
    for (const other of [[1], [2, 1], [1, 2, 3]])
      expect(() => checkWritten({ ...turn, tokens: [1, 2] }, other)).toThrow(/turn one/);
  });
});
