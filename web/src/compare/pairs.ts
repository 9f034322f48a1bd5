// Pairs of graphs side by side: of two processes, or of two ranges of one piece.

import { parts } from "../app/selectors";
import type { Comparison, Selector, Step } from "../data/types";

/** A stage on both sides; null where one side has none. */
export interface PairStep {
  name: string;
  a: Selector | null;
  b: Selector | null;
  same: boolean;
}

/** A piece, or the whole graph, of both sides. */
export interface Pair {
  key: string;
  compilation: string;
  /** Null for the whole graph. */
  piece: string | null;
  /** What it is called on the other side, when that is something else. */
  other: string | null;
  range: string | null;
  same: boolean;
  text: string;
  steps: PairStep[];
  /** Index of the step at which they part; -1 when they do not. */
  parts: number;
}

export function pairsOf(comparison: Comparison): Pair[] {
  return comparison.compilations.flatMap((compilation) =>
    compilation.pieces.map((piece): Pair => {
      const steps = graphsOnly(piece.steps);
      const name = piece.a ?? piece.b;
      return {
        key: [compilation.name, piece.a ?? "", piece.b ?? "", piece.range ?? ""].join("|"),
        compilation: compilation.name,
        piece: name,
        other: piece.a && piece.b && piece.a !== piece.b ? piece.b : null,
        range: piece.range,
        same: piece.same,
        text: piece.parts_at?.text ?? "",
        steps,
        parts: partsAt(steps, piece.parts_at),
      };
    }),
  );
}

/** Without the passes that left both graphs as they were: their steps have the graphs of the step before. */
function graphsOnly(steps: readonly PairStep[]): PairStep[] {
  const found: PairStep[] = [];
  for (const step of steps) {
    const last = found.at(-1);
    const again = last !== undefined && last.a === step.a && last.b === step.b;
    if (!again && (step.a !== null || step.b !== null)) found.push(step);
  }
  return found;
}

function partsAt(steps: PairStep[], where: { a: Selector | null; b: Selector | null } | null): number {
  const named = where ? steps.findIndex((step) => step.a === where.a && step.b === where.b) : -1;
  return named >= 0 ? named : steps.findIndex((step) => !step.same);
}

/** A piece of one process at two of its ranges, stage by stage. */
export function rangePair(steps: readonly Step[], piece: string, a: string, b: string): Pair {
  const of = (range: string): Step[] =>
    steps.filter((step) => step.kind === "snapshot" && step.piece === piece && step.range === range);
  const [left, right] = [of(a), of(b)];
  const names = merged(
    left.map((step) => step.name),
    right.map((step) => step.name),
  );
  const pairs = names.map((name): PairStep => {
    const [one, two] = [left.find((step) => step.name === name), right.find((step) => step.name === name)];
    return {
      name,
      a: one?.selector ?? null,
      b: two?.selector ?? null,
      same: one !== undefined && one.graph === two?.graph,
    };
  });
  const parting = pairs.findIndex((step) => !step.same);
  return {
    key: `${piece}|${a}|${b}`,
    compilation: parts(left[0]?.selector ?? right[0]?.selector ?? "").compilation,
    piece,
    other: null,
    range: null,
    same: parting < 0,
    text: parting < 0 ? "" : `they part at ${pairs[parting]!.name}`,
    steps: pairs,
    parts: parting,
  };
}

/** Two lists of names as one: each name once, in an order that fits both. */
export function merged(a: readonly string[], b: readonly string[]): string[] {
  const found = [...a];
  let at = 0;
  for (const name of b) {
    const known = found.indexOf(name);
    if (known >= 0) at = Math.max(at, known + 1);
    else found.splice(at++, 0, name);
  }
  return found;
}

export type PairRow =
  | { kind: "compilation"; key: string; name: string; text: string }
  | { kind: "pair"; key: string; pair: Pair }
  | { kind: "same"; key: string; pairs: Pair[]; compilation: string };

/** Pairs that differ, and how many do not; `open`: compilations of which the same ones are listed, too. */
export function rowsOf(comparison: Comparison, pairs: readonly Pair[], open: ReadonlySet<string>): PairRow[] {
  return comparison.compilations.flatMap((compilation): PairRow[] => {
    const mine = pairs.filter((pair) => pair.compilation === compilation.name);
    const same = mine.filter((pair) => pair.same);
    const shown = open.has(compilation.name) ? mine : mine.filter((pair) => !pair.same);
    const rows: PairRow[] = [
      { kind: "compilation", key: compilation.name, name: compilation.name, text: compilation.text },
      ...shown.map((pair): PairRow => ({ kind: "pair", key: pair.key, pair })),
    ];
    if (same.length)
      rows.push({
        kind: "same",
        key: `${compilation.name} same`,
        pairs: same,
        compilation: compilation.name,
      });
    return rows;
  });
}
