// SPDX-License-Identifier: Apache-2.0
// Sessions: cache handles with names, for agents that come back. While a session is open, its id stands for it; with a
// folder, the id also finds the snapshot that an earlier process has left. Ids of different salts are different sessions.

import { createHash } from "node:crypto";
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { OptionInvalidError } from "../errors.js";
import { Model } from "../model/model.js";
import type { CacheOptions, Retention } from "./cache-options.js";
import { checkRetention, checkSalt, checkText } from "./cache-options.js";
import type { CacheContent } from "./content.js";
import type { Generation, GenerationOptions } from "./generation.js";
import type { AppendOptions, AppendUsage, CacheMark, CacheMatch } from "./handle.js";
import { CacheHandle } from "./handle.js";
import type { OutputSchema } from "./output-schema.js";
import { mismatch } from "./snapshot/binding.js";
import type { RestoreReport } from "./snapshot/of-handle.js";
import { restoreView } from "./snapshot/of-handle.js";
import type { SnapshotTarget } from "./snapshot/places.js";
import type { SnapshotOptions, SnapshotReport } from "./snapshot/write.js";

export interface SessionOptions extends CacheOptions {
  /** 1 to 256 characters. */
  id: string;
  /** Where snapshots of the session are, by its id; it must be there. Default: none are looked for. */
  folder?: string;
  /** Of a snapshot that is damaged, what comes before the damage will do; see RestoreOptions. */
  partial?: boolean;
  /** Stops restoring. */
  signal?: AbortSignal;
}

const mostIdLength = 256;
const suffix = ".baton-session";

const checkId = (id: unknown): string => checkText(id, "id", mostIdLength);

function checkFolder(folder: unknown): string | null {
  if (folder === undefined) return null;
  if (typeof folder === "string" && folder !== "" && !folder.includes("\0")) return folder;
  throw new OptionInvalidError(
    `\`folder\` is ${String(folder)}. Give the path of a folder, or leave it out.`,
    {
      facts: { option: "folder", value: String(folder) },
    },
  );
}

/** What tells sessions of one model apart, and their files. */
function keyOf(salt: string, id: string): string {
  return createHash("sha256")
    .update(`${JSON.stringify(salt)} ${id}`)
    .digest("hex");
}

/** Open sessions of one model, by key; a promise while one is restored. */
type Open = Map<string, Session | Promise<Session>>;
const openOf = new WeakMap<Model, Open>();

function sessionsOf(model: Model): Open {
  let open = openOf.get(model);
  if (open === undefined) {
    open = new Map();
    openOf.set(model, open);
  }
  return open;
}

interface SessionInit {
  model: Model;
  id: string;
  salt: string;
  folder: string | null;
  handle: CacheHandle;
}

export class Session {
  readonly id: string;
  readonly #init: SessionInit;
  readonly #handle: CacheHandle;

  /** Use `model.session()`. */
  constructor(init: SessionInit) {
    this.id = init.id;
    this.#init = init;
    this.#handle = init.handle;
  }

  /** Rows that the next one will read. */
  get rows(): number {
    return this.#handle.rows;
  }

  get closed(): boolean {
    return this.#handle.closed;
  }

  /** What became of the snapshot that was found by the id; null: there was none. */
  get restored(): RestoreReport | null {
    return this.#handle.restored;
  }

  /** See CacheHandle.append. */
  append(content: CacheContent, options?: AppendOptions): Promise<AppendUsage> {
    return this.#handle.append(content, options);
  }

  /** See CacheHandle.match. */
  match(...contents: readonly CacheContent[]): Promise<CacheMatch> {
    return this.#handle.match(...contents);
  }

  /** See CacheHandle.generate. */
  generate<const S extends OutputSchema | undefined = undefined>(
    options?: GenerationOptions<S>,
  ): Generation<S> {
    return this.#handle.generate(options);
  }

  /**
   * A session of its own on the same rows, which exist once however many sessions read them. Throws OPTION_INVALID for
   * an id that is in use.
   */
  fork({ id }: { id: string }): Session {
    const { model, salt, folder } = this.#init;
    const key = keyOf(salt, checkId(id));
    const open = sessionsOf(model);
    if (open.has(key)) {
      throw new OptionInvalidError(
        `Session "${id}" is open already. Fork under another id, or close it first.`,
        {
          facts: { option: "id", value: id },
        },
      );
    }
    const session = new Session({ model, id, salt, folder, handle: this.#handle.fork() });
    open.set(key, session);
    return session;
  }

  /** See CacheHandle.mark. */
  mark(): CacheMark {
    return this.#handle.mark();
  }

  /** See CacheHandle.rewind: no row is computed or copied. */
  rewind(mark: CacheMark): void {
    this.#handle.rewind(mark);
  }

  /** See CacheHandle.truncate. */
  truncate(rows: number): void {
    this.#handle.truncate(rows);
  }

  /**
   * Saves the rows as they are now: in the session's folder, where its id finds them again, or anywhere else. See
   * CacheHandle.snapshot.
   */
  async snapshot(options?: SnapshotOptions): Promise<SnapshotReport>;
  async snapshot(to: SnapshotTarget, options?: SnapshotOptions): Promise<SnapshotReport>;
  async snapshot(
    first?: SnapshotTarget | SnapshotOptions,
    second?: SnapshotOptions,
  ): Promise<SnapshotReport> {
    const isPlace =
      typeof first === "string" || (first !== undefined && ("getWriter" in first || "write" in first));
    const to = isPlace ? (first as SnapshotTarget) : this.#path();
    const options = isPlace ? second : (first as SnapshotOptions | undefined);
    return this.#handle.snapshot(to, { ...options, about: aboutOf(this.#init) });
  }

  /** Takes away the snapshot in the session's folder; the session itself goes on. */
  async forget(): Promise<void> {
    await rm(this.#path(), { force: true });
  }

  /**
   * Frees what no other session reads; its id is free again. A snapshot in the folder stays. `retain`: what becomes of
   * the rows in memory, instead of what the session was opened with. Idempotent. Throws OPTION_INVALID.
   */
  close(options: { retain?: Retention } = {}): void {
    this.#handle.close(options);
    const { model, salt, id } = this.#init;
    const open = sessionsOf(model);
    if (open.get(keyOf(salt, id)) === this) open.delete(keyOf(salt, id));
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  #path(): string {
    const { folder, salt, id } = this.#init;
    if (folder !== null) return pathOf(folder, salt, id);
    throw new OptionInvalidError(
      `Session "${id}" has no folder. Open it with one, or say where the snapshot goes to.`,
      { facts: { option: "folder", value: "undefined" } },
    );
  }
}

function pathOf(folder: string, salt: string, id: string): string {
  return join(folder, `${keyOf(salt, id)}${suffix}`);
}

/** What a session's snapshot says of it. The salt is nobody's business. */
function aboutOf({ salt, id }: Pick<SessionInit, "salt" | "id">) {
  return { session: id, key: keyOf(salt, id) };
}

async function openSession(model: Model, options: SessionOptions): Promise<Session> {
  const { id, partial = false, signal } = options;
  const salt = checkSalt(options.salt);
  const retain = checkRetention(options.retain);
  const folder = checkFolder(options.folder);
  const path = folder === null ? null : pathOf(folder, salt, id);
  const init = { model, id, salt, folder };
  if (path === null || !(await exists(path)))
    return new Session({ ...init, handle: new CacheHandle(model, { salt, retain }) });
  const stop = signal === undefined ? {} : { signal };
  const { view, owed, about, report } = await restoreView(model, path, { partial, salt, ...stop });
  const handle = new CacheHandle(model, { salt, retain }, view, owed, report);
  const { key } = aboutOf(init);
  const found = (about as { key?: unknown } | null)?.key;
  if (found === key) return new Session({ ...init, handle });
  handle.close();
  throw mismatch(path, { field: "session", what: "id or salt", expected: key, found });
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

declare module "../model/model.js" {
  interface Model {
    /**
     * The open session of this id, the one that a snapshot in `folder` has, or a new one without a row. Rejects with
     * OPTION_INVALID, CLOSED, and what `cache.restore` rejects with.
     */
    session(options: SessionOptions): Promise<Session>;
  }
}

Object.defineProperty(Model.prototype, "session", {
  async value(this: Model, options: SessionOptions): Promise<Session> {
    this.stats(); // throws with the model's name if it is closed
    const key = keyOf(checkSalt(options?.salt), checkId(options?.id));
    const open = sessionsOf(this);
    const found = open.get(key);
    if (found !== undefined) return found;
    const opening = openSession(this, options);
    open.set(key, opening);
    try {
      const session = await opening;
      open.set(key, session);
      return session;
    } catch (error) {
      open.delete(key);
      throw error;
    }
  },
});
