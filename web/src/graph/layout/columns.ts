// A tall column of layers as several columns beside each other, read as those of a newspaper: eighty open layers on top
// of each other are a line that nobody can see anything in. The layout is cut where no box stands and few lines run;
// these go on below the column, up between it and the next, and in from above.

import { BOTTOM, type Problem, type Solution } from "./level";

/** Fewer layers than that stay in one column, and so does what is not that high or not that much higher than wide. */
const LAYERS = 8;
const HIGH = 4000;
const SLIM = 3;
/** Width by height of a window. */
const ASPECT = 1.7;
const LANE = 8;
const MARGIN = 40;
/** What a line that is cut costs, against a column of another height than the others (1: twice as high, or nothing). */
const COST = 0.02;

/** The same layout in columns; the layout itself where it is not tall. */
export function inColumns(problem: Problem, solution: Solution): Solution {
  const { width, height } = solution;
  const layers = problem.boxes.filter((box) => box.layer).length;
  if (layers < LAYERS || height < HIGH || height < SLIM * width) return solution;
  const gaps = gapsOf(problem, solution);
  const crossed = counter(solution);
  // Columns may be narrower than the whole was: more of them than it seems may fit.
  let found = solution;
  const least = Math.max(2, Math.round(Math.sqrt((ASPECT * height) / (width + 2 * MARGIN))));
  for (let columns = least; columns <= 2 * least && found.width < ASPECT * found.height; columns++) {
    const cuts = cutsOf(solution.height, columns, gaps, crossed);
    if (cuts.length > 0) found = new Columns(problem, solution, cuts).solution();
  }
  return found;
}

/** Heights at which to cut, in order. */
function cutsOf(height: number, columns: number, gaps: number[], crossed: (y: number) => number): number[] {
  const high = height / columns;
  const cuts: number[] = [];
  for (let at = 1; at < columns; at++) {
    const wanted = at * high;
    const least = cuts.at(-1) ?? 0;
    let best: { y: number; cost: number } | null = null;
    for (const y of gaps) {
      if (y <= least + high / 4 || y > height - high / 4) continue;
      const cost = Math.abs(y - wanted) / high + COST * crossed(y);
      if (!best || cost < best.cost) best = { y, cost };
    }
    if (best) cuts.push(best.y);
  }
  return cuts;
}

/** The middles of the heights at which no box stands. */
function gapsOf(problem: Problem, solution: Solution): number[] {
  const order = problem.boxes.map((_, at) => at).sort((a, b) => solution.y[a]! - solution.y[b]!);
  const gaps: number[] = [];
  let bottom = -1;
  for (const at of order) {
    const y = solution.y[at]!;
    if (bottom >= 0 && y > bottom + 2) gaps.push((bottom + y) / 2);
    bottom = Math.max(bottom, y + problem.boxes[at]!.height);
  }
  return gaps;
}

/** How many lines run through a height. */
function counter(solution: Solution): (y: number) => number {
  const starts: number[] = [];
  const ends: number[] = [];
  for (const line of solution.lines) {
    const ys = line.filter((_, i) => i % 2 === 1);
    if (ys.length === 0) continue;
    starts.push(Math.min(...ys));
    ends.push(Math.max(...ys));
  }
  starts.sort((a, b) => a - b);
  ends.sort((a, b) => a - b);
  return (y) => below(starts, y) - below(ends, y);
}

/** How many of these numbers in order are smaller. */
function below(numbers: number[], y: number): number {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle]! < y) low = middle + 1;
    else high = middle;
  }
  return low;
}

class Columns {
  readonly #problem: Problem;
  readonly #was: Solution;
  readonly #cuts: number[];
  /** For each cut, the places of the lines through it, from left to right. */
  readonly #lanes: number[][];
  /** For each column, how far to the right it goes. */
  readonly #shift: number[] = [0];
  /** Where the lanes to the right of each column begin. */
  readonly #right: number[] = [];
  readonly #top: number;

  constructor(problem: Problem, was: Solution, cuts: number[]) {
    this.#problem = problem;
    this.#was = was;
    this.#cuts = cuts;
    const places = cuts.map(() => new Set<number>());
    for (const line of was.lines) {
      this.#crossings(line, (cut, x) => {
        places[cut]!.add(x);
      });
    }
    this.#lanes = places.map((some) => [...some].sort((a, b) => a - b));
    const spans = this.#spans();
    spans.forEach(([, high], at) => {
      this.#right.push(high + this.#shift[at]! + MARGIN);
      const next = spans[at + 1];
      if (next) this.#shift.push(this.#right[at]! + this.#lanes[at]!.length * LANE + MARGIN - next[0]);
    });
    this.#top = Math.max(...this.#lanes.map((lanes) => lanes.length)) * LANE + MARGIN / 2;
  }

  /** From where to where things stand in each column. */
  #spans(): [number, number][] {
    const spans = [0, ...this.#cuts].map((): [number, number] => [Infinity, -Infinity]);
    const take = (x: number, toX: number, y: number): void => {
      const span = spans[this.#column(y)]!;
      span[0] = Math.min(span[0], x);
      span[1] = Math.max(span[1], toX);
    };
    this.#problem.boxes.forEach((box, at) => {
      take(this.#was.x[at]!, this.#was.x[at]! + box.width, this.#was.y[at]!);
    });
    for (const line of this.#was.lines) {
      for (let i = 0; i < line.length; i += 2) take(line[i]!, line[i]!, line[i + 1]!);
    }
    this.#lanes.forEach((lanes, cut) => {
      for (const x of lanes) {
        take(x, x, this.#cuts[cut]! - 1);
        take(x, x, this.#cuts[cut]!);
      }
    });
    // What comes in does so above the first column, which stays where it was.
    spans[0]![0] = Math.min(0, spans[0]![0]);
    return spans;
  }

  solution(): Solution {
    const was = this.#was;
    const last = this.#cuts.length;
    const bottoms = [...this.#cuts, was.height].map((end, at) => {
      const lanes = this.#lanes[at]?.length ?? 0;
      return this.#y(end, at) + (lanes > 0 ? lanes * LANE + MARGIN / 2 : 0);
    });
    const height = Math.max(...bottoms);
    const columns = was.y.map((y) => this.#column(y));
    return {
      width: this.#right[last]! - MARGIN,
      height,
      x: was.x.map((x, box) => x + this.#shift[columns[box]!]!),
      y: was.y.map((y, box) => this.#y(y, columns[box]!)),
      lines: was.lines.map((line, at) => this.#line(line, this.#problem.lines[at]!.to === BOTTOM, height)),
      inputX: was.inputX,
      outputX: was.outputX.map((x) => x + this.#shift[last]!),
      columns: true,
    };
  }

  #column(y: number): number {
    const found = this.#cuts.findIndex((cut) => y < cut);
    return found < 0 ? this.#cuts.length : found;
  }

  #y(y: number, column: number): number {
    return column === 0 ? y : y - this.#cuts[column - 1]! + this.#top;
  }

  #crossings(line: number[], cross: (cut: number, x: number, down: boolean) => void): void {
    for (let i = 2; i < line.length; i += 2) {
      const from = this.#column(line[i - 1]!);
      const to = this.#column(line[i + 1]!);
      for (let cut = from; cut < to; cut++) cross(cut, this.#xAt(line, i, cut), true);
      for (let cut = from - 1; cut >= to; cut--) cross(cut, this.#xAt(line, i, cut), false);
    }
  }

  /** Where a stretch of a line, which may be slanted, is at a cut. */
  #xAt(line: number[], i: number, cut: number): number {
    const [x, y, toX, toY] = [line[i - 2]!, line[i - 1]!, line[i]!, line[i + 1]!];
    return x === toX ? x : x + ((toX - x) * (this.#cuts[cut]! - y)) / (toY - y);
  }

  #line(line: number[], leaves: boolean, height: number): number[] {
    if (line.length < 4) return line;
    const points: number[] = [];
    const place = (x: number, y: number): void => {
      const column = this.#column(y);
      points.push(x + this.#shift[column]!, this.#y(y, column));
    };
    place(line[0]!, line[1]!);
    for (let i = 2; i < line.length; i += 2) {
      this.#crossings(line.slice(i - 2, i + 2), (cut, x, down) => {
        const way = this.#way(cut, x);
        points.push(...(down ? way : reversed(way)));
      });
      place(line[i]!, line[i + 1]!);
    }
    if (leaves) points[points.length - 1] = height;
    return points;
  }

  /** From the end of a column to the begin of the next; those that start farther left run outside of the others. */
  #way(cut: number, x: number): number[] {
    const lanes = this.#lanes[cut]!;
    const rank = lanes.indexOf(x);
    const end = this.#y(this.#cuts[cut]!, cut);
    const low = end + MARGIN / 4 + (lanes.length - rank) * LANE;
    const high = this.#top - MARGIN / 4 - (rank + 1) * LANE;
    const from = x + this.#shift[cut]!;
    const to = x + this.#shift[cut + 1]!;
    const between = this.#right[cut]! + (lanes.length - 1 - rank) * LANE;
    return [from, end, from, low, between, low, between, high, to, high, to, this.#top];
  }
}

function reversed(points: number[]): number[] {
  const found: number[] = [];
  for (let i = points.length - 2; i >= 0; i -= 2) found.push(points[i]!, points[i + 1]!);
  return found;
}
