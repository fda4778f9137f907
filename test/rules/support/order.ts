// SPDX-License-Identifier: Apache-2.0
// The order of dependencies of both languages: a folder uses itself and those before it only. ARCHITECTURE.md has the
// same lists in words.

/** Low to high. */
export const nativeOrder = [
  "base",
  "quant",
  "kernels",
  "device",
  "model",
  "cache",
  "engine",
  "tune",
  "binding",
];
/** The CUDA backend is a library of its own that sees contracts only; what loads it sees the table that it gives. */
export const cudaTable = "cuda/api.h";
/** What the engine plans for its kernels, and calls them with. */
export const cudaContracts = [
  "cuda/attention.h",
  "cuda/attention_backward.h",
  "cuda/sampling.h",
  "cuda/kernels.h",
];
export const cudaSees = ["base", "quant", "kernels", "cuda"];

/** Low to high; the last three are siblings, which see each other's public names at most. */
export const tsOrder = [
  "node-version",
  "suggest",
  "errors",
  "native",
  "model",
  "cache",
  "chain",
  "tune",
  "serve",
  "ai-sdk",
  "cli",
];
export const tsSiblings = ["serve", "ai-sdk", "cli"];

export interface Dependency {
  target: string;
  line: number;
}

/** Quoted includes, and the angled ones of Node-API, with their line. */
export function includesOf(text: string): Dependency[] {
  return text.split("\n").flatMap((content, index) => {
    const found = /^\s*#\s*include\s+(?:"([^"]+)"|<((?:napi|node_api|js_native_api)\.h)>)/.exec(content);
    const target = found?.[1] ?? found?.[2];
    return target === undefined ? [] : [{ target, line: index + 1 }];
  });
}

/** Module specifiers of import and export statements, dynamic imports and types. */
export function importsOf(text: string): Dependency[] {
  const pattern = /\b(?:from|import)\s*\(?\s*["']([^"']+)["']/g;
  return [...text.matchAll(pattern)].map((match) => ({
    target: match[1] ?? "",
    line: text.slice(0, match.index).split("\n").length,
  }));
}

/** What is wrong with an include of `target` in a file of native/`folder`, or undefined. */
export function nativeFault(folder: string, target: string): string | undefined {
  if (/^(?:napi|node_api|js_native_api)\.h$/.test(target)) {
    return folder === "binding" ? undefined : "only native/binding sees Node-API";
  }
  const to = target.split("/")[0] ?? "";
  if (!target.includes("/") || target.startsWith("."))
    return "write the path from native/, e.g. base/error.h";
  if (folder === "cuda") return cudaSees.includes(to) ? undefined : `cuda sees ${cudaSees.join(", ")} only`;
  if (target === cudaTable && folder === "device") return undefined;
  if (cudaContracts.includes(target) && ["device", "engine"].includes(folder)) return undefined;
  const [from, there] = [nativeOrder.indexOf(folder), nativeOrder.indexOf(to)];
  if (from < 0 || there < 0) return `${from < 0 ? folder : to} is not in the order of native folders`;
  return there > from ? `${folder} comes before ${to}` : undefined;
}

/** First folder (or file name without extension) below src/ of a path like src/chain/plan.ts. */
function layer(file: string): string {
  return (file.split("/")[1] ?? "").replace(/\.[jt]s$/, "");
}

/** What is wrong with an import of `target` in src/..., or undefined. Packages are free. */
export function tsFault(
  file: string,
  target: string,
  resolve: (from: string, to: string) => string,
): string | undefined {
  if (!target.startsWith(".")) return undefined;
  if (!target.endsWith(".js") && !target.endsWith(".json")) return "a relative import ends in .js";
  const resolved = resolve(file, target);
  if (!resolved.startsWith("src/")) return "src/ imports nothing from outside itself";
  const [from, to] = [layer(file), layer(resolved)];
  if (from === "index") return undefined;
  if (to === "index")
    return tsSiblings.includes(from) ? undefined : "only the siblings on top import index.js";
  if (tsSiblings.includes(from) && tsSiblings.includes(to) && from !== to) {
    // a command may start what a program may start
    return resolved === `src/${to}/index.js` ? undefined : `${from} and ${to} are siblings`;
  }
  const [a, b] = [tsOrder.indexOf(from), tsOrder.indexOf(to)];
  if (a < 0 || b < 0) return `${a < 0 ? from : to} is not in the order of src folders`;
  return b > a ? `${from} comes before ${to}` : undefined;
}
