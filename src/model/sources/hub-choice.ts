// SPDX-License-Identifier: Apache-2.0
// Which of a repository's files are the model: one GGUF file, or a folder of safetensors with what stands around them.
// A guess is never made: where there is more than one model, the user says which.

export type ModelChoice =
  | { kind: "gguf"; file: string }
  /** `weights`: the one file, or the index of the shards; all in `folder` ("" or "sub/"). */
  | { kind: "safetensors"; folder: string; weights: string };

export const singleName = "model.safetensors";
export const indexName = "model.safetensors.index.json";

/** Beside the weights, if they are there. */
const companions = [
  "config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "generation_config.json",
  "chat_template.jinja",
];
const required = ["config.json", "tokenizer.json"];
const moreTemplates = /^additional_chat_templates\/[^/]+\.jinja$/;

/** Names that stand for a folder of safetensors in "hf:org/repo/...". */
export const standsForFolder = (file: string) =>
  ["config.json", singleName, indexName].includes(file.slice(file.lastIndexOf("/") + 1));

/** Some names of many, for a message. */
function some(names: readonly string[]): string {
  const shown = names.slice(0, 8).join(", ");
  return names.length > 8 ? `${shown} and ${names.length - 8} more` : shown;
}

function weightsIn(folder: string, has: ReadonlySet<string>): string | undefined {
  return [indexName, singleName].map((name) => folder + name).find((path) => has.has(path));
}

function chooseFolder(asked: string, has: ReadonlySet<string>, repo: string): ModelChoice {
  const folder = asked.slice(0, asked.lastIndexOf("/") + 1);
  const weights = asked.endsWith("config.json") ? weightsIn(folder, has) : asked;
  if (weights !== undefined && has.has(weights)) return { kind: "safetensors", folder, weights };
  throw new Error(`${repo} has no ${weights ?? `${folder}${singleName} and no ${folder}${indexName}`}`);
}

/**
 * `asked`: path of a file that stands for a folder; absent: the whole repository is meant. Throws an Error that says what
 * is there and what to name.
 */
export function chooseModel(paths: readonly string[], asked: string | undefined, repo: string): ModelChoice {
  const has = new Set(paths);
  if (asked !== undefined) return chooseFolder(asked, has, repo);
  const ggufs = paths.filter((path) => /\.gguf$/i.test(path));
  const weights = weightsIn("", has);
  const [gguf] = ggufs;
  if (weights !== undefined && gguf !== undefined) {
    throw new Error(
      `${repo} has the model as safetensors and as GGUF (${some(ggufs)}); say which: ` +
        `"hf:${repo}/${weights}" or "hf:${repo}/${gguf}"`,
    );
  }
  if (weights !== undefined) return { kind: "safetensors", folder: "", weights };
  if (gguf !== undefined && ggufs.length === 1) return { kind: "gguf", file: gguf };
  if (gguf !== undefined) {
    throw new Error(
      `${repo} has ${ggufs.length} GGUF files (${some(ggufs)}); name one: "hf:${repo}/${gguf}"`,
    );
  }
  throw new Error(
    `${repo} has neither GGUF nor ${singleName} or ${indexName} (it has ${some(paths) || "no files"}); ` +
      "use a repository that has the model in one of these formats",
  );
}

/** What is fetched beside the weights. Throws an Error when the model could not be used without what is missing. */
export function companionsOf(paths: readonly string[], folder: string, repo: string): string[] {
  for (const name of required) {
    if (!paths.includes(folder + name)) {
      throw new Error(`${repo} has safetensors and no ${folder}${name}, without which they cannot be used`);
    }
  }
  return paths.filter((path) => {
    if (!path.startsWith(folder)) return false;
    const name = path.slice(folder.length);
    return companions.includes(name) || moreTemplates.test(name);
  });
}

/** Paths of the shards that an index names. Throws an Error when it is none. */
export function shardsOf(text: string, index: string): string[] {
  const folder = index.slice(0, index.lastIndexOf("/") + 1);
  let map: unknown;
  try {
    map = (JSON.parse(text) as { weight_map?: unknown } | null)?.weight_map;
  } catch (cause) {
    throw new Error(`${index} is not JSON: ${(cause as Error).message}`);
  }
  const names = typeof map === "object" && map !== null ? [...new Set(Object.values(map))] : [];
  const isPlain = (name: unknown) => typeof name === "string" && /^[^./\\:\0][^/\\:\0]*$/.test(name);
  if (names.length === 0 || !names.every(isPlain)) {
    throw new Error(`${index} has no weight_map that names files of its folder`);
  }
  return names.map((name) => `${folder}${name}`).sort();
}
