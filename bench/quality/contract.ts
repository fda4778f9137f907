// SPDX-License-Identifier: Apache-2.0
// What the quality suite measures and how it is written down. A case is a set of data with variants of a chain; a run is
// one variant with one seed: the smallest thing that is measured, written and never repeated.
import type { Machine } from "../runner/machine.js";
import type { Bench } from "./bench.js";

/** Of one moment of a run. Loss: mean cross entropy (natural log) over labelled tokens of the dev data. */
export interface Evaluation {
  /** Epochs done; 0: before the first step. */
  epoch: number;
  devLoss: number;
  /** In percent, of outputs written behind gold texts; absent where none are written. */
  exactMatch?: number;
  f1?: number;
}

/** Exact match and F1 in percent by dev item, in the data's order. */
export interface ItemScores {
  exactMatch: number[];
  f1: number[];
}

/** What a chain costs, per item unless said otherwise. */
export interface Cost {
  /** Rows that went through a forward. */
  rows: number;
  seconds: number;
  /** Bytes of KV of the last stage's frame, when it ends. */
  kvBytes: number;
}

export interface Measured {
  /** Options of the training and what else was chosen; by name. */
  settings: Record<string, string | number>;
  /** Before training and after each epoch, or the one evaluation of what is not trained. */
  evaluations: Evaluation[];
  /** Training loss of every step. */
  losses?: number[];
  /** Epochs of the prompts that were kept. */
  kept: number;
  /** Of outputs written behind gold texts under the kept prompts. */
  gold?: ItemScores;
  /** Of outputs of whole chains under the kept prompts: every stage reads what the one before it wrote. */
  chain?: ItemScores;
  cost?: Cost;
  /** Rows of the training data per epoch: forward and backward, and read but computed once. */
  rows?: { live: number; frozen: number };
  /** Of optimiser steps, evaluations and the computing of frozen rows in them included. */
  trainSeconds?: number;
}

export interface QualityRun extends Measured {
  case: string;
  variant: string;
  seed: number;
  /** A key of the report's machines. */
  machine: string;
  /** ISO 8601, UTC. */
  date: string;
  commit: string;
  seconds: number;
}

export interface QualityReport {
  suite: "quality";
  /** Those that runs were made on, by `machineName`: a suite takes more sittings than one machine may give. */
  machines: Record<string, Machine>;
  model: string;
  threads: number;
  /** By case: what there is to know about its data. */
  facts: Record<string, Record<string, number>>;
  runs: QualityRun[];
}

export interface Variant {
  /** Unique in its case. */
  name: string;
  /** What it is, for the page. */
  about: string;
  /** Runs with the first seed only: nothing in it is random, or others build on it. */
  once?: boolean;
  /** Names of variants whose prompts it takes, of the same seed or, of those that run once, of the first. */
  needs?: readonly string[];
  measure(bench: Bench, seed: number): Promise<Measured>;
}

export interface QualityCase {
  id: string;
  title: string;
  /** Facts about the data. Throws MissingData. */
  facts(data: string | undefined): Record<string, number>;
  variants: readonly Variant[];
}

/** One line of the plan of a sitting. */
export interface PlannedRun {
  case: QualityCase;
  variant: Variant;
  seed: number;
}
