// SPDX-License-Identifier: Apache-2.0
// The body of a request: JSON of the right type, then what its schema says. Whatever is wrong is named by its place.

import type { IncomingMessage } from "node:http";
import type { z } from "@hono/zod-openapi";
import { didYouMean } from "../suggest.js";
import { ClientGoneError, ServeError } from "./errors.js";
import type { RequestContext } from "./route.js";

function tooLarge(most: number): ServeError {
  return new ServeError(
    413,
    "body_too_large",
    `The body has more than ${most} bytes, the most that this server reads. Send less, or have the limit raised.`,
    { headers: { connection: "close" } },
  );
}

/** Of a connection, by its events, which is the short way. Rejects with ServeError 413 as soon as it is too long. */
function textOfIncoming(incoming: IncomingMessage, most: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let length = 0;
    incoming.on("data", (part: Buffer) => {
      length += part.length;
      if (length > most) reject(tooLarge(most));
      else parts.push(part);
    });
    incoming.on("end", () => resolve(Buffer.concat(parts).toString("utf8")));
    incoming.on("error", reject);
    // It closes behind every body, and an error costs as much as all of this besides.
    incoming.on("close", () => {
      if (!incoming.complete) reject(new ClientGoneError());
    });
  });
}

async function readText(c: RequestContext, incoming: IncomingMessage | null, most: number): Promise<string> {
  if (Number(c.req.header("content-length") ?? 0) > most) throw tooLarge(most);
  if (incoming !== null) return textOfIncoming(incoming, most);
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of (c.req.raw.body ?? []) as AsyncIterable<Uint8Array>) {
    length += part.length;
    if (length > most) throw tooLarge(most);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

/** Throws ServeError 413 for one of more than `most` bytes, 415 for another type than JSON, 400 for what is no JSON. */
export async function readJson(
  c: RequestContext,
  incoming: IncomingMessage | null,
  most: number,
): Promise<unknown> {
  const type = c.req.header("content-type") ?? "";
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    throw new ServeError(
      415,
      "unsupported_media_type",
      `The body is of the type ${JSON.stringify(type.slice(0, 64))}. Send JSON, with "Content-Type: application/json".`,
    );
  }
  const text = await readText(c, incoming, most);
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof SyntaxError ? cause.message.slice(0, 200) : "it cannot be read";
    throw new ServeError(400, "invalid_json", `The body is not JSON: ${reason}. Send one JSON object.`, {
      cause,
    });
  }
}

/** `messages[0].content` */
function placeOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>((place, key) => {
    if (typeof key === "number") return `${place}[${key}]`;
    return place === "" ? String(key) : `${place}.${String(key)}`;
  }, "");
}

interface Issue {
  code: string;
  message: string;
  path: readonly PropertyKey[];
  keys?: readonly string[];
  errors?: readonly (readonly Issue[])[];
}

/** Of a union, the fault of the form that came furthest. */
function deepest(issue: Issue): Issue {
  if (issue.code !== "invalid_union") return issue;
  let found: Issue | null = null;
  for (const one of (issue.errors ?? []).flat()) {
    const inner = deepest(one);
    if (inner.path.length > (found?.path.length ?? 0)) found = inner;
  }
  return found === null ? issue : { ...found, path: [...issue.path, ...found.path] };
}

/** Of the body itself; what stands deeper is not told apart here. */
function fieldsOf(schema: z.ZodType, { path }: Issue): string[] {
  const { shape } = schema as { shape?: object };
  return path.length > 0 || shape === undefined ? [] : Object.keys(shape);
}

/** Throws ServeError 400 that names the first field at fault. */
export function checkBody<S extends z.ZodType>(schema: S, body: unknown): z.infer<S> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = deepest(parsed.error.issues[0] as unknown as Issue);
  const [unknown] = issue.keys ?? [];
  const place = placeOf(unknown === undefined ? issue.path : [...issue.path, unknown]).slice(0, 128);
  if (unknown !== undefined) {
    throw new ServeError(
      400,
      "unknown_parameter",
      `There is no field \`${place}\`. Leave it out, or correct its name.${didYouMean(unknown, fieldsOf(schema, issue))}`,
      {
        param: place,
      },
    );
  }
  const where = place === "" ? "The body" : `\`${place}\``;
  throw new ServeError(
    400,
    "invalid_value",
    `${where}: ${issue.message}. Correct it there; /openapi.json has the schema.`,
    {
      ...(place === "" ? {} : { param: place }),
    },
  );
}
