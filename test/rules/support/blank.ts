// SPDX-License-Identifier: Apache-2.0
// Source text with comments and the insides of strings, characters and regular expressions turned to spaces, so that
// braces and keywords that remain are code. Line breaks stay: line numbers are those of the source.

export type Language = "cpp" | "ts";

interface Cursor {
  readonly text: string;
  readonly language: Language;
  readonly out: string[];
  at: number;
}

/** A slash after one of these (or after a keyword) starts a regular expression, not a division. */
const beforeRegex =
  /(?:^|[([{,;=:!&|?+\-*%~^<>}]|\b(?:return|case|typeof|in|of|do|else|void|delete|await|yield))$/;

function hide(cursor: Cursor, end: number): void {
  const stop = Math.min(end, cursor.text.length);
  cursor.out.push(cursor.text.slice(cursor.at, stop).replace(/[^\n]/g, " "));
  cursor.at = stop;
}

function keep(cursor: Cursor, count = 1): void {
  cursor.out.push(cursor.text.slice(cursor.at, cursor.at + count));
  cursor.at += count;
}

/** Where a quoted run that starts at `from` ends (after its closing quote); backslash escapes. */
function endOfQuoted(text: string, from: number, quote: string): number {
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === quote) return at + 1;
    else if (text[at] === "\n" && quote !== "`") return at;
  }
  return text.length;
}

function endOfRegex(text: string, from: number): number {
  let inClass = false;
  for (let at = from + 1; at < text.length && text[at] !== "\n"; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === "[") inClass = true;
    else if (text[at] === "]") inClass = false;
    else if (text[at] === "/" && !inClass) return at + 1;
  }
  return from + 1; // no regular expression after all
}

function afterComment(text: string, at: number): number | undefined {
  if (text.startsWith("//", at)) {
    const end = text.indexOf("\n", at);
    return end < 0 ? text.length : end;
  }
  if (text.startsWith("/*", at)) {
    const end = text.indexOf("*/", at + 2);
    return end < 0 ? text.length : end + 2;
  }
  return undefined;
}

function afterRawString(text: string, at: number): number | undefined {
  const open = /^R"([^(\s]{0,16})\(/.exec(text.slice(at, at + 20));
  if (!open) return undefined;
  const close = `)${open[1]}"`;
  const end = text.indexOf(close, at);
  return end < 0 ? text.length : end + close.length;
}

/** A template literal: its text is hidden, the code between ${ and } is not. */
function template(cursor: Cursor): void {
  hide(cursor, cursor.at + 1);
  while (cursor.at < cursor.text.length) {
    if (cursor.text[cursor.at] === "\\") hide(cursor, cursor.at + 2);
    else if (cursor.text[cursor.at] === "`") break;
    else if (cursor.text.startsWith("${", cursor.at)) {
      hide(cursor, cursor.at + 2);
      code(cursor, true);
      hide(cursor, cursor.at + 1);
    } else hide(cursor, cursor.at + 1);
  }
  hide(cursor, cursor.at + 1);
}

function slash(cursor: Cursor): void {
  const { text, language, out } = cursor;
  const before = out.join("").slice(-200).trimEnd();
  if (language === "ts" && beforeRegex.test(before)) hide(cursor, endOfRegex(text, cursor.at));
  else keep(cursor);
}

function quote(cursor: Cursor, char: string): void {
  const digitSeparator =
    char === "'" && cursor.language === "cpp" && /\w/.test(cursor.text[cursor.at - 1] ?? "");
  if (digitSeparator) keep(cursor);
  else if (char === "`" && cursor.language === "ts") template(cursor);
  else hide(cursor, endOfQuoted(cursor.text, cursor.at, char));
}

/** A preprocessor line with its continuations: macros may hold half a block. */
function directive(cursor: Cursor): void {
  let end = cursor.text.indexOf("\n", cursor.at);
  while (end > 0 && cursor.text[end - 1] === "\\") end = cursor.text.indexOf("\n", end + 1);
  hide(cursor, end < 0 ? cursor.text.length : end);
}

function startsLine(cursor: Cursor): boolean {
  const lineStart = cursor.text.lastIndexOf("\n", cursor.at - 1) + 1;
  return cursor.text.slice(lineStart, cursor.at).trim() === "";
}

function code(cursor: Cursor, untilBrace = false): void {
  let depth = 0;
  while (cursor.at < cursor.text.length) {
    const char = cursor.text[cursor.at] ?? "";
    const skipTo =
      afterComment(cursor.text, cursor.at) ??
      (cursor.language === "cpp" ? afterRawString(cursor.text, cursor.at) : undefined);
    if (skipTo !== undefined) hide(cursor, skipTo);
    else if (char === "#" && cursor.language === "cpp" && startsLine(cursor)) directive(cursor);
    else if (char === '"' || char === "'" || char === "`") quote(cursor, char);
    else if (char === "/") slash(cursor);
    else {
      if (untilBrace && char === "}" && depth === 0) return;
      if (char === "{") depth++;
      if (char === "}") depth--;
      keep(cursor);
    }
  }
}

export function blank(text: string, language: Language): string {
  const cursor: Cursor = { text, language, out: [], at: 0 };
  code(cursor);
  return cursor.out.join("");
}
