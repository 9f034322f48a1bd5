// The lines of the model's Python that a dump knows, as rows: by file, by function, with the gaps between them.

import type { Graph, Ways } from "../data/types";

export interface SourceLine {
  kind: "line";
  file: string;
  function: string;
  line: number;
  code: string;
  /** Nodes of the first graph that stem from it; all of them stand for it everywhere else. */
  roots: number[];
  /** 0 … 9: its colour. Lines that stand side by side differ. */
  hue: number;
  key: string;
}

export type SourceRow =
  | { kind: "file"; file: string; name: string; lines: number; key: string }
  | { kind: "function"; name: string; key: string }
  | { kind: "gap"; lines: number; key: string }
  | SourceLine;

const HUES = 10;

/** Rows in the order in which the model's code was run; lines of a function by number. */
export function sourceRows(first: Graph, ways: Ways): SourceRow[] {
  const files = new Map<string, Map<string, Map<number, SourceLine>>>();
  first.sources.forEach((source, index) => {
    const functions = getOr(files, source.file, () => new Map<string, Map<number, SourceLine>>());
    const lines = getOr(functions, source.function, () => new Map<number, SourceLine>());
    const line = getOr(lines, source.line, () => lineOf(source));
    line.roots.push(...(ways.lines[index] ?? []));
  });
  const rows: SourceRow[] = [];
  let hue = 0;
  for (const [file, functions] of files) {
    const count = [...functions.values()].reduce((sum, lines) => sum + lines.size, 0);
    rows.push({ kind: "file", file, name: shortFile(file), lines: count, key: `file ${file}` });
    for (const [name, lines] of inOrder(functions)) {
      rows.push({ kind: "function", name, key: `function ${file} ${name}` });
      let last: number | null = null;
      for (const line of [...lines.values()].sort((a, b) => a.line - b.line)) {
        const missing = last === null ? 0 : line.line - last - 1;
        if (missing > 0) rows.push({ kind: "gap", lines: missing, key: `gap ${line.key}` });
        line.roots = [...new Set(line.roots)].sort((a, b) => a - b);
        line.hue = hue++ % HUES;
        rows.push(line);
        last = line.line;
      }
    }
  }
  return rows;
}

function lineOf(source: Graph["sources"][number]): SourceLine {
  const { file, line, code } = source;
  const key = `${file}:${line} ${source.function}`;
  return { kind: "line", file, function: source.function, line, code, roots: [], hue: 0, key };
}

/** Functions of a file, by the number of their first line. */
function inOrder(functions: Map<string, Map<number, SourceLine>>): [string, Map<number, SourceLine>][] {
  const first = (lines: Map<number, SourceLine>): number => Math.min(...lines.keys());
  return [...functions].sort((a, b) => first(a[1]) - first(b[1]));
}

function getOr<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

/** The last parts of a path: enough to know a file by. */
export function shortFile(file: string): string {
  const parts = file.split(/[/\\]/);
  return parts.slice(-2).join("/");
}

/** `qwen3.py:120`. */
export function lineName(line: SourceLine): string {
  return `${line.file.split(/[/\\]/).at(-1)}:${line.line}`;
}

/** Root -> its line. */
export function linesByRoot(rows: SourceRow[]): Map<number, SourceLine> {
  const found = new Map<number, SourceLine>();
  for (const row of rows) if (row.kind === "line") for (const root of row.roots) found.set(root, row);
  return found;
}
