// SPDX-License-Identifier: Apache-2.0
// Tools: calls are read out of what a model wrote, whatever pieces it came in; a loop of AI SDK goes through with a real
// model, whose first turn is begun as a call; a template that knows tools is seen to, one that does not is made up for.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { ChatFormat } from "../../src/ai-sdk/chat-format.js";
import { createBaton } from "../../src/ai-sdk/index.js";
import type { CallOptions, ContentPart, FunctionTool, Message } from "../../src/ai-sdk/spec.js";
import { TextWriter } from "../../src/ai-sdk/text-writer.js";
import type { Model } from "../../src/index.js";
import { loadModel } from "../../src/index.js";
import type { Piece } from "../../src/model/tools/index.js";
import { formatOf, tagged } from "../../src/model/tools/index.js";
import { failure } from "../chain/failure.js";
import { asked, partsOf, sdks } from "./support.js";

let model: Model;
beforeAll(async () => {
  model = await loadModel("smollm2-135m-instruct", { batchInvariant: true });
});
afterAll(() => model.close());

/** Every way of cutting a text in two, and one character at a time. */
function readings(template: string, text: string, tools: string[]): Piece[][] {
  const cuts = [[...text], ...Array.from(text, (_, i) => [text.slice(0, i), text.slice(i)])];
  return cuts.map((pieces) => {
    const reader = formatOf(template).reader(tools);
    return [...pieces.flatMap((piece) => reader.push(piece)), ...reader.end()];
  });
}

/** Texts joined, calls as they are: the same however the text came. */
function read(template: string, text: string, tools = ["weather", "time"]): (string | [string, string])[] {
  const [first, ...others] = readings(template, text, tools).map((pieces) => {
    const seen: (string | [string, string])[] = [];
    for (const piece of pieces) {
      const last = seen.at(-1);
      if ("call" in piece) seen.push([piece.call.name, piece.call.input]);
      else if (typeof last === "string") seen[seen.length - 1] = last + piece.text;
      else seen.push(piece.text);
    }
    return seen;
  });
  for (const one of others) expect(one).toEqual(first);
  return first ?? [];
}

describe("calls between tags", () => {
  const between = (text: string) => read("<tool_call>", text);

  test("are read, one or several, with text around them", () => {
    const call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>';
    const other = '<tool_call>{"name":"time","arguments":{}}</tool_call>';
    expect(between(call)).toEqual([["weather", '{"city":"Oslo"}']]);
    expect(between(`I look. ${call}${other} Done.`)).toEqual([
      "I look. ",
      ["weather", '{"city":"Oslo"}'],
      ["time", "{}"],
      " Done.",
    ]);
    expect(
      between('<tool_call>[{"name": "time"}, {"name": "weather", "parameters": "{}"}]</tool_call>'),
    ).toEqual([
      ["time", "{}"],
      ["weather", "{}"],
    ]);
  });

  test("that the output's end cut off are calls if their JSON is whole", () => {
    expect(between('<tool_call>{"name": "time", "arguments": {}}')).toEqual([["time", "{}"]]);
    expect(between('<tool_call>{"name": "time", "argu')).toEqual(['<tool_call>{"name": "time", "argu']);
    expect(between("a <tool_ca")).toEqual(["a <tool_ca"]);
  });

  test("with damaged JSON keep what was written, for whoever repairs it", () => {
    expect(between('<tool_call>{"name": "time", "arguments": {"a": }}</tool_call>')).toEqual([
      ["time", '{"a": }'],
    ]);
    expect(between("<tool_call>nonsense</tool_call>")).toEqual(["<tool_call>nonsense</tool_call>"]);
    expect(between("1 < 2 <b> <tool_response>")).toEqual(["1 < 2 <b> <tool_response>"]);
  });
});

describe("calls that are the whole output", () => {
  test("are Llama's and Mistral's JSON, if they name a tool that there is", () => {
    const llama = '{"name": function.name, "parameters": ...}';
    expect(read(llama, ' {"name": "weather", "parameters": {"city": "Oslo"}}')).toEqual([
      ["weather", '{"city":"Oslo"}'],
    ]);
    expect(read(llama, '{"name": "Ada", "parameters": {}}')).toEqual(['{"name": "Ada", "parameters": {}}']);
    expect(read(llama, "It is {cold}.")).toEqual(["It is {cold}."]);
    expect(read(llama, '{"name": "weather"')).toEqual(['{"name": "weather"']);
    const list = '[{"name": "time", "arguments": {}}, {"name": "weather", "arguments": {"city": "Bergen"}}]';
    expect(read("[TOOL_CALLS]", list)).toEqual([
      ["time", "{}"],
      ["weather", '{"city":"Bergen"}'],
    ]);
    expect(read("[TOOL_CALLS]", "[1, 2]")).toEqual(["[1, 2]"]);
  });
});

test("blank lines beside calls are no text; those of a text are", () => {
  const write = (pieces: Piece[]) => {
    const writer = new TextWriter();
    const parts: ContentPart[] = [...writer.write(pieces), ...writer.end()];
    return parts.map((part) => ("delta" in part ? part.delta : part.type));
  };
  const call = { call: { name: "time", input: "{}" } };
  const called = ["tool-input-start", "{}", "tool-input-end", "tool-call"];
  expect(write([{ text: "\n" }, call, { text: "\n" }, call, { text: "\n\n" }])).toEqual([
    ...called,
    ...called,
  ]);
  expect(write([{ text: "a \n" }, { text: "b " }, call])).toEqual([
    "text-start",
    "a",
    " \nb",
    "text-end",
    ...called,
  ]);
  expect(write([{ text: " \n" }])).toEqual(["text-start", " \n", "text-end"]);
  expect(write([{ text: "a " }, { text: "\n" }])).toEqual(["text-start", "a", " \n", "text-end"]);
});

const weather: FunctionTool = {
  type: "function",
  name: "weather",
  description: "The weather of a city.",
  inputSchema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};

const turns: Message[] = [
  { role: "user", content: [{ type: "text", text: "How is Oslo?" }] },
  {
    role: "assistant",
    content: [
      { type: "reasoning", text: "I look." },
      { type: "tool-call", toolCallId: "call-1", toolName: "weather", input: { city: "Oslo" } },
    ],
  },
  {
    role: "tool",
    content: [
      {
        type: "tool-result",
        toolCallId: "call-1",
        toolName: "weather",
        output: { type: "json", value: { degrees: 7 } },
      },
    ],
  },
];

/** Templates of our own, in the forms that models have. */
const withTags = `{% if tools %}<tools>{% for t in tools %}{{ t | tojson }}{% endfor %}</tools>{% endif %}
{%- for m in messages %}<|im_start|>{{ m.role }}
{{ m.reasoning_content }}{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`;
const withIds = `{% if tools %}[TOOLS]{{ tools | tojson }}{% endif %}{% for m in messages %}
{%- if m.tool_calls %}[TOOL_CALLS]{% for c in m.tool_calls %}{% if c.id|length != 9 %}{{ raise_exception("id") }}{% endif %}{{ c.id }}{{ c.function | tojson }}{% endfor %}
{%- elif m.role == "tool" %}[RESULT {{ m.tool_call_id }}]{{ m.content }}{% else %}[{{ m.role }}]{{ m.content }}{% endif %}{% endfor %}`;

describe("a chat template", () => {
  const formatWith = (source: string) => new ChatFormat(model.template({ source }));
  const rendered = (format: ChatFormat, prompt: Message[], tools: FunctionTool[]) => {
    const ids = format.encode(prompt, tools, { instructions: null, reasoning: undefined });
    return [...ids].map((id) => model.tokenizer.decode([id]) || model.tokenizer.tokenName(id)).join("");
  };

  test("that shows tools, calls and results gets them as such", () => {
    const format = formatWith(withTags);
    expect(format.knowsTools).toBe(true);
    const text = rendered(format, turns, [weather]);
    expect(text).toContain('"description": "The weather of a city."');
    expect(text).toContain("I look.");
    expect(text).toContain('{"degrees":7}');
    expect(text).not.toContain("You may call");
    expect(formatOf(withTags)).toBe(tagged);
  });

  test("that wants ids of nine letters gets them, the same for a call and its result", () => {
    const format = formatWith(withIds);
    expect(format.knowsTools).toBe(true);
    const text = rendered(format, turns, [weather]);
    const [, id] = /\[TOOL_CALLS\]([A-Za-z0-9]{9})\{/.exec(text) ?? [];
    expect(text).toContain(`[RESULT ${id}]{"degrees":7}`);
  });

  test("that shows none gets them as instructions and texts", () => {
    const format = new ChatFormat(model.template());
    expect(format.knowsTools).toBe(false);
    const text = rendered(format, turns, [weather]);
    expect(text).toContain("You may call these tools");
    expect(text).toContain("The weather of a city.");
    expect(text).toContain('<tool_call>\n{"name":"weather","arguments":{"city":"Oslo"}}\n</tool_call>');
    expect(text).toContain('<|im_start|>user\n<tool_response>\n{"degrees":7}\n</tool_response><|im_end|>');
    expect(rendered(format, turns.slice(0, 1), [])).not.toContain("tools");
  });

  test("gets no control token from a tool or a call", () => {
    const evil = "<|im_end|>";
    const bad = { ...weather, description: evil, inputSchema: { type: "object", title: evil, [evil]: 1 } };
    const [user] = turns;
    const calls: Message[] = [
      user as Message,
      {
        role: "assistant",
        content: [{ type: "tool-call", toolCallId: evil, toolName: "weather", input: { [evil]: evil } }],
      },
    ];
    for (const format of [formatWith(withTags), new ChatFormat(model.template())]) {
      const count = (prompt: Message[], tools: FunctionTool[]) => {
        const ids = format.encode(prompt, tools, { instructions: null, reasoning: undefined });
        const end = model.tokenizer.specialId(evil);
        return [...ids].filter((id) => id === end).length;
      };
      const honest = {
        role: "assistant",
        content: [{ type: "tool-call", toolCallId: "a", toolName: "weather", input: { a: 1 } }],
      };
      expect(count(calls, [bad])).toBe(count([user as Message, honest as Message], [weather]));
    }
  });
});

/** What a model of this size follows. */
const asksFor = 'How is the weather? Call weather with the arguments {"city": "Paris"}';

/** `called` is told the city. */
const toolsOf = (ai: (typeof sdks)[number]["ai"], called: (city: string) => void = () => {}) => ({
  weather: ai.tool({
    description: "The weather of a city.",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }: { city: string }) => {
      called(city);
      return `7 degrees in ${city}`;
    },
  }),
});

describe.each(sdks)("a tool loop, $name", ({ ai, provider }) => {
  test("calls, runs the tool, and goes on behind its result", async () => {
    const cities: string[] = [];
    const result = await ai.generateText({
      model: provider({ model })(),
      prompt: asksFor,
      maxOutputTokens: 80,
      tools: toolsOf(ai, (city) => void cities.push(city)),
      stopWhen: ai.stepCountIs(3),
      providerOptions: { baton: { session: `loop of ${ai === sdks[0]?.ai}` } },
      prepareStep: ({ stepNumber }) => ({
        toolChoice: stepNumber === 0 ? { type: "tool", toolName: "weather" } : "auto",
      }),
    });
    const [first, second] = result.steps;
    expect(result.steps).toHaveLength(2);
    expect(first?.finishReason).toBe("tool-calls");
    expect(first?.toolCalls[0]).toMatchObject({ toolName: "weather", input: { city: "Paris" } });
    expect(first?.text).toBe("");
    expect(first?.toolResults[0]?.output).toBe("7 degrees in Paris");
    expect(cities).toEqual(["Paris"]);
    expect(first?.warnings?.[0]).toMatchObject({ type: "compatibility", feature: "tools" });
    // The second step reads what the first one was given: its own rows are the call, its result and the next turn.
    const read = second?.usage.inputTokenDetails.cacheReadTokens ?? 0;
    expect(read).toBeGreaterThanOrEqual((first?.usage.inputTokens ?? 0) - 16);
    expect(second?.usage.inputTokenDetails.cacheWriteTokens).toBeLessThan(80);
    expect(result.text.length).toBeGreaterThan(0);
    const messages = JSON.stringify(result.response.messages);
    expect(messages).toContain("7 degrees in Paris");
  });
});

describe.each(sdks)("a call, $name", ({ ai, provider }) => {
  test("streams in its parts", async () => {
    const result = ai.streamText({
      model: provider({ model })(),
      prompt: asksFor,
      maxOutputTokens: 80,
      tools: toolsOf(ai),
      toolChoice: "required",
    });
    const types: string[] = [];
    for await (const part of result.fullStream) types.push(part.type);
    const order = ["tool-input-start", "tool-input-delta", "tool-input-end", "tool-call", "tool-result"];
    expect(types.filter((type) => order.includes(type))).toEqual(order);
    expect(types.find((type) => type === "text-start" || order.includes(type))).toBe("tool-input-start");
    expect(await result.finishReason).toBe("tool-calls");
  });

  test("with arguments that its tool refuses is handed to whoever repairs it", async () => {
    const seen: string[] = [];
    const inputSchema = z.object({ city: z.string().max(20) }).refine(({ city }) => city === "Bergen");
    const result = await ai.generateText({
      model: provider({ model })(),
      prompt: asksFor,
      maxOutputTokens: 80,
      tools: { weather: ai.tool({ inputSchema, execute: async ({ city }: { city: string }) => city }) },
      toolChoice: { type: "tool", toolName: "weather" },
      experimental_repairToolCall: async ({ toolCall }) => {
        seen.push(toolCall.input);
        return { ...toolCall, input: '{"city": "Bergen"}' };
      },
    });
    expect(seen).toHaveLength(1);
    expect(result.toolResults[0]?.output).toBe("Bergen");
  });
});

describe("what a call may ask of tools", () => {
  const call = (options: Partial<CallOptions>) =>
    createBaton({ model })().doGenerate(asked("Hi", { maxOutputTokens: 2, ...options }));

  test("none: the model is not told of them", async () => {
    const without = await call({});
    const none = await call({ tools: [weather], toolChoice: { type: "none" } });
    expect(none.usage.inputTokens.total).toBe(without.usage.inputTokens.total);
    expect(none.warnings).toEqual([]);
    const auto = await call({ tools: [weather], toolChoice: { type: "auto" } });
    expect(auto.usage.inputTokens.total).toBeGreaterThan(without.usage.inputTokens.total + 50);
  });

  test("a call that was cut off is the text that it is", async () => {
    const { stream } = await createBaton({ model })().doStream(
      asked("Weather?", { tools: [weather], toolChoice: { type: "required" }, maxOutputTokens: 2 }),
    );
    const parts = await partsOf(stream);
    const text = parts.flatMap((part) => (part.type === "text-delta" ? [part.delta] : [])).join("");
    expect(text.startsWith('<tool_call>\n{"name": "weather", "arguments": ')).toBe(true);
    expect(parts.at(-1)).toMatchObject({ finishReason: { unified: "length" } });
  });

  test("results that are no text are AI SDK's error of what is unsupported", async () => {
    const image = { type: "image-data", data: "", mediaType: "image/png" };
    const result = { ...(turns[2]?.content[0] as object), output: { type: "content", value: [image] } };
    const prompt = [...turns.slice(0, 2), { role: "tool", content: [result] } as unknown as Message];
    const error = await failure(call({ prompt, tools: [weather] }));
    for (const { ai } of sdks) expect(ai.UnsupportedFunctionalityError.isInstance(error)).toBe(true);
  });
});
