// SPDX-License-Identifier: Apache-2.0
// What /metrics says: requests, tokens and times counted as they happen; queue, pool and tiers as they are when somebody
// looks. Labels are names of this server's own (routes, models, chains), never anything that a request made up.

import type { Registry } from "prom-client";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry as PromRegistry } from "prom-client";
import type { ModelCache } from "../index.js";
import type { ServeContext } from "./context.js";
import type { Usage } from "./openai/usage.js";

const secondsBuckets = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];
const perTokenBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];

type CacheReport = ReturnType<ModelCache["stats"]>;

/** Of each model, one gauge or counter a line. */
const poolFigures: Readonly<Record<string, [help: string, value: (report: CacheReport) => number]>> = {
  baton_kv_budget_bytes: ["Budget of the KV pool", (r) => r.budgetBytes],
  baton_kv_used_bytes: ["KV that segments hold", (r) => r.usedBytes],
  baton_kv_kept_bytes: ["KV that nobody holds and that can be found again", (r) => r.bytes.index],
  baton_kv_segments: ["Segments that are held", (r) => r.segments],
  baton_rows_computed_total: ["Rows that went through a forward", (r) => r.rowsComputed],
  baton_rows_reused_total: ["Rows that did not have to", (r) => r.rowsReused],
};

type Tier = CacheReport["tiers"][number];

const tierFigures: Readonly<Record<string, [help: string, value: (tier: Tier) => number]>> = {
  baton_tier_used_bytes: ["KV in a tier", (t) => t.usedBytes],
  baton_tier_budget_bytes: ["Budget of a tier", (t) => t.budgetBytes],
  baton_tier_blocks_written_total: ["Blocks moved into a tier", (t) => t.blocksWritten],
  baton_tier_blocks_read_total: ["Blocks read back from a tier", (t) => t.blocksRead],
  baton_tier_blocks_evicted_total: ["Blocks that a tier gave up", (t) => t.blocksEvicted],
};

export class Metrics {
  readonly #registry: Registry = new PromRegistry();
  readonly #requests: Counter<"route" | "method" | "status">;
  readonly #seconds: Histogram<"route">;
  readonly #firstToken: Histogram<"model">;
  readonly #perToken: Histogram<"model">;
  readonly #tokens: Counter<"model" | "kind">;
  readonly #reloads: Counter<"outcome">;

  constructor() {
    const registers = [this.#registry];
    const histogram = <L extends string>(name: string, help: string, label: L, buckets: number[]) =>
      new Histogram<L>({ name, help, labelNames: [label], buckets, registers });
    this.#requests = new Counter({
      name: "baton_requests_total",
      help: "Requests that were answered",
      labelNames: ["route", "method", "status"],
      registers,
    });
    this.#seconds = histogram(
      "baton_request_seconds",
      "From request to the end of its answer",
      "route",
      secondsBuckets,
    );
    this.#firstToken = histogram(
      "baton_first_token_seconds",
      "From request to the first token",
      "model",
      secondsBuckets,
    );
    this.#perToken = histogram(
      "baton_token_seconds",
      "Mean time of a later token of an output",
      "model",
      perTokenBuckets,
    );
    this.#tokens = new Counter({
      name: "baton_tokens_total",
      help: "Tokens by kind: prompt, cached (those of the prompt that were not computed), completion",
      labelNames: ["model", "kind"],
      registers,
    });
    this.#reloads = new Counter({
      name: "baton_reloads_total",
      help: "Files of chains and prompts that changed, by what became of them",
      labelNames: ["outcome"],
      registers,
    });
  }

  answered(route: string, method: string, status: number, ms: number): void {
    this.#requests.inc({ route, method, status: String(status) });
    this.#seconds.observe({ route }, ms / 1000);
  }

  completed(model: string, usage: Usage): void {
    this.#tokens.inc({ model, kind: "prompt" }, usage.prompt_tokens);
    this.#tokens.inc({ model, kind: "cached" }, usage.prompt_tokens_details.cached_tokens);
    this.#tokens.inc({ model, kind: "completion" }, usage.completion_tokens);
  }

  /** `perSecond`: of tokens after the first; 0 with fewer than two. */
  timed(model: string, firstTokenMs: number, perSecond: number): void {
    this.#firstToken.observe({ model }, firstTokenMs / 1000);
    if (perSecond > 0) this.#perToken.observe({ model }, 1 / perSecond);
  }

  reloaded(outcome: "replaced" | "broken" | "gone"): void {
    this.#reloads.inc({ outcome });
  }

  /** Adds what is read when somebody looks; once. */
  watch({ gate, leases, sessions, models }: ServeContext): void {
    const registers = [this.#registry];
    const gauge = (name: string, help: string, value: () => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect: function () {
          this.set(value());
        },
      });
    gauge("baton_requests_in_progress", "Requests whose answer has not ended", () => leases.count);
    gauge("baton_computing", "Requests that compute", () => gate.running);
    gauge("baton_waiting", "Requests that wait for their turn", () => gate.waiting);
    gauge("baton_sessions", "Open sessions", () => sessions.count);
    const reports = () =>
      [...models.values()].flatMap(({ name, model }) =>
        model.closed ? [] : [{ model: name, report: model.cache.stats() }],
      );
    for (const [name, [help, value]] of Object.entries(poolFigures)) {
      new Gauge({
        ...{ name, help, labelNames: ["model"], registers },
        collect: function () {
          for (const { model, report } of reports()) this.set({ model }, value(report));
        },
      });
    }
    for (const [name, [help, value]] of Object.entries(tierFigures)) {
      new Gauge({
        ...{ name, help, labelNames: ["model", "tier"], registers },
        collect: function () {
          for (const { model, report } of reports())
            for (const tier of report.tiers) this.set({ model, tier: tier.name }, value(tier));
        },
      });
    }
    collectDefaultMetrics({ register: this.#registry });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
