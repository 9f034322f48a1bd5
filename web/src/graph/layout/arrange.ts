// From what is seen to where it stands: each open layer is laid out for itself, innermost first, and kept.

import { sizeOf, type Label, type Measure } from "../label";
import type { Visible } from "../fold";
import { inColumns } from "./columns";
import type { Elk } from "./elk";
import { frameOf } from "./frame";
import { levelsOf, type Level, type LevelBox, type Problem, type Solution } from "./level";
import { place, type Scene } from "./scene";
import { solveSimply } from "./simple";

const LARGE = 320;
const MANY_LINES = 1400;
const MOST_BOXES = 4000;
const PATIENCE = 3000;
const KEPT = 600;

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
    const budget = { end: performance.now() + patience, plain: visible.leaves > MOST_BOXES, late: false };
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
      solved.set(at, inColumns(problem, await solution));
    };
    await solve(0);
    return place(visible, labels, measure, levels, solved, budget);
  }

  /** Starts the worker, which takes a moment, before there is something to lay out. */
  warm(): void {
    try {
      this.#elk ??= this.#makeElk();
    } catch {
      // Told when it is needed: the plain way is taken.
    }
  }

  stop(): void {
    this.#elk?.stop();
    this.#elk = null;
  }

  async #solve(
    problem: Problem,
    key: string,
    budget: { end: number; plain: boolean; late: boolean },
  ): Promise<Solution> {
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
      budget.late = true;
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
    if (!inner) {
      const size = sizeOf(visible.shown[child]!, labels[child]!, measure);
      return { ...size, layer: visible.shown[child]!.kind !== "node", inputs: null, outputs: null };
    }
    const { inputs, outputs } = levels.get(child)!;
    const frame = frameOf(inner, labels[child]!, measure);
    return {
      width: frame.width,
      height: frame.height,
      layer: true,
      inputs: inputs.map((value, at) => ({ value: number(value), x: frame.inputs[at]!.x })),
      outputs: outputs.map((value, at) => ({ value: number(value), x: frame.outputs[at]!.x })),
    };
  });
  return { boxes, inputs: level.inputs.map(number), outputs: level.outputs.map(number), lines };
}
