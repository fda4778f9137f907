// SPDX-License-Identifier: Apache-2.0
// A server on loopback that speaks as much of the Hub's API as a download needs: model info, path info, redirects to
// a content server of another origin, ranges, tokens. Faults can be switched on; every request is written down.
import { createHash } from "node:crypto";
import type { IncomingMessage, RequestListener, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export const commit = "0123456789abcdef0123456789abcdef01234567";
export const repo = "acme/tiny";

export interface Faults {
  /** The faults of content are those of this file only. */
  of?: string;
  /** Content answers that break off after so many bytes each; the last one holds for all later ones. */
  cutAfter?: number[];
  /** Sends these bytes instead of the file's. */
  wrongBytes?: Buffer;
  /** Answers with the whole file whatever Range asks. */
  ignoreRange?: boolean;
  /** Sends this much of the content and then nothing, without an end. */
  stallAfter?: number;
  /** Never answers the API. */
  silent?: boolean;
  /** Status of every API answer. */
  status?: number;
  /** Only with this token. */
  token?: string;
  /** Content waits for this after its first 64 KiB. */
  gate?: Promise<void>;
}

export interface LoggedRequest {
  server: "hub" | "content";
  method: string;
  url: string;
  range: string | undefined;
  authorization: string | undefined;
}

const sha256Of = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** A promise and the function that fulfils it. */
export function openable(): { gate: Promise<void>; open: () => void } {
  let open = () => {};
  const gate = new Promise<void>((fulfil) => {
    open = fulfil;
  });
  return { gate, open };
}

export class HubServer {
  faults: Faults = {};
  readonly requests: LoggedRequest[] = [];
  /** Bytes of content sent, probes of one byte left out. */
  contentBytes = 0;
  readonly sha256: string;
  private readonly hub: Server;
  private readonly content: Server;

  private constructor(
    readonly file: string,
    readonly bytes: Buffer,
    /** All files by their paths. */
    readonly files: ReadonlyMap<string, Buffer>,
  ) {
    this.sha256 = sha256Of(bytes);
    this.hub = createServer(this.logged("hub", (request, response) => this.answerHub(request, response)));
    this.content = createServer(
      this.logged("content", (request, response) => {
        const path = decodeURIComponent(new URL(request.url ?? "", this.endpoint).pathname.slice(1));
        void this.answerContent(path, request, response);
      }),
    );
  }

  /** `more`: other files of the repository. */
  static async start(
    file: string,
    bytes: Buffer,
    more: Readonly<Record<string, Buffer>> = {},
  ): Promise<HubServer> {
    const made = new HubServer(file, bytes, new Map([[file, bytes], ...Object.entries(more)]));
    for (const server of [made.hub, made.content]) {
      await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
    }
    return made;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.hub.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const server of [this.hub, this.content]) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  }

  private logged(server: LoggedRequest["server"], answer: RequestListener): RequestListener {
    return (request, response) => {
      const { range, authorization } = request.headers;
      this.requests.push({
        server,
        method: request.method ?? "",
        url: request.url ?? "",
        range,
        authorization,
      });
      answer(request, response);
    };
  }

  private answerHub(request: IncomingMessage, response: ServerResponse): void {
    const { silent, status, token } = this.faults;
    if (silent) return;
    const json = (code: number, body: unknown, headers: Record<string, string> = {}) => {
      response.writeHead(code, { "content-type": "application/json", ...headers });
      response.end(JSON.stringify(body));
    };
    if (token !== undefined && request.headers.authorization !== `Bearer ${token}`) {
      json(401, { error: "Invalid credentials" });
      return;
    }
    if (status !== undefined) {
      json(status, { error: `made up ${status}` });
      return;
    }
    const url = new URL(request.url ?? "", this.endpoint);
    const api = `/api/models/${repo}`;
    if (url.pathname === `${api}/revision/main`) {
      json(200, {
        _id: "1",
        id: repo,
        sha: commit,
        private: false,
        gated: false,
        downloads: 0,
        likes: 0,
      });
      return;
    }
    if (url.pathname === `${api}/paths-info/main`) {
      this.answerPaths(request, json);
      return;
    }
    if (url.pathname === `${api}/tree/${commit}` && url.searchParams.get("recursive") === "true") {
      json(
        200,
        [...this.files.keys()].map((path) => this.entryOf(path)),
      );
      return;
    }
    const [, path = ""] = url.pathname.split(`/${repo}/resolve/${commit}/`);
    const bytes = this.files.get(path);
    if (bytes !== undefined && !this.isLarge(path)) {
      this.requests.pop(); // content, though of the same server
      this.logged("content", () => void this.answerContent(path, request, response))(request, response);
      return;
    }
    if (bytes !== undefined) {
      this.redirect(path, bytes, response);
      return;
    }
    json(404, { error: "Repository not found" }, { "x-error-code": "RepoNotFound" });
  }

  private redirect(path: string, bytes: Buffer, response: ServerResponse): void {
    const port = (this.content.address() as AddressInfo).port;
    // Another host name is another origin: a token must not travel there.
    response.writeHead(302, {
      location: `http://localhost:${port}/${path}`,
      "x-repo-commit": commit,
      "x-linked-etag": `"${this.etagOf(path)}"`,
      "x-linked-size": String(bytes.length),
    });
    response.end();
  }

  private answerPaths(request: IncomingMessage, json: (code: number, body: unknown) => void): void {
    let text = "";
    request.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    request.on("end", () => {
      const { paths } = JSON.parse(text) as { paths: string[] };
      json(
        200,
        paths.filter((path) => this.files.has(path)).map((path) => this.entryOf(path)),
      );
    });
  }

  private isLarge(path: string): boolean {
    return path === this.file || (this.files.get(path)?.length ?? 0) > 50_000;
  }

  /** Large files are known by their SHA-256, others by git's name of them. */
  private etagOf(path: string): string {
    const bytes = this.files.get(path) ?? Buffer.alloc(0);
    if (this.isLarge(path)) return sha256Of(bytes);
    return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
  }

  private entryOf(path: string) {
    const size = this.files.get(path)?.length ?? 0;
    const entry = { type: "file", path, size };
    if (!this.isLarge(path)) return { ...entry, oid: this.etagOf(path) };
    return { ...entry, oid: "a".repeat(40), lfs: { oid: this.etagOf(path), size, pointerSize: 130 } };
  }

  private async answerContent(
    path: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { of } = this.faults;
    const faults = of === undefined || of === path ? this.faults : {};
    const { wrongBytes, ignoreRange, cutAfter, stallAfter, gate } = faults;
    const all = wrongBytes ?? this.files.get(path) ?? Buffer.alloc(0);
    const [, first = "0", last = ""] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
    const isProbe = request.headers.range === "bytes=0-0";
    const ranged = request.headers.range !== undefined && (isProbe || !ignoreRange);
    const start = ranged ? Number(first) : 0;
    const body = all.subarray(start, ranged && last !== "" ? Number(last) + 1 : all.length);
    response.writeHead(ranged ? 206 : 200, {
      etag: `"${this.etagOf(path)}"`,
      "content-length": String(body.length),
      ...(ranged ? { "content-range": `bytes ${start}-${start + body.length - 1}/${all.length}` } : {}),
    });
    if (isProbe) {
      response.end(body);
      return;
    }
    const cut = cutAfter !== undefined && cutAfter.length > 1 ? cutAfter.shift() : cutAfter?.[0];
    const most = Math.min(body.length, cut ?? body.length, stallAfter ?? body.length);
    for (let at = 0; at < most && !response.destroyed; at += 65536) {
      const piece = body.subarray(at, Math.min(most, at + 65536));
      this.contentBytes += piece.length;
      await new Promise((sent) => response.write(piece, sent));
      await gate;
    }
    if (most === body.length) response.end();
    else if (stallAfter === undefined) response.destroy();
  }
}
