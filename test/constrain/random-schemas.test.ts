// SPDX-License-Identifier: Apache-2.0
// Every text that a schema lets through parses and validates, by a validator that has nothing to do with grammars: random
// schemas, and texts of a model with random weights, which would never write any of them by itself. BATON_SCHEMAS=N for as
// many schemas.

import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { Model } from "../../src/index.js";
import { loadTiny } from "../chain/tiny-model.js";
import { randomSchema } from "./random-schema.js";
import { failure, needGrammars, opened, wild } from "./support.js";

const count = Number(process.env.BATON_SCHEMAS ?? 150);
const texts = 2;

let model: Model;
beforeAll(async () => {
  model = await loadTiny({ drafting: "off", batchInvariant: false });
});
afterAll(() => model.close());
beforeEach(needGrammars);

/** 29 February is a date in every year: which years are leap years is beyond the grammar. */
const isDate = (text: string) => {
  const [, month, day] = /^\d{4}-(\d\d)-(\d\d)$/.exec(text) ?? [];
  const days = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][Number(month) - 1] ?? 0;
  return Number(day) >= 1 && Number(day) <= days;
};
const isTime = (text: string) =>
  /^([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(z|[+-]([01]\d|2[0-3]):[0-5]\d)$/i.test(text);

const ajv = new Ajv2020({
  strict: false,
  multipleOfPrecision: 9, // otherwise nothing above 1e21 is a multiple of anything: it reads its digits as text
  formats: {
    date: isDate,
    time: isTime,
    "date-time": (text: string) =>
      isDate(text.slice(0, 10)) && /^t$/i.test(text[10] ?? "") && isTime(text.slice(11)),
    uuid: /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i,
    ipv4: (text: string) =>
      text.split(".").length === 4 &&
      text.split(".").every((one) => /^(0|[1-9]\d{0,2})$/.test(one) && Number(one) < 256),
    email: /^[^@]+@[^@]+$/,
  },
});

interface Counts {
  whole: number;
  cut: number;
  refused: number;
  reasons: Map<string, number>;
}

async function tryOne(seed: number, counts: Counts): Promise<void> {
  const jsonSchema = randomSchema(seed) as object;
  const validate = ajv.compile(jsonSchema);
  using handle = await opened(model);
  for (let at = 0; at < texts; at++) {
    using own = handle.fork();
    try {
      const { text, object } = await own.generate({
        ...wild,
        output: { jsonSchema },
        seed: seed * texts + at,
      }).result;
      const told = `${JSON.stringify(jsonSchema)}\nlets through ${text}\n${ajv.errorsText(validate.errors)}`;
      expect(object).toEqual(JSON.parse(text));
      expect(validate(object), told).toBe(true);
      counts.whole++;
    } catch (error) {
      const { code, message } = await failure(Promise.reject(error));
      if (code === "OUTPUT_INVALID") counts.cut++;
      else {
        expect(code, message).toBe("CONSTRAINT_INVALID");
        const why = message.slice(message.indexOf("follow: ") + 8).replace(/['"(].*/, "");
        counts.reasons.set(why, (counts.reasons.get(why) ?? 0) + 1);
        counts.refused++;
      }
    }
  }
}

test(`${count} random schemas: every text parses and validates`, {
  timeout: 60_000 + 200 * count,
}, async () => {
  const counts: Counts = { whole: 0, cut: 0, refused: 0, reasons: new Map() };
  const first = Number(process.env.BATON_SCHEMAS_FROM ?? 0);
  for (let seed = first; seed < first + count; seed += 8) {
    const some = Array.from({ length: Math.min(8, first + count - seed) }, (_, at) =>
      tryOne(seed + at, counts),
    );
    await Promise.all(some);
  }
  const { whole, cut, refused, reasons } = counts;
  if (process.env.BATON_SCHEMAS !== undefined) console.log({ whole, cut, refused, reasons });
  expect(whole + cut + refused).toBe(texts * count);
  expect(whole).toBeGreaterThan(0.6 * texts * count);
});
