// SPDX-License-Identifier: Apache-2.0
// Arguments of the functions of snapshots, for fuzz.mjs.

import fc from "fast-check";

/** `given`: what arguments of others are made of; `sound`: a file, its head, a stream, and a snapshot that was released. */
export function snapshotFunctions({ given, sound }) {
  const { mostly, record, nearInt, models, readable, tokens, none } = given;
  const { head, saved, streamed, releasedSnapshot } = sound;
  /** "opened" and "restoring" stand for snapshots made for this call, the second with its blocks taken. */
  const snapshots = mostly(fc.constantFrom("opened", "restoring", streamed, releasedSnapshot));
  const bytes = fc.uint8Array({ maxLength: 300 });
  const content = {
    header: bytes,
    notes: bytes,
    parts: fc.array(record({ segment: readable, rows: nearInt(0, 40) }), { maxLength: 3 }),
  };
  const cancels = mostly(fc.constant(none));
  const restoredSegment = record({
    kind: fc.constantFrom("prompt", "input", "output"),
    start: nearInt(-100, 100),
    reads: fc.array(record({ segment: readable, rows: nearInt(0, 40), shift: nearInt(-20, 20) }), {
      maxLength: 2,
    }),
    first: nearInt(0, 3),
    blocks: nearInt(0, 3),
    content: fc.array(
      fc.oneof(
        record({ tokens: tokens.map((list) => Int32Array.from(list)) }),
        record({ rows: fc.constant(new Float32Array(64)) }),
      ),
      { maxLength: 2 },
    ),
    close: fc.boolean(),
  });
  const heads = fc.oneof(
    fc.constant(new Uint8Array(head)),
    fc
      .tuple(fc.nat(head.length - 1), fc.nat(255))
      .map(([at, byte]) => new Uint8Array(head).fill(byte, at, at + 1)),
    bytes,
  );
  return {
    saveSnapshot: [
      models,
      mostly(record({ ...content, path: fc.constantFrom("a", "b", "/", ""), durable: fc.boolean() })),
      cancels,
    ],
    streamSnapshot: [models, mostly(record(content)), cancels],
    readSnapshotBlocks: [snapshots, mostly(nearInt(0, 3)), mostly(nearInt(0, 3))],
    openSnapshot: [mostly(fc.constantFrom(saved, "a", "/", "/dev/null", "none"))],
    snapshotHeadBytes: [mostly(heads)],
    parseSnapshot: [mostly(heads)],
    beginRestore: [models, snapshots],
    fillRestore: [models, snapshots, cancels],
    feedRestore: [snapshots, mostly(bytes), mostly(fc.boolean())],
    takeSegment: [models, snapshots, mostly(restoredSegment)],
    releaseSnapshot: [
      mostly(fc.constantFrom("opened", "restoring", releasedSnapshot)).filter((value) => value !== streamed),
    ],
  };
}
