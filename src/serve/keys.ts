// SPDX-License-Identifier: Apache-2.0
// API keys. Only their hashes are kept, a given key is compared with all of them in constant time, and none is ever
// written anywhere. Each key has a cache salt of its own: nothing of one is found by another.

import { createHash, timingSafeEqual } from "node:crypto";
import { OptionInvalidError } from "../index.js";
import { ServeError } from "./errors.js";

/** Whose request it is. */
export interface Tenant {
  /** Of everything that the request computes; absent without keys. */
  readonly salt?: string;
}

interface Known extends Tenant {
  readonly digest: Buffer;
}

const leastLength = 16;
const mostLength = 512;

const sha256 = (text: string) => createHash("sha256").update(text).digest();

/** Throws OPTION_INVALID that says which key it is by its place, never the key. */
function checkKey(key: unknown, at: number): string {
  if (typeof key === "string" && /^[\x21-\x7e]+$/.test(key)) {
    if (key.length >= leastLength && key.length <= mostLength) return key;
  }
  throw new OptionInvalidError(
    `API key number ${at + 1} is not of ${leastLength} to ${mostLength} printable ASCII characters without spaces. Make ` +
      "one, say with `openssl rand -hex 24`.",
    { facts: { option: "keys", index: at } },
  );
}

/** The keys of a file: one a line; empty lines and lines that begin with # are none. */
export function keysOfText(text: string): string[] {
  return text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

export class ApiKeys {
  readonly #known: readonly Known[];

  constructor(keys: readonly string[]) {
    this.#known = keys.map((key, at) => ({
      digest: sha256(checkKey(key, at)),
      salt: sha256(`baton serve salt ${key}`).toString("hex"),
    }));
  }

  get required(): boolean {
    return this.#known.length > 0;
  }

  /** Whose key an Authorization header brings. Throws ServeError 401. */
  identify(header: string | undefined): Tenant {
    if (!this.required) return {};
    const given = sha256(/^Bearer +(\S+) *$/i.exec(header ?? "")?.[1] ?? "");
    let found: Known | null = null;
    for (const one of this.#known) if (timingSafeEqual(one.digest, given)) found = one; // all of them, always
    if (found !== null) return found;
    const what = header === undefined ? "has no API key" : "has an API key that this server does not know";
    throw new ServeError(
      401,
      "invalid_api_key",
      `The request ${what}. Send "Authorization: Bearer KEY" with a key that you got from whoever runs the server.`,
      { headers: { "www-authenticate": "Bearer" } },
    );
  }
}
