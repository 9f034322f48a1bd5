// From what is seen to where it stands: each open layer is laid out for itself, innermost first, and kept.

import { HEADER, PAD, sizeOf, type Label, type Measure } from "../label";
import type { Visible } from "../fold";
import type { Elk } from "./elk";
import { BOTTOM, TOP, levelsOf, type Level, type LevelBox, type Problem, type Solution } from "./level";
import { solveSimply } from "./simple";

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Wire {
  /** x, y, x, y … */
  points: number[];
  /** Ends in `shown`; TOP and BOTTOM are the edges of the layer `level`. */
  from: number;
  to: number;
  level: number;
  /** Index in `shown` of what yields the value. */
  value: number;
  count: number;
  change: "kept" | "added" | "removed" | "changed";
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export interface Scene {
  visible: Visible;
  labels: Label[];
  /** As `visible.shown`; the first is the whole drawing. */
  boxes: Box[];
  wires: Wire[];
  /** Key -> index in `shown`. */
  byKey: Map<string, number>;
  /** Some level was laid out the plain way: there was too much of it. */
  plain: boolean;
}

const LARGE = 320;
const MANY_LINES = 1400;
const MOST_BOXES = 4000;
const PATIENCE = 3000;
const KEPT = 600;
const MARGIN = 24;

export class Layouts {
  readonly #makeElk: () => Elk;
  #elk: Elk | null = null;
  readonly #kept = new Map<string, Solution>();

  constructor(makeElk: () => Elk) {
    this.#makeElk = makeElk;
  }

  /** Gives up waiting for ELK after `patience` ms in all and does the rest the plain way. */
  async arrange(visible: Visible, labels: Label[], measure: Measure, patience = PATIENCE): Promise<Scene> {
    const levels = levelsOf(visible);
    const solved = new Map<number, Solution>();
    const budget = { end: performance.now() + patience, plain: visible.leaves > MOST_BOXES };
    const running = new Map<string, Promise<Solution>>();
    const solve = async (at: number): Promise<void> => {
      const inner = visible.shown[at]!.children.filter((child) => visible.shown[child]!.kind === "open");
      await Promise.all(inner.map(solve));
      const problem = pose(visible, labels, measure, levels, solved, levels.get(at)!);
      const key = JSON.stringify(problem);
      let solution = running.get(key);
      if (!solution) {
        solution = this.#solve(problem, key, budget);
        running.set(key, solution);
      }
      solved.set(at, await solution);
    };
    await solve(0);
    return place(visible, labels, measure, levels, solved, budget.plain);
  }

  stop(): void {
    this.#elk?.stop();
    this.#elk = null;
  }

  async #solve(problem: Problem, key: string, budget: { end: number; plain: boolean }): Promise<Solution> {
    const kept = this.#kept.get(key);
    if (kept) {
      this.#kept.delete(key);
      this.#kept.set(key, kept);
      return kept;
    }
    if (loose(problem)) return solveSimply(problem);
    if (budget.plain || problem.boxes.length > LARGE || problem.lines.length > MANY_LINES) {
      budget.plain = true;
      return solveSimply(problem);
    }
    const solution = await this.#ask(problem, budget.end - performance.now());
    if (!solution) {
      budget.plain = true;
      return solveSimply(problem);
    }
    this.#kept.set(key, solution);
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= KEPT) break;
      this.#kept.delete(oldest);
    }
    return solution;
  }

  async #ask(problem: Problem, patience: number): Promise<Solution | null> {
    if (patience <= 0) return null;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), patience);
    });
    try {
      this.#elk ??= this.#makeElk();
      const solution = await Promise.race([this.#elk.solve(problem), late]);
      if (!solution) this.stop();
      return solution;
    } catch {
      return null; // a worker that may not start, or a fault in ELK: the plain way always works
    } finally {
      clearTimeout(timer);
    }
  }
}

/** So few lines that rows that wrap show more than one endless row. */
function loose(problem: Problem): boolean {
  return problem.boxes.length > 16 && problem.lines.length < problem.boxes.length / 3;
}

function pose(
  visible: Visible,
  labels: Label[],
  measure: Measure,
  levels: Map<number, Level>,
  solved: Map<number, Solution>,
  level: Level,
): Problem {
  const children = visible.shown[level.at]!.children;
  const local = new Map(children.map((child, at) => [child, at]));
  const values = new Map<number, number>();
  const number = (value: number): number => {
    const found = values.get(value);
    if (found !== undefined) return found;
    values.set(value, values.size);
    return values.size - 1;
  };
  const end = (at: number): number => (at >= 0 ? local.get(at)! : at);
  const lines = level.lines.map((line) => ({
    from: end(line.from),
    to: end(line.to),
    value: number(line.value),
  }));
  const boxes = children.map((child): LevelBox => {
    const inner = solved.get(child);
    if (!inner)
      return { ...sizeOf(visible.shown[child]!, labels[child]!, measure), inputs: null, outputs: null };
    const { inputs, outputs } = levels.get(child)!;
    const size = outerSize(inner, labels[child]!, measure);
    const shift = (size.width - inner.width) / 2;
    return {
      ...size,
      inputs: inputs.map((value, at) => ({ value: number(value), x: inner.inputX[at]! + shift })),
      outputs: outputs.map((value, at) => ({ value: number(value), x: inner.outputX[at]! + shift })),
    };
  });
  return { boxes, inputs: level.inputs.map(number), outputs: level.outputs.map(number), lines };
}

function outerSize(inner: Solution, label: Label, measure: Measure): { width: number; height: number } {
  const title = measure(label.title, "title") + measure(label.sub, "sub") + 60;
  return {
    width: Math.ceil(Math.max(inner.width + 2 * PAD, title)),
    height: Math.ceil(inner.height + HEADER + 2 * PAD),
  };
}

function place(
  visible: Visible,
  labels: Label[],
  measure: Measure,
  levels: Map<number, Level>,
  solved: Map<number, Solution>,
  plain: boolean,
): Scene {
  const boxes: Box[] = visible.shown.map(() => ({ x: 0, y: 0, width: 0, height: 0 }));
  const outer = solved.get(0)!;
  boxes[0] = { x: 0, y: 0, width: outer.width + 2 * MARGIN, height: outer.height + 2 * MARGIN };
  const wires: Wire[] = [];
  for (const [at, level] of levels) {
    const solution = solved.get(at)!;
    const around = boxes[at]!;
    const x = at === 0 ? MARGIN : around.x + (around.width - solution.width) / 2;
    const y = at === 0 ? MARGIN : around.y + HEADER + PAD;
    visible.shown[at]!.children.forEach((child, place) => {
      const inner = solved.get(child);
      const size = inner
        ? outerSize(inner, labels[child]!, measure)
        : sizeOf(visible.shown[child]!, labels[child]!, measure);
      boxes[child] = { x: x + solution.x[place]!, y: y + solution.y[place]!, ...size };
    });
    level.lines.forEach((line, place) => {
      const points = solution.lines[place]!.map((v, i) => v + (i % 2 === 0 ? x : y));
      if (points.length < 4) return;
      if (line.from === TOP) points[1] = around.y;
      if (line.to === BOTTOM) points[points.length - 1] = around.y + around.height;
      const change =
        line.removed === line.count
          ? "removed"
          : line.added === line.count
            ? "added"
            : line.added + line.removed > 0
              ? "changed"
              : "kept";
      const { from, to, value, count } = line;
      wires.push({ points, from, to, level: at, value, count, change, ...boundsOf(points) });
    });
  }
  const byKey = new Map(visible.shown.map((shown, at) => [shown.key, at]));
  return { visible, labels, boxes, wires, byKey, plain };
}

function boundsOf(points: number[]): { left: number; top: number; right: number; bottom: number } {
  const bounds = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (let i = 0; i < points.length; i += 2) {
    bounds.left = Math.min(bounds.left, points[i]!);
    bounds.right = Math.max(bounds.right, points[i]!);
    bounds.top = Math.min(bounds.top, points[i + 1]!);
    bounds.bottom = Math.max(bounds.bottom, points[i + 1]!);
  }
  return bounds;
}
