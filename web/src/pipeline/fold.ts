// The rows of a structured difference that are shown: layers fold, and so do long runs of what stayed the same.
import type { DifferenceRow } from "../data/types";

/** Rows that are kept around a change. */
export const AROUND = 2;

export type Shown =
  | { kind: "row"; index: number; closed: boolean; inside: number; changes: number }
  /** Rows that stayed the same, `from` up to and without `to`. */
  | { kind: "gap"; from: number; to: number; depth: number };

/** What is known of the rows once, whatever is folded. */
export class Outline {
  readonly rows: readonly DifferenceRow[];
  /** For each row, the index after the last row inside of it; for others than layers the next one. */
  readonly ends: Int32Array;
  /** For each row, how many rows inside of it changed, itself included. */
  readonly changes: Int32Array;

  constructor(rows: readonly DifferenceRow[]) {
    this.rows = rows;
    this.ends = new Int32Array(rows.length);
    this.changes = new Int32Array(rows.length);
    const open: number[] = [];
    const close = (depth: number, at: number) => {
      for (;;) {
        const top = open.at(-1);
        if (top === undefined || (rows[top] as DifferenceRow).depth < depth) return;
        open.pop();
        this.ends[top] = at;
      }
    };
    rows.forEach((row, i) => {
      close(row.depth, i);
      this.ends[i] = i + 1;
      if (changed(row)) {
        this.changes[i] = 1;
        for (const layer of open) (this.changes[layer] as number)++;
      }
      if (holds(row)) open.push(i);
    });
    close(-1, rows.length);
  }

  /** The index of the layer around a row; -1: none. */
  around(index: number): number {
    const depth = this.rows[index]?.depth ?? 0;
    for (let i = index - 1; i >= 0; i--) {
      const row = this.rows[i] as DifferenceRow;
      if (row.depth < depth && holds(row)) return i;
    }
    return -1;
  }

  /** The next row that changed, at the start of a run of them; -1: none. */
  next(from: number, by: 1 | -1): number {
    const starts = (i: number) => changed(this.rows[i]) && !changed(this.rows[i - 1]);
    for (let i = from + by; i >= 0 && i < this.rows.length; i += by) if (starts(i)) return i;
    return -1;
  }
}

/** Whether rows may lie inside of a row. */
export function holds(row: DifferenceRow): boolean {
  return row.kind === "layer" || row.kind === "note";
}

export function changed(row: DifferenceRow | undefined): boolean {
  return row !== undefined && row.kind !== "same" && row.kind !== "layer" && row.kind !== "note";
}

/**
 * The rows that are shown.
 *
 * `all`: nothing is folded unless somebody did so. `flipped`: rows (layers, or the first of a gap) that somebody opened or
 * closed against the rule.
 */
export function shown(outline: Outline, all: boolean, flipped: ReadonlySet<number>): Shown[] {
  const { rows, ends, changes } = outline;
  const found: Shown[] = [];
  const visit = (from: number, to: number) => {
    let i = from;
    while (i < to) {
      const row = rows[i] as DifferenceRow;
      const end = ends[i] as number;
      if (holds(row) && end > i + 1) {
        const closed = (!all && changes[i] === 0) !== flipped.has(i);
        found.push({ kind: "row", index: i, closed, inside: end - i - 1, changes: changes[i] as number });
        if (!closed) visit(i + 1, end);
        i = end;
        continue;
      }
      if (row.kind === "same" && !all) {
        let last = i;
        while (last < to && rows[last]?.kind === "same") last++;
        run(i, last, i === from, last === to);
        i = last;
        continue;
      }
      found.push({ kind: "row", index: i, closed: false, inside: 0, changes: changes[i] as number });
      i++;
    }
  };
  /** A run of rows that stayed the same, between changes or at the edge of a layer. */
  const run = (from: number, to: number, isFirst: boolean, isLast: boolean) => {
    const low = from + (isFirst ? 0 : AROUND);
    const high = to - (isLast ? 0 : AROUND);
    const folds = high - low > 3 && !flipped.has(low);
    for (let i = from; i < to; i++) {
      if (folds && i === low) {
        found.push({ kind: "gap", from: low, to: high, depth: (rows[low] as DifferenceRow).depth });
        i = high - 1;
        continue;
      }
      found.push({ kind: "row", index: i, closed: false, inside: 0, changes: 0 });
    }
  };
  visit(0, rows.length);
  return found;
}

/** In one column: of a run of changed rows first what was, then what is. */
export type Unified =
  { kind: "shown"; shown: Shown } | { kind: "before" | "after"; shown: Extract<Shown, { kind: "row" }> };

export function unify(outline: Outline, list: readonly Shown[]): Unified[] {
  const found: Unified[] = [];
  let i = 0;
  while (i < list.length) {
    const each = list[i] as Shown;
    if (each.kind === "gap" || !changed(outline.rows[each.index])) {
      found.push({ kind: "shown", shown: each });
      i++;
      continue;
    }
    const block: Extract<Shown, { kind: "row" }>[] = [];
    for (let at = list[i]; at && at.kind === "row" && changed(outline.rows[at.index]); at = list[i]) {
      block.push(at);
      i++;
    }
    for (const row of block) if (outline.rows[row.index]?.before) found.push({ kind: "before", shown: row });
    for (const row of block) if (outline.rows[row.index]?.after) found.push({ kind: "after", shown: row });
  }
  return found;
}
