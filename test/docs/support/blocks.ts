// SPDX-License-Identifier: Apache-2.0
// The code of a page. Its ts blocks are one program, in order, so that a page reads from top to bottom; imports may be
// said again. Comments that no reader of the page sees say the rest, each right before the block that it is about:
//
//   <!-- new program -->          nothing of the blocks before is there
//   <!-- given                    lines that stand before the block: what it takes for granted
//   declare const x: string;
//   -->
//   <!-- not run: why -->         the program is compiled and never started; so is one whose `given` declares something
//
// Line n of a program knows the line of the page that it comes from, so that what a compiler says can be found.

export interface Block {
  language: string;
  text: string;
  /** Of the fence, counted from 1. */
  line: number;
  /** The comments right before it, without their marks. */
  remarks: string[];
}

export interface Program {
  page: string;
  /** Of its first block. */
  line: number;
  source: string;
  /** Line of the page by line of the source. */
  lines: number[];
  /** Why it is not started; null: it is. */
  notRun: string | null;
  /** It masks outputs, which wants an addon that has grammars. */
  grammars: boolean;
}

const comment = /<!--\s*([\s\S]*?)\s*-->/g;

/** Fenced blocks of a page in order. */
export function blocksOf(page: string): Block[] {
  const blocks: Block[] = [];
  let between = "";
  let open: (Block & { fence: string }) | null = null;
  page.split("\n").forEach((text, index) => {
    const [, indent = "", fence, language = ""] = /^(\s*)(```+)\s*(\w*)/.exec(text) ?? [];
    if (open !== null) {
      if (text.trim() === open.fence) {
        const { fence: _, ...block } = open;
        blocks.push({ ...block, text: block.text.slice(0, -1) });
        open = null;
      } else open.text += `${text}\n`;
    } else if (fence !== undefined) {
      // remarks that are followed by prose belong to no block
      const [, tail = ""] = /((?:<!--[\s\S]*?-->\s*)*)$/.exec(between) ?? [];
      const remarks = [...tail.matchAll(comment)].map((match) => match[1] ?? "");
      open = { fence: indent.trim() + fence, language, text: "", line: index + 1, remarks };
      between = "";
    } else between += `${text}\n`;
  });
  if (open !== null) throw new Error(`the block of line ${(open as Block).line} has no end`);
  return blocks;
}

const importStatement = /^import\s+(type\s+)?(?:(\*\s+as\s+\w+)|\{([^}]*)\})\s+from\s+"([^"]+)";$/gm;

/** Takes imports out of a block, leaving its lines where they are, and adds them to what is imported. */
function withoutImports(text: string, imported: Map<string, Set<string>>): string {
  return text.replace(importStatement, (whole, type: string | undefined, all, names, from) => {
    const wanted: string[] = all ? [all] : (names as string).split(",").map((name) => name.trim());
    const known = imported.get(from) ?? imported.set(from, new Set()).get(from);
    for (const name of wanted) if (name !== "") known?.add(type ? `type ${name}` : name);
    return whole.replace(/[^\n]/g, "");
  });
}

function importLine([from, names]: readonly [string, Set<string>]): string {
  const stars = [...names].filter((name) => name.startsWith("*"));
  const plain = [...names].filter((name) => !name.startsWith("*"));
  const clauses = plain.length > 0 ? [...stars, `{ ${plain.join(", ")} }`] : stars;
  return clauses.map((clause) => `import ${clause} from "${from}";`).join(" ");
}

function assemble(page: string, blocks: readonly Block[]): Program {
  const imported = new Map<string, Set<string>>();
  const body: [string, number][] = [];
  let notRun: string | null = null;
  for (const { text, line, remarks } of blocks) {
    for (const remark of remarks) {
      const [, given] = /^given\s+([\s\S]*)$/.exec(remark) ?? [];
      if (given !== undefined) {
        for (const one of withoutImports(given, imported).split("\n")) body.push([one, line]);
        if (/^declare /m.test(given)) notRun ??= "it takes something for granted";
      }
      notRun = /^not run: (.+)$/.exec(remark)?.[1] ?? notRun;
    }
    withoutImports(text, imported)
      .split("\n")
      .forEach((one, index) => {
        body.push([one, line + 1 + index]);
      });
  }
  const first = blocks[0]?.line ?? 0;
  const head = [...imported].map((entry): [string, number] => [importLine(entry), first]);
  const all: [string, number][] = [...head, ...body, ["export {};", first]];
  const source = all.map(([one]) => one).join("\n");
  return {
    page,
    line: first,
    source,
    lines: all.map(([, line]) => line),
    notRun,
    grammars: blocks.some(({ remarks }) => remarks.includes("masks outputs")),
  };
}

/** The programs of a page: what its ts blocks are together. */
export function programsOf(page: string, text: string): Program[] {
  const groups: Block[][] = [];
  for (const block of blocksOf(text)) {
    if (block.language !== "ts") continue;
    if (groups.length === 0 || block.remarks.includes("new program")) groups.push([]);
    groups.at(-1)?.push(block);
  }
  return groups.map((blocks) => assemble(page, blocks));
}
