// SPDX-License-Identifier: Apache-2.0
// Where functions begin and end, by matching braces. Types, namespaces, initialisers and `describe` blocks are no
// functions; every other block is one (an `if` block is shorter than the function around it, so it does no harm).

import { blank, type Language } from "./blank.js";

export interface FunctionSpan {
  /** What stands before the opening brace, shortened. */
  name: string;
  /** 1-based line of the opening brace. */
  line: number;
  /** Lines from the opening to the closing brace, both counted. */
  lines: number;
}

interface Block {
  header: string;
  line: number;
  kind: "function" | "other" | "initialiser";
  /** Round and square brackets open where it began. */
  depth: number;
}

const typeHeader =
  /^(?:export\s+|declare\s+|default\s+|abstract\s+|template\s*<.*?>\s*|typedef\s+|static\s+|const\s+)*(?:namespace|class|struct|union|enum|interface|module|extern)\b/s;
const suiteHeader = /\bdescribe(?:\.\w+(?:\([^)]*\))?)*\s*\([^{]*$/s;
const initialiserEnd = /(?:[=([,:?{]|\breturn|&&|\|\||\?\?|\bdefault|\bof|\bin)$/;

function kindOf(header: string, language: Language, parent: Block["kind"]): Block["kind"] {
  const text = header.trim();
  if (text === "") return parent === "initialiser" ? "initialiser" : "function";
  if (typeHeader.test(text) && !/\)\s*(?:const|noexcept|override|\s)*$/.test(text)) return "other";
  if (suiteHeader.test(text)) return "other";
  if (initialiserEnd.test(text)) return "initialiser";
  if (text.endsWith("=>") || /\b(?:else|do|try|finally|static|catch)$/.test(text)) return "function";
  return text.includes(")") ? bodyOrInitialiser(text, language) : "initialiser";
}

/** C++ `Type name{...}` and `member_{...}` after a parameter list are initialisers; a body follows a bracket or a word. */
function bodyOrInitialiser(text: string, language: Language): Block["kind"] {
  if (language === "ts") return "function";
  if (/(?:\)|\}|\b(?:const|noexcept|override|final|mutable|try))$/.test(text)) return "function";
  return /->\s*[\w:<>,*&\s]+$/.test(text) ? "function" : "initialiser";
}

/** Throws when braces do not match: then nothing this file says could be trusted. */
export function functionsOf(source: string, language: Language): FunctionSpan[] {
  const text = blank(source, language);
  const found: FunctionSpan[] = [];
  const open: Block[] = [];
  let header = "";
  let line = 1;
  let depth = 0;
  const close = (): void => {
    const block = open.pop();
    if (!block) throw new Error(`line ${line}: a closing brace without an opening one`);
    if (block.kind === "function") {
      const name = block.header.replace(/\s+/g, " ").trim().slice(-90);
      found.push({ name, line: block.line, lines: line - block.line + 1 });
    }
    depth = block.depth;
    // An initialiser is part of what stands around it; a finished body ends its header.
    header = block.kind === "initialiser" || depth > (open.at(-1)?.depth ?? 0) ? `${block.header}{}` : "";
  };
  for (const char of text) {
    if (char === "\n") line++;
    if (char === "{") {
      open.push({ header, line, kind: kindOf(header, language, open.at(-1)?.kind ?? "other"), depth });
      header = "";
    } else if (char === "}") close();
    else if (char === ";" && depth === (open.at(-1)?.depth ?? 0)) header = "";
    else {
      if (char === "(" || char === "[") depth++;
      if (char === ")" || char === "]") depth--;
      header += char;
    }
  }
  if (open.length > 0) throw new Error(`line ${open.at(-1)?.line}: an opening brace without a closing one`);
  return found;
}
