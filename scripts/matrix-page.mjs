// SPDX-License-Identifier: Apache-2.0
// docs/install.md from what was seen: JSON files of matrix.mjs and of other scripts that install and run the packages. A file
// is `{ suite: "install", date, machine: { cpu, cores, kernel }, tools, times?, rows: [{ group, name, passed, seen }] }`;
// groups stand in the order in which the files bring them.
//
//   matrix-page.mjs [FILE...]     default: all of bench/results whose names end in -install.json or have -install- in them
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { entry, root, Stop, say } from "./lib/run.mjs";

const results = path.join(root, "bench/results");

function table(head, rows) {
  const all = [head, ...rows];
  const widths = head.map((_, at) => Math.max(3, ...all.map((cells) => cells[at].length)));
  const [first, ...others] = all.map(
    (cells) => `| ${cells.map((cell, at) => cell.padEnd(widths[at])).join(" | ")} |`,
  );
  return [first, `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...others].join("\n");
}

/** One line of a table: what a program said, without what would end the cell; of long ones the begin and the end. */
function cell(text) {
  const line = text.replaceAll("\n", " ").replaceAll("|", "\\|").replace(/[<>]/g, "");
  return line.length > 520 ? `${line.slice(0, 340)} ... ${line.slice(-170)}` : line;
}

const seconds = ({ median, least, most }, digits = 1) =>
  `${(median / 1000).toFixed(digits)} s (${(least / 1000).toFixed(digits)} to ${(most / 1000).toFixed(digits)})`;
const milliseconds = ({ median, least, most }) =>
  `${median.toFixed(0)} ms (${least.toFixed(0)} to ${most.toFixed(0)})`;
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

function figures({ times: { installMs, firstTokenMs, importMs, bytes } }) {
  const rows = [
    ["`npm install` of the packed packages, npm's cache warm", "10 s", seconds(installMs)],
    [
      "our packages on disk: base and linux-x64",
      "8 MB",
      `${megabytes(bytes.base + bytes.platform)}: ${megabytes(bytes.base)} and ${megabytes(bytes.platform)}`,
    ],
    ["their dependencies on disk", "", megabytes(bytes.dependencies)],
    ['`import "baton-lm"`, in a fresh process', "60 ms", milliseconds(importMs)],
  ];
  if (firstTokenMs)
    rows.push([
      "from the start of a program to the first streamed text, default model cached",
      "5 s",
      seconds(firstTokenMs, 2),
    ]);
  return table(["what", "wanted", "seen: median, least to most"], rows);
}

function groupTables(rows) {
  const names = [...new Set(rows.map((row) => row.group))];
  return names.map((name) => {
    const lines = rows
      .filter((row) => row.group === name)
      .map((row) => [cell(row.name), row.passed ? "as it must" : "**not as it must**", cell(row.seen)]);
    return `### ${name}\n\n${table(["", "", "what was seen"], lines)}\n`;
  });
}

function section(file, found) {
  const { cpu, cores, kernel } = found.machine;
  const tools = Object.entries(found.tools ?? {}).map(([name, version]) =>
    /\d/.test(name) ? `Node ${version}` : `${name} ${version}`,
  );
  const from = `[${path.basename(file)}](../${path.relative(root, file)})`;
  const head = `Seen on ${found.date}, ${cpu}, ${cores} cores, ${kernel}${tools.length > 0 ? `; ${[...new Set(tools)].join(", ")}` : ""} (${from}).`;
  const parts = found.times ? [`### What it takes\n\n${figures(found)}\n`] : [];
  return [head, "", ...parts, ...groupTables(found.rows)].join("\n");
}

const marks = [
  "<!-- what follows is written by scripts/matrix-page.mjs -->",
  "<!-- end of what is written -->",
];

function inserted(page, text) {
  const [begin, end] = marks.map((mark) => page.indexOf(mark));
  if (begin < 0 || end < begin)
    throw new Stop("docs/install.md has lost the marks between which its tables stand");
  return `${page.slice(0, begin + marks[0].length)}\n\n${text}\n${page.slice(end)}`;
}

await entry(() => {
  const given = process.argv.slice(2).map((file) => path.resolve(file));
  const isOurs = (name) => /-install(-.*)?\.json$/.test(name);
  const files =
    given.length > 0
      ? given
      : readdirSync(results)
          .filter(isOurs)
          .sort()
          .map((name) => path.join(results, name));
  if (files.length === 0)
    throw new Stop("bench/results has no JSON of an install matrix: run `npm run matrix -- --json FILE`");
  const sections = files.map((file) => section(file, JSON.parse(readFileSync(file, "utf8"))));
  const page = path.join(root, "docs/install.md");
  writeFileSync(page, inserted(readFileSync(page, "utf8"), sections.join("\n")));
  say(`wrote ${path.relative(root, page)} from ${files.map((file) => path.relative(root, file)).join(", ")}`);
});
