// SPDX-License-Identifier: Apache-2.0
// A trained prompt as the folder that PEFT's save_pretrained writes for PROMPT_TUNING, byte for byte, with the contract
// in a file of its own beside it, which PEFT does not look at. PEFT puts the rows in front of the embeddings and counts
// positions from the first of them; ours stand at -n .. -1 before the text: the same distances, the same logits.

import { join } from "node:path";
import { PromptInvalidError } from "../errors.js";
import type { PromptContract } from "../model/contract.js";
import { contractFile, formatContract } from "../model/contract.js";
import { formatSafetensors } from "../model/safetensors.js";
import type { ModelInfo } from "../native/types.js";
import { checkWritable, writeTogether } from "./files.js";

/** What PEFT keeps of how the rows began; of a text it wants the tokenizer's name, too. */
export type PeftInit = { kind: "TEXT"; text: string } | { kind: "SAMPLE_VOCAB" } | { kind: "RANDOM" };

/** What the files say of a prompt beside its rows. */
export interface PromptFacts {
  /** Of the model it was trained on. */
  model: Pick<ModelInfo, "hidden" | "heads" | "layers">;
  /** Name of the base model, as PEFT would load it: a name on the Hub or a path. */
  baseModel: string;
  init: PeftInit;
  contract: PromptContract;
}

export interface TrainedPrompt extends PromptFacts {
  /** [count, hidden] */
  rows: Float32Array;
  /** Virtual tokens. */
  count: number;
}

/** Good for a stage's `prompt` as it is. */
export interface TunedPrompt {
  /** [count, hidden] */
  rows: Float32Array;
  /** Virtual tokens. */
  count: number;
  contract: PromptContract;
  /** Where it was written; null without `output`. */
  folder: string | null;
}

const weightsFile = "adapter_model.safetensors";

/** The version of PEFT whose files these are. */
const peftVersion = "0.21.2";

/** As Python's json.dumps(indent=2, sort_keys=True) writes a flat object. */
function pythonJson(object: Readonly<Record<string, string | number | boolean | null>>): string {
  const ascii = (text: string) =>
    text.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const lines = Object.keys(object)
    .sort()
    .map((key) => `  ${JSON.stringify(key)}: ${ascii(JSON.stringify(object[key]))}`);
  return `{\n${lines.join(",\n")}\n}`;
}

function configOf({ count, model, baseModel, init }: TrainedPrompt): string {
  const text = init.kind === "TEXT" ? init.text : null;
  return pythonJson({
    auto_mapping: null,
    base_model_name_or_path: baseModel,
    inference_mode: true,
    modules_to_save: null,
    num_attention_heads: model.heads,
    num_layers: model.layers,
    num_transformer_submodules: 1,
    num_virtual_tokens: count,
    peft_type: "PROMPT_TUNING",
    peft_version: peftVersion,
    prompt_tuning_init: init.kind,
    prompt_tuning_init_text: text,
    revision: null,
    task_type: "CAUSAL_LM",
    token_dim: model.hidden,
    tokenizer_kwargs: null,
    tokenizer_name_or_path: text === null ? null : baseModel,
  });
}

/**
 * Writes adapter_config.json, baton_contract.json and adapter_model.safetensors into `folder`, which is made if there is
 * none; a prompt that was there is replaced, other files stay. Throws IoError before anything changes if the disk has no
 * room, PROMPT_INVALID for rows of another shape or that are no numbers.
 */
export async function exportPrompt(folder: string, prompt: TrainedPrompt): Promise<void> {
  const { rows, count, model, contract } = prompt;
  if (rows.length !== count * model.hidden || count < 1) {
    throw new PromptInvalidError(
      `A prompt of ${rows.length} numbers is not [${count}, ${model.hidden}]. Give count times hidden numbers.`,
      { facts: { label: folder, count, hidden: model.hidden } },
    );
  }
  const bad = rows.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    const row = Math.floor(bad / model.hidden);
    throw new PromptInvalidError(
      `The prompt for ${folder} has ${rows[bad]} in row ${row}. Its training diverged: take an earlier checkpoint.`,
      { facts: { label: folder, row, value: String(rows[bad]) } },
    );
  }
  const tensor = { shape: [count, model.hidden], data: rows };
  const encode = (text: string) => new TextEncoder().encode(text);
  await writeTogether(
    folder,
    new Map([
      ["adapter_config.json", encode(configOf(prompt))],
      [contractFile, encode(formatContract(contract))],
      [weightsFile, formatSafetensors(new Map([["prompt_embeddings", tensor]]))],
    ]),
  );
}

/** Folders of the prompts of stages that were trained together: of one stage `output` itself, of several one in it each. */
export function promptFolders(output: string | undefined, stages: readonly string[]): (string | null)[] {
  if (output === undefined) return stages.map(() => null);
  return stages.map((stage) => (stages.length === 1 ? output : join(output, stage)));
}

/** Throws IoError if a prompt could not be written into the folder; makes it if there is none. */
export const checkPromptFolder = (folder: string): Promise<void> => checkWritable(join(folder, weightsFile));

/** Exports those that have a folder; by stage. Throws what exportPrompt throws. */
export async function exportPrompts(
  prompts: readonly (TrainedPrompt & { stage: string; folder: string | null })[],
): Promise<Record<string, TunedPrompt>> {
  const written: Record<string, TunedPrompt> = {};
  for (const { stage, folder, ...prompt } of prompts) {
    if (folder !== null) await exportPrompt(folder, prompt);
    const { rows, count, contract } = prompt;
    written[stage] = { rows, count, contract, folder };
  }
  return written;
}
