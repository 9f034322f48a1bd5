// One open layer as a flat problem for a layout: boxes, the values that come in at its top edge and leave at its
// bottom edge, and the lines between them. Layers that are alike give equal problems, so their layouts are shared.

import type { Bundle, Visible } from "../fold";

/** Ends of a line: a box (>= 0), or an edge of the layer. */
export const TOP = -1;
export const BOTTOM = -2;

export interface Line {
  /** Indices into `boxes`; `from` may be TOP, `to` may be BOTTOM. */
  from: number;
  to: number;
  /** Which value it carries: lines of one value leave from one place. */
  value: number;
}

export interface Port {
  value: number;
  x: number;
}

export interface LevelBox {
  width: number;
  height: number;
  /** Whether it stands for a layer, or several. */
  layer: boolean;
  /** For an open layer, where values enter and leave; null when the layout may choose. */
  inputs: Port[] | null;
  outputs: Port[] | null;
}

export interface Problem {
  boxes: LevelBox[];
  /** Values that come in, and that leave. */
  inputs: number[];
  outputs: number[];
  lines: Line[];
}

export interface Solution {
  width: number;
  height: number;
  x: number[];
  y: number[];
  /** Points of each line: x, y, x, y … */
  lines: number[][];
  /** Where the values of `inputs` and `outputs` cross the layer's edge. */
  inputX: number[];
  outputX: number[];
  /** It was cut into columns: what comes in stands over the first, what leaves under the last. */
  columns?: boolean;
}

/** Lines of an open layer among the things shown in it. */
export interface Level {
  /** Index of the open layer in `shown`. */
  at: number;
  /** Ends are indices in `shown`, or TOP and BOTTOM; `value` is the index of what yields it. */
  lines: {
    from: number;
    to: number;
    value: number;
    count: number;
    removed: number;
    added: number;
    writes: number;
  }[];
  inputs: number[];
  outputs: number[];
}

/** Cuts each edge where it crosses the border of an open layer. */
export function levelsOf(visible: Visible): Map<number, Level> {
  const levels = new Map<number, Level>();
  const merged = new Map<string, Level["lines"][number]>();
  visible.shown.forEach((shown, at) => {
    if (shown.kind === "open") levels.set(at, { at, lines: [], inputs: [], outputs: [] });
  });
  const inputs = new Map<number, Set<number>>();
  const outputs = new Map<number, Set<number>>();
  const line = (at: number, from: number, to: number, bundle: Bundle): void => {
    const key = `${at} ${from} ${to} ${bundle.from}`;
    let one = merged.get(key);
    if (!one) {
      one = { from, to, value: bundle.from, count: 0, removed: 0, added: 0, writes: 0 };
      merged.set(key, one);
      levels.get(at)!.lines.push(one);
      if (from === TOP) remember(inputs, at, bundle.from);
      if (to === BOTTOM) remember(outputs, at, bundle.from);
    }
    one.count += bundle.count;
    one.removed += bundle.removed;
    one.added += bundle.added;
    one.writes += bundle.writes;
  };
  const { shown } = visible;
  for (const bundle of visible.bundles) {
    let from = bundle.from;
    let to = bundle.to;
    const down: [number, number][] = [];
    while (shown[from]!.parent !== shown[to]!.parent) {
      if (shown[from]!.depth >= shown[to]!.depth) {
        const at = shown[from]!.parent;
        line(at, from, BOTTOM, bundle);
        from = at;
      } else {
        const at = shown[to]!.parent;
        down.push([at, to]);
        to = at;
      }
    }
    line(shown[from]!.parent, from, to, bundle);
    for (const [at, into] of down) line(at, TOP, into, bundle);
  }
  for (const [at, level] of levels) {
    level.inputs = [...(inputs.get(at) ?? [])];
    level.outputs = [...(outputs.get(at) ?? [])];
  }
  return levels;
}

function remember(where: Map<number, Set<number>>, at: number, value: number): void {
  const set = where.get(at);
  if (set) set.add(value);
  else where.set(at, new Set([value]));
}
