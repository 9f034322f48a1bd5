// A plain layered layout for levels that ELK would take too long for: longest-path layers, three sweeps of barycentres
// (Sugiyama, Tagawa, Toda 1981), rows that wrap. Linear in boxes and lines but for the sorting of rows.

import { BOTTOM, TOP, type Problem, type Solution } from "./level";

const GAP_X = 22;
const GAP_Y = 40;
const WIDEST = 4000;
const SWEEPS = 3;

export function solveSimply(problem: Problem): Solution {
  const rows = orderRows(problem, layersOf(problem)).flatMap((row) => wrap(row, problem));
  const size = problem.boxes.length;
  const solution: Solution = {
    width: 0,
    height: 0,
    x: new Array<number>(size).fill(0),
    y: new Array<number>(size).fill(0),
    lines: [],
    inputX: [],
    outputX: [],
  };
  const widths = rows.map((row) => row.reduce((sum, box) => sum + problem.boxes[box]!.width + GAP_X, -GAP_X));
  solution.width = Math.max(0, ...widths);
  let top = problem.inputs.length > 0 ? GAP_Y / 2 : 0;
  rows.forEach((row, at) => {
    let left = (solution.width - widths[at]!) / 2;
    let tallest = 0;
    for (const box of row) {
      solution.x[box] = left;
      solution.y[box] = top;
      left += problem.boxes[box]!.width + GAP_X;
      tallest = Math.max(tallest, problem.boxes[box]!.height);
    }
    top += tallest + GAP_Y;
  });
  solution.height = Math.max(0, top - GAP_Y + (problem.outputs.length > 0 ? GAP_Y / 2 : 0));
  draw(problem, solution);
  return solution;
}

/** Each box as far down as its longest way from the top is; lines that go back in a cycle are passed over. */
function layersOf(problem: Problem): number[][] {
  const layer = new Array<number>(problem.boxes.length).fill(0);
  const next = neighbours(problem, "from", "to");
  const state = new Uint8Array(problem.boxes.length);
  const order: number[] = [];
  for (let start = 0; start < problem.boxes.length; start++) visit(start, next, state, order);
  const place = new Int32Array(problem.boxes.length);
  order.reverse().forEach((box, at) => (place[box] = at));
  for (const box of order) {
    for (const to of next[box]!)
      if (place[to]! > place[box]!) layer[to] = Math.max(layer[to]!, layer[box]! + 1);
  }
  const rows: number[][] = [];
  layer.forEach((at, box) => (rows[at] ??= []).push(box));
  return rows.filter((row) => row !== undefined);
}

/** Appends a box after all that it leads to; with a stack of its own, since a chain may be 100,000 long. */
function visit(start: number, next: number[][], state: Uint8Array, order: number[]): void {
  if (state[start]) return;
  const stack: [number, number][] = [[start, 0]];
  state[start] = 1;
  while (stack.length > 0) {
    const top = stack[stack.length - 1]!;
    const to = next[top[0]]![top[1]++];
    if (to === undefined) {
      order.push(top[0]);
      stack.pop();
    } else if (!state[to]) {
      state[to] = 1;
      stack.push([to, 0]);
    }
  }
}

function neighbours(problem: Problem, a: "from" | "to", b: "from" | "to"): number[][] {
  const found: number[][] = problem.boxes.map(() => []);
  for (const line of problem.lines) if (line[a] >= 0 && line[b] >= 0) found[line[a]]!.push(line[b]);
  return found;
}

function orderRows(problem: Problem, rows: number[][]): number[][] {
  const above = neighbours(problem, "to", "from");
  const below = neighbours(problem, "from", "to");
  const place = new Float64Array(problem.boxes.length);
  const number = (row: number[]): void => row.forEach((box, at) => (place[box] = (at + 0.5) / row.length));
  rows.forEach(number);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const near = sweep % 2 === 0 ? above : below;
    for (const row of sweep % 2 === 0 ? rows : [...rows].reverse()) {
      const centre = new Map(row.map((box) => [box, mean(near[box]!, place) ?? place[box]!]));
      row.sort((a, b) => centre.get(a)! - centre.get(b)!);
      number(row);
    }
  }
  return rows;
}

function mean(boxes: number[], place: Float64Array): number | null {
  if (boxes.length === 0) return null;
  return boxes.reduce((sum, box) => sum + place[box]!, 0) / boxes.length;
}

function wrap(row: number[], problem: Problem): number[][] {
  const rows: number[][] = [[]];
  let width = 0;
  for (const box of row) {
    const more = problem.boxes[box]!.width + GAP_X;
    if (width + more > WIDEST && width > 0) {
      rows.push([]);
      width = 0;
    }
    rows[rows.length - 1]!.push(box);
    width += more;
  }
  return rows;
}

/** Lines with one step half-way between the rows; through what lies between, since none are moved aside. */
function draw(problem: Problem, solution: Solution): void {
  const spread = (at: number, of: number): number => (solution.width * (at + 1)) / (of + 1);
  solution.inputX = problem.inputs.map((_, at) => spread(at, problem.inputs.length));
  solution.outputX = problem.outputs.map((_, at) => spread(at, problem.outputs.length));
  const inputX = new Map(problem.inputs.map((value, at) => [value, solution.inputX[at]!]));
  const outputX = new Map(problem.outputs.map((value, at) => [value, solution.outputX[at]!]));
  const port = (box: number, value: number, side: "inputs" | "outputs"): number => {
    const fixed = problem.boxes[box]![side]?.find((one) => one.value === value);
    return solution.x[box]! + (fixed?.x ?? problem.boxes[box]!.width / 2);
  };
  solution.lines = problem.lines.map((line) => {
    const fromX = line.from === TOP ? inputX.get(line.value)! : port(line.from, line.value, "outputs");
    const fromY = line.from === TOP ? 0 : solution.y[line.from]! + problem.boxes[line.from]!.height;
    const toX = line.to === BOTTOM ? outputX.get(line.value)! : port(line.to, line.value, "inputs");
    const toY = line.to === BOTTOM ? solution.height : solution.y[line.to]!;
    if (Math.abs(fromX - toX) < 1) return [fromX, fromY, fromX, toY];
    const middle = toY > fromY ? toY - Math.min(GAP_Y / 2, (toY - fromY) / 2) : fromY + GAP_Y / 2;
    return [fromX, fromY, fromX, middle, toX, middle, toX, toY];
  });
}
