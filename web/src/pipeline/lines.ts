// A difference of two long texts, by lines first. CodeMirror's own goes by characters, and gives up on a megabyte.
//
// Lines that are there once on both sides, in the same order, are held fast (patience diff, Bram Cohen); between them the
// longest common subsequence is looked for where that is cheap. Only lines that differ are then compared by words.
import { Change, presentableDiff } from "@codemirror/merge";

/** Blocks of at most this many pairs of lines are compared exactly. */
const PAIRS = 400_000;
/** Blocks of at most this many characters on both sides are compared by words. */
const CHARACTERS = 20_000;

/** Lines from `fromA` to `toA` became those from `fromB` to `toB`; ends are not included. */
export interface Block {
  fromA: number;
  toA: number;
  fromB: number;
  toB: number;
}

/** For `diffConfig.override`. */
export function difference(a: string, b: string): readonly Change[] {
  const startsA = starts(a);
  const startsB = starts(b);
  const changes: Change[] = [];
  for (const block of blocks(linesOf(a, startsA), linesOf(b, startsB))) {
    const fromA = at(startsA, block.fromA, a);
    const toA = at(startsA, block.toA, a);
    const fromB = at(startsB, block.fromB, b);
    const toB = at(startsB, block.toB, b);
    if (fromA === toA || fromB === toB || toA - fromA + toB - fromB > CHARACTERS) {
      changes.push(new Change(fromA, toA, fromB, toB));
      continue;
    }
    for (const each of presentableDiff(a.slice(fromA, toA), b.slice(fromB, toB), { scanLimit: 500 })) {
      changes.push(new Change(fromA + each.fromA, fromA + each.toA, fromB + each.fromB, fromB + each.toB));
    }
  }
  return changes;
}

/** Where lines differ, in order. */
export function blocks(a: readonly string[], b: readonly string[]): Block[] {
  const found: Block[] = [];
  const add = (fromA: number, toA: number, fromB: number, toB: number) => {
    if (fromA === toA && fromB === toB) return;
    const last = found.at(-1);
    if (last && last.toA === fromA && last.toB === fromB) {
      last.toA = toA;
      last.toB = toB;
    } else found.push({ fromA, toA, fromB, toB });
  };
  const compare = (fromA: number, toA: number, fromB: number, toB: number) => {
    while (fromA < toA && fromB < toB && a[fromA] === b[fromB]) {
      fromA++;
      fromB++;
    }
    while (fromA < toA && fromB < toB && a[toA - 1] === b[toB - 1]) {
      toA--;
      toB--;
    }
    if (fromA === toA || fromB === toB) {
      add(fromA, toA, fromB, toB);
      return;
    }
    const fast = anchors(a, b, fromA, toA, fromB, toB);
    if (fast.length === 0) {
      if ((toA - fromA) * (toB - fromB) > PAIRS) add(fromA, toA, fromB, toB);
      else exact(a, b, fromA, toA, fromB, toB, add);
      return;
    }
    let [i, j] = [fromA, fromB];
    for (const [x, y] of fast) {
      compare(i, x, j, y);
      [i, j] = [x + 1, y + 1];
    }
    compare(i, toA, j, toB);
  };
  compare(0, a.length, 0, b.length);
  return found;
}

/** Pairs of equal lines that are there once on both sides, rising on both: as many as there can be. */
function anchors(
  a: readonly string[],
  b: readonly string[],
  fromA: number,
  toA: number,
  fromB: number,
  toB: number,
): [number, number][] {
  const seen = new Map<string, { a: number; b: number }>();
  for (let i = fromA; i < toA; i++) {
    const line = a[i] as string;
    const known = seen.get(line);
    if (known) known.a = -2;
    else seen.set(line, { a: i, b: -1 });
  }
  for (let j = fromB; j < toB; j++) {
    const known = seen.get(b[j] as string);
    if (known) known.b = known.b === -1 ? j : -2;
  }
  const pairs = [...seen.values()].filter((each) => each.a >= 0 && each.b >= 0);
  // The longest rising run of `b`, by piles (patience sorting); `pairs` rise by `a` already.
  const piles: number[] = [];
  const before = new Int32Array(pairs.length).fill(-1);
  pairs.forEach((pair, index) => {
    let low = 0;
    let high = piles.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((pairs[piles[middle] as number] as { b: number }).b < pair.b) low = middle + 1;
      else high = middle;
    }
    before[index] = low > 0 ? (piles[low - 1] as number) : -1;
    piles[low] = index;
  });
  const found: [number, number][] = [];
  for (let index = piles.at(-1) ?? -1; index >= 0; index = before[index] as number) {
    const pair = pairs[index] as { a: number; b: number };
    found.push([pair.a, pair.b]);
  }
  return found.reverse();
}

/** By the longest common subsequence. */
function exact(
  a: readonly string[],
  b: readonly string[],
  fromA: number,
  toA: number,
  fromB: number,
  toB: number,
  add: (fromA: number, toA: number, fromB: number, toB: number) => void,
): void {
  const width = toB - fromB + 1;
  const common = new Uint32Array((toA - fromA + 1) * width);
  const of = (i: number, j: number) => common[(i - fromA) * width + (j - fromB)] as number;
  for (let i = toA - 1; i >= fromA; i--) {
    for (let j = toB - 1; j >= fromB; j--) {
      common[(i - fromA) * width + (j - fromB)] =
        a[i] === b[j] ? of(i + 1, j + 1) + 1 : Math.max(of(i + 1, j), of(i, j + 1));
    }
  }
  let [i, j] = [fromA, fromB];
  while (i < toA || j < toB) {
    if (i < toA && j < toB && a[i] === b[j]) {
      i++;
      j++;
    } else if (j >= toB || (i < toA && of(i + 1, j) >= of(i, j + 1))) {
      add(i, i + 1, j, j);
      i++;
    } else {
      add(i, i, j, j + 1);
      j++;
    }
  }
}

/** Where each line begins. */
function starts(text: string): number[] {
  const found = [0];
  for (let i = text.indexOf("\n"); i >= 0; i = text.indexOf("\n", i + 1)) found.push(i + 1);
  return found;
}

/** The lines, their ends included: the last one of a text differs from one in its middle. */
function linesOf(text: string, begin: readonly number[]): string[] {
  return begin.map((from, i) => text.slice(from, begin[i + 1]));
}

function at(begin: readonly number[], line: number, text: string): number {
  return begin[line] ?? text.length;
}
