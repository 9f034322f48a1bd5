// The way of what is selected: which nodes at each stage, which calls of kernels, which lines of code.

import { meets } from "../app/selection.svelte";
import { parts, rangeWords } from "../app/selectors";
import type { KernelCall, PieceWays, Selector, SnapshotWays, Ways } from "../data/types";
import type { SourceLine } from "./lines";

/** What was compiled by itself: a piece, or a whole graph that was not split. */
export type Unit = Pick<PieceWays, "snapshots" | "calls">;

/** A stage of the stepper. */
export interface Stage {
  ways: SnapshotWays;
  selector: Selector;
  /** The last part of the selector. */
  name: string;
  /** Of the whole graph, of a piece before ranges, or of a range. */
  whole: boolean;
}

/** Nodes whose roots meet those that are lit, in order. */
export function litNodes(ways: SnapshotWays, lit: ReadonlySet<number>): number[] {
  const sets = ways.sets.map((set) => meets(set, lit));
  const found: number[] = [];
  ways.roots.forEach((set, node) => {
    if (sets[set]) found.push(node);
  });
  return found;
}

/** The roots of some nodes of a snapshot; empty: unknown. */
export function rootsOfNodes(ways: SnapshotWays, nodes: Iterable<number>): Set<number> {
  const found = new Set<number>();
  for (const node of nodes) for (const root of ways.sets[ways.roots[node] ?? -1] ?? []) found.add(root);
  return found;
}

/** Stages of a piece for one range, after those of the whole graph that come before; equal ones in a row are one. */
export function stagesOf(whole: Ways | null, piece: PieceWays | null, range: string | null): Stage[] {
  const own = piece?.snapshots.filter((each) => each.range === null || each.range === range) ?? [];
  // The stitching graph is of calls of pieces: no node of a piece is on its way.
  const before =
    whole?.snapshots.filter((each) => piece === null || !each.selector.endsWith("/after_split")) ?? [];
  const all = [...before.map((ways) => stage(ways, true)), ...own.map((ways) => stage(ways, false))];
  return all.filter(
    (each, at) =>
      at === 0 || all[at - 1]!.ways.graph !== each.ways.graph || all[at - 1]!.whole !== each.whole,
  );
}

function stage(ways: SnapshotWays, whole: boolean): Stage {
  const { selector } = ways;
  return { ways, selector, name: parts(selector).step ?? selector, whole };
}

/** The stage that shows a snapshot: itself, or the one before it that has the same graph. */
export function stageAt(stages: Stage[], ways: SnapshotWays | null): number {
  if (!ways) return -1;
  const at = stages.findIndex((each) => each.selector === ways.selector);
  return at >= 0 ? at : stages.findLastIndex((each) => each.ways.graph === ways.graph);
}

/** Ranges that a piece was compiled for, in the order of recording. */
export function rangesOf(piece: Unit): string[] {
  return [...new Set(piece.snapshots.flatMap((each) => each.range ?? []))];
}

/** The snapshot whose nodes the calls of a range are of. */
export function lastOf(piece: Unit, range: string | null, phase: string | null): SnapshotWays | null {
  const mine = piece.snapshots.filter((each) => each.range === range);
  if (phase === "forward" || phase === "backward") {
    const same = mine.filter((each) => each.selector.includes(`/${phase}/`));
    if (same.length) return same.at(-1)!;
  }
  return mine.findLast((each) => each.selector.endsWith("/post_grad")) ?? mine.at(-1) ?? null;
}

/** A call with what it computes. */
export interface Call {
  call: KernelCall;
  roots: Set<number>;
  /** Colours of the lines that it stems from, each once. */
  hues: number[];
}

/** Calls of a range, with their roots. */
export function callsOf(piece: Unit, range: string | null, lines: Map<number, SourceLine>): Call[] {
  return piece.calls
    .filter((call) => call.range === range)
    .map((call) => {
      const last = lastOf(piece, call.range, call.phase);
      const roots = last ? rootsOfNodes(last, call.nodes) : new Set<number>();
      return { call, roots, hues: huesOf(roots, lines) };
    });
}

/** Share of two sets that they have in common: 1 for equal ones. */
export function inCommon(some: ReadonlySet<number>, others: ReadonlySet<number>): number {
  let common = 0;
  for (const each of some) if (others.has(each)) common++;
  return common === 0 ? 0 : common / (some.size + others.size - common);
}

/** Lines that some roots stem from; those first of which most is meant. */
export function rankedLines(roots: ReadonlySet<number>, lines: Map<number, SourceLine>): SourceLine[] {
  const counts = new Map<SourceLine, number>();
  for (const root of roots) {
    const line = lines.get(root);
    if (line) counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  const share = (line: SourceLine): number => (counts.get(line) ?? 0) / line.roots.length;
  return [...counts.keys()].sort((a, b) => share(b) - share(a));
}

/** Colours of the lines that some roots stem from, each once, in order. */
export function huesOf(roots: Iterable<number>, lines: Map<number, SourceLine>): number[] {
  const found = new Set<SourceLine>();
  for (const root of roots) {
    const line = lines.get(root);
    if (line) found.add(line);
  }
  return [...new Set([...found].map((line) => line.hue))];
}

/** Colours for each set of roots of a snapshot. */
export function huesOfSets(ways: SnapshotWays, lines: Map<number, SourceLine>): number[][] {
  return ways.sets.map((set) => huesOf(set, lines));
}

/** `range_1_4096` or `1_4096` as `1–4096`. */
export function rangeName(range: string | null): string {
  if (range === null) return "";
  return rangeWords(range.startsWith("range_") ? range : `range_${range}`);
}

/** A part of the trail; `null` says that it is not known. */
export interface Crumb {
  kind: "source" | "layer" | "op" | "piece" | "stage" | "kernel";
  text: string;
  title: string;
  known: boolean;
}

export interface Trail {
  lines: SourceLine[];
  /** Fqns of layers, folded. */
  layers: string;
  /** Operators where it begins. */
  ops: string[];
  piece: string | null;
  stage: { name: string; ops: string[] } | null;
  calls: Call[];
  /** Line of the first call in its code. */
  line: number | null;
}

/** A long name without its middle. */
function shortened(name: string): string {
  return name.length > 56 ? `${name.slice(0, 44)}…${name.slice(-10)}` : name;
}

/** `qwen3.py:120 → layers.0.mlp → silu → piece_02 → post_grad: silu_and_mul → cpp_fused_0 line 88`. */
export function crumbs(trail: Trail): Crumb[] {
  const found: Crumb[] = [];
  const add = (kind: Crumb["kind"], words: string[], unknown: string): void => {
    const [first] = words;
    const more = words.length > 1 ? ` +${words.length - 1}` : "";
    const text = first === undefined ? unknown : `${first}${more}`;
    found.push({ kind, text, title: words.join("\n") || unknown, known: first !== undefined });
  };
  add(
    "source",
    trail.lines.map((line) => `${line.file.split(/[/\\]/).at(-1)}:${line.line}`),
    "source unknown",
  );
  add("layer", trail.layers ? trail.layers.split(", ") : [], "layer unknown");
  add("op", trail.ops, "operator unknown");
  if (trail.piece) add("piece", [trail.piece], "");
  if (trail.stage) {
    const { name, ops } = trail.stage;
    add("stage", ops.length ? [`${name}: ${ops[0]}`, ...ops.slice(1)] : [], `${name}: nothing stems from it`);
  }
  if (trail.piece || trail.calls.length) {
    const where = trail.line === null ? "" : ` line ${trail.line}`;
    add(
      "kernel",
      trail.calls.map(({ call }, at) => (at === 0 ? `${shortened(call.kernel)}${where}` : call.kernel)),
      "no kernel known",
    );
  }
  return found;
}
