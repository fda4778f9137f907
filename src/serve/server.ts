// SPDX-License-Identifier: Apache-2.0
// The server: what it serves, made once; a handler of requests; a socket, if it is told to listen; and an orderly end.

import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { HttpBindings } from "@hono/node-server";
import { getRequestListener } from "@hono/node-server";
import { IoError, OptionInvalidError } from "../index.js";
import type { App } from "./app.js";
import { createApp, createDocument } from "./app.js";
import { Chains } from "./chains.js";
import type { ServeContext } from "./context.js";
import { ServeError } from "./errors.js";
import { Gate } from "./gate.js";
import { ApiKeys } from "./keys.js";
import { Leases } from "./leases.js";
import { Metrics } from "./metrics.js";
import { servedModels } from "./models.js";
import { checkName, promptPattern } from "./names.js";
import type { ServerOptions } from "./options.js";
import { checkOptions } from "./options.js";
import { Trunks } from "./places.js";
import type { Tell } from "./prompts.js";
import { Prompts } from "./prompts.js";
import { Sessions } from "./sessions.js";

export interface ListenOptions {
  /** Default 8080; 0: any that is free. */
  port?: number;
  /** Default "127.0.0.1". Another than a loopback address needs keys, or `open`. */
  host?: string;
  /** Whoever reaches the address may use the server without a key. */
  open?: boolean;
}

export interface Listening {
  host: string;
  port: number;
  url: string;
}

const isLoopback = (host: string) => /^(localhost|127(\.[0-9]{1,3}){3}|::1)$/i.test(host);
const sweepMs = 5000;

export class BatonServer {
  readonly #context: ServeContext;
  readonly #app: App;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #servers: Server[] = [];
  #looking: Promise<void> | null = null;
  #closing: Promise<void> | null = null;

  /** Use `createServer`. */
  constructor(context: ServeContext) {
    this.#context = context;
    this.#app = createApp(context);
    const { reloadMs } = context.options;
    this.#every(sweepMs, () => context.sessions.sweep());
    if (reloadMs > 0) this.#every(reloadMs, () => void this.#look(false));
  }

  /** Answers a request that comes from anywhere: for the handlers of web frameworks. */
  fetch(request: Request): Response | Promise<Response> {
    return this.#app.fetch(request);
  }

  /** Rejects with OPTION_INVALID for an address that needs keys, IO for one that cannot be had. */
  async listen({ port = 8080, host = "127.0.0.1", open = false }: ListenOptions = {}): Promise<Listening> {
    const { createServer: createHttpServer } = await import("node:http");
    const local = isLoopback(host);
    if (!local && !open && !this.#context.keys.required) {
      throw new OptionInvalidError(
        `\`host\` is ${host}, from where others reach the server, and it has no keys. Give keys, or say \`open\`.`,
        { facts: { option: "host", value: host } },
      );
    }
    const answerTo = (request: Request, { incoming, outgoing }: HttpBindings) =>
      this.#app.fetch(request, { incoming, outgoing, local });
    const listener = getRequestListener(answerTo as Parameters<typeof getRequestListener>[0], {
      overrideGlobalObjects: false,
    });
    const server = createHttpServer(listener as Parameters<typeof createHttpServer>[1]);
    server.listen(port, host);
    try {
      await once(server, "listening");
    } catch (cause) {
      throw new IoError(
        `Port ${port} of ${host} cannot be had: ${(cause as Error).message}. Take another one.`,
        {
          facts: { host, port },
          cause,
        },
      );
    }
    this.#servers.push(server);
    const { address, family, port: taken } = server.address() as AddressInfo;
    return {
      host: address,
      port: taken,
      url: `http://${family === "IPv6" ? `[${address}]` : address}:${taken}`,
    };
  }

  /** Looks at the files of chains and prompts now, and loads what has changed. What cannot be loaded stays as it was. */
  reload(): Promise<void> {
    return this.#look(true);
  }

  /**
   * Refuses what comes from now on, waits until what is in progress has been answered, for `limitMs` at most (30 s), stops
   * the rest, and lets go of the address and of all rows. Models and chains stay open. Idempotent.
   */
  close({ limitMs = 30_000 }: { limitMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(limitMs);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(limitMs: number): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.#context.leases.drain(limitMs);
    await Promise.all(this.#servers.map(closeServer));
    await this.#looking;
    this.#context.sessions.clear();
    this.#context.trunks.clear();
  }

  #every(ms: number, work: () => void): void {
    this.#timers.push(setInterval(work, ms).unref());
  }

  /** One look at a time. */
  async #look(now: boolean): Promise<void> {
    if (this.#looking !== null) {
      await this.#looking;
      if (!now) return;
    }
    this.#looking = this.#lookOnce(now).finally(() => {
      this.#looking = null;
    });
    await this.#looking;
  }

  async #lookOnce(now: boolean): Promise<void> {
    const { chains, prompts, log } = this.#context;
    for (const served of [prompts, chains]) {
      await served.look(now).catch((error: unknown) => {
        log({ event: "note", message: "files could not be looked at", error });
      });
    }
  }
}

async function closeServer(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), 100);
  await closed;
  clearTimeout(timer);
}

/**
 * A server of models and chains that are there. Rejects with OPTION_INVALID for options that contradict, IO for a folder
 * that cannot be read, and whatever chains' sources reject with.
 */
export async function createServer(options: ServerOptions): Promise<BatonServer> {
  const checked = checkOptions(options);
  const log = options.log ?? (() => {});
  const metrics = new Metrics();
  const models = servedModels(options.models ?? {});
  const tell: Tell = (outcome, message, error) => {
    metrics.reloaded(outcome);
    log({ event: "note", message, ...(error === undefined ? {} : { error }) });
  };
  const chains = await Chains.open(options.chains ?? {}, tell);
  const prompts = await Prompts.open(options.prompts, [...models.values()], tell);
  let document: string | null = null;
  const context: ServeContext = {
    ...{ options: checked, models, chains, prompts, metrics, log },
    sessions: new Sessions({ most: checked.maxSessions, idleMs: checked.sessionIdleMs }),
    trunks: new Trunks(),
    keys: new ApiKeys(options.keys ?? []),
    gate: new Gate(checked.maxConcurrent, checked.maxQueued),
    leases: new Leases(),
    startedAt: Math.floor(Date.now() / 1000),
    document: () => {
      document ??= createDocument();
      return document;
    },
    promptRows(served, name, param) {
      if (name === null) return undefined;
      const rows = prompts.get(checkName("prompt", name, param, promptPattern), param).rows.get(served);
      if (rows !== undefined) return rows;
      throw new ServeError(
        400,
        "prompt_mismatch",
        `Prompt "${name}" was not trained for the model "${served.name}".`,
        {
          param,
        },
      );
    },
  };
  metrics.watch(context);
  return new BatonServer(context);
}
