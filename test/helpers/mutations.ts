// SPDX-License-Identifier: Apache-2.0
// Damage to sound documents and files, drawn by fast-check so that a seed gives the same again: values of another kind
// in any place of a JSON document, and bytes that were changed, cut, doubled or put in.

import fc from "fast-check";

const hostile: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  1.5,
  2 ** 31,
  2 ** 53,
  -(2 ** 63),
  1e308,
  "",
  "\u0000",
  "\ud800",
  "__proto__",
  "constructor",
  "../../../etc/passwd",
  "x".repeat(100_000),
  [],
  {},
  [[[[[[[[]]]]]]]],
  Array.from({ length: 5000 }, (_, i) => i),
  JSON.parse(`${"[".repeat(500)}${"]".repeat(500)}`),
  JSON.parse('{"__proto__": {"polluted": true}, "toString": 1, "length": -1}'),
];

interface Change {
  /** Which of all places, and what becomes of it. */
  at: number;
  how: "replace" | "remove" | "double" | "rename";
  value: unknown;
}

const changes = fc.array(
  fc.record<Change>({
    at: fc.nat(),
    how: fc.constantFrom("replace", "replace", "replace", "remove", "double", "rename"),
    value: fc.oneof(fc.constantFrom(...hostile), fc.jsonValue(), fc.string(), fc.integer()),
  }),
  { minLength: 1, maxLength: 4 },
);

type Parent = Record<string | number, unknown>;

function placesOf(value: unknown, places: [Parent, string | number][] = []): [Parent, string | number][] {
  if (typeof value !== "object" || value === null) return places;
  const keys = Array.isArray(value) ? value.keys() : Object.keys(value);
  for (const key of keys) {
    places.push([value as Parent, key]);
    placesOf((value as Parent)[key], places);
  }
  return places;
}

function apply(root: { value: unknown }, { at, how, value: given }: Change): void {
  const places = placesOf(root);
  const [parent, key] = places[at % Math.max(1, places.length)] ?? [];
  if (parent === undefined || key === undefined) return; // all was removed
  const value = structuredClone(given); // it may be changed itself, later
  if (how === "replace") parent[key] = value;
  else if (how === "remove") delete parent[key];
  else if (Array.isArray(parent))
    parent.splice(Number(key), 0, how === "double" ? parent[Number(key)] : value);
  else parent[how === "double" ? `${key}2` : "renamed"] = parent[key];
}

/** `sound`, with a few of its values changed. */
export function changedJson(sound: unknown): fc.Arbitrary<unknown> {
  return changes.map((list) => {
    const root = { value: structuredClone(sound) };
    for (const one of list) apply(root, one);
    return root.value;
  });
}

const edits = fc.array(fc.tuple(fc.nat(), fc.nat(4), fc.uint8Array({ maxLength: 12 })), {
  minLength: 1,
  maxLength: 4,
});

/** `sound`, with a few of its bytes changed; most of them in its first `head`. */
export function changedBytes(sound: Uint8Array, head = 2000): fc.Arbitrary<Uint8Array> {
  return edits.map((list) => {
    let bytes = Buffer.from(sound);
    for (const [place, how, piece] of list) {
      const at = place % Math.max(1, Math.min(place % 4 === 0 ? bytes.length : head, bytes.length));
      const rest = bytes.subarray(at);
      if (how === 0) bytes = Buffer.from(bytes.subarray(0, at));
      else if (how === 1) bytes = Buffer.concat([bytes.subarray(0, at), piece, rest]);
      else if (how === 2) bytes = Buffer.concat([bytes.subarray(0, at), rest.subarray(piece.length)]);
      else for (const [i, byte] of piece.entries()) if (at + i < bytes.length) bytes[at + i] = byte;
    }
    return new Uint8Array(bytes);
  });
}
