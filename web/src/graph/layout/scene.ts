// All levels put together: boxes and lines in the coordinates of the drawing.

import type { Visible } from "../fold";
import { sizeOf, type Label, type Measure } from "../label";
import { frameOf, type Crossing } from "./frame";
import { BOTTOM, TOP, type Level, type Solution } from "./level";

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
  /** It carries no value: what it leads to reads what was written in place. */
  writes: boolean;
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
  /** … or there was too little time: it may be tried again. */
  late: boolean;
}

const MARGIN = 24;

/** Where everything stands, from the layouts of the levels. */
export function place(
  visible: Visible,
  labels: Label[],
  measure: Measure,
  levels: Map<number, Level>,
  solved: Map<number, Solution>,
  hurried: { plain: boolean; late: boolean },
): Scene {
  const boxes: Box[] = visible.shown.map(() => ({ x: 0, y: 0, width: 0, height: 0 }));
  const outer = solved.get(0)!;
  boxes[0] = { x: 0, y: 0, width: outer.width + 2 * MARGIN, height: outer.height + 2 * MARGIN };
  const wires: Wire[] = [];
  for (const [at, level] of levels) {
    const solution = solved.get(at)!;
    const frame = at === 0 ? null : frameOf(solution, labels[at]!, measure);
    const x = boxes[at]!.x + (frame?.left ?? MARGIN);
    const y = boxes[at]!.y + (frame?.top ?? MARGIN);
    visible.shown[at]!.children.forEach((child, index) => {
      const inner = solved.get(child);
      const size = inner
        ? frameOf(inner, labels[child]!, measure)
        : sizeOf(visible.shown[child]!, labels[child]!, measure);
      boxes[child] = {
        x: x + solution.x[index]!,
        y: y + solution.y[index]!,
        width: size.width,
        height: size.height,
      };
    });
    level.lines.forEach((line, index) => {
      let points = solution.lines[index]!.map((v, i) => v + (i % 2 === 0 ? x : y));
      if (points.length < 4) return;
      if (frame && line.from === TOP) {
        points = enter(points, boxes[at]!, frame.inputs[level.inputs.indexOf(line.value)]!, y);
      }
      if (frame && line.to === BOTTOM) {
        const edge = y + solution.height;
        points = leave(points, boxes[at]!, frame.outputs[level.outputs.indexOf(line.value)]!, edge);
      }
      const { from, to, value, count } = line;
      const kind = { change: changeOf(line), writes: line.writes === count };
      wires.push({ points, from, to, level: at, value, count, ...kind, ...boundsOf(points) });
    });
  }
  const byKey = new Map(visible.shown.map((shown, at) => [shown.key, at]));
  return { visible, labels, boxes, wires, byKey, plain: hurried.plain, late: hurried.late };
}

/** From the border to where the inner layout has the line begin. */
function enter(points: number[], around: Box, crossing: Crossing, edge: number): number[] {
  const x = around.x + crossing.x;
  if (crossing.jog === 0) return [x, around.y, ...points.slice(2)];
  const lane = edge - crossing.jog + 4;
  return [x, around.y, x, lane, around.x + crossing.inner, lane, ...points.slice(2)];
}

function leave(points: number[], around: Box, crossing: Crossing, edge: number): number[] {
  const x = around.x + crossing.x;
  const bottom = around.y + around.height;
  if (crossing.jog === 0) return [...points.slice(0, -2), x, bottom];
  const lane = edge + crossing.jog - 4;
  return [...points.slice(0, -2), around.x + crossing.inner, lane, x, lane, x, bottom];
}

function changeOf(line: Level["lines"][number]): Wire["change"] {
  if (line.removed === line.count) return "removed";
  if (line.added === line.count) return "added";
  return line.added + line.removed > 0 ? "changed" : "kept";
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
