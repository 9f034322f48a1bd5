// The generated texts of a compilation, as a list: whole ones first, then those of each piece, by range.

import { rangeWords } from "../app/selectors";
import type { CompilationSummary, Selector, Step } from "../data/types";

export type TextRow =
  | { kind: "piece"; key: string; name: string; label: string }
  | {
      kind: "text";
      key: string;
      selector: Selector;
      words: string;
      of: string;
      same: Selector | null;
      kernel: boolean;
    };

const WORDS: Record<string, string> = {
  execution_code: "stitching code",
  guards: "guards and sizes",
  output_code: "output code",
};

export function textRows(compilation: CompilationSummary, steps: readonly Step[]): TextRow[] {
  const codes = steps.filter((step) => step.kind === "code");
  const rows = codes.filter((step) => step.piece === null).map(rowOf);
  rows.sort(
    (a, b) =>
      Number(a.kind === "text" && a.words !== WORDS.execution_code) -
      Number(b.kind === "text" && b.words !== WORDS.execution_code),
  );
  const pieces = new Map(compilation.pieces.map((piece) => [piece.name, piece]));
  let last: string | null = null;
  for (const step of codes) {
    if (step.piece === null) continue;
    if (step.piece !== last) {
      const piece = pieces.get(step.piece);
      rows.push({
        kind: "piece",
        key: step.piece,
        name: step.piece,
        label: piece?.label ?? "",
      });
      last = step.piece;
    }
    rows.push(rowOf(step));
  }
  return rows;
}

function rowOf(step: Step): TextRow {
  const kernel = step.code === "kernel";
  const range = step.range
    ? rangeWords(step.range.startsWith("range_") ? step.range : `range_${step.range}`)
    : "";
  const phase = step.phase && step.phase !== "inference" ? ` ${step.phase}` : "";
  const words = kernel ? step.name : (WORDS[step.code ?? ""] ?? step.name);
  return {
    kind: "text",
    key: step.selector,
    selector: step.selector,
    words,
    of: kernel ? "" : range + phase,
    same: step.same_as,
    kernel,
  };
}
