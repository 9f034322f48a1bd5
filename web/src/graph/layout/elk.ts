// A level laid out by ELK's layered algorithm (elkjs), in a worker.

import ELK, { type ElkExtendedEdge, type ElkNode, type ElkPort } from "elkjs/lib/elk-api";
import { BOTTOM, TOP, type LevelBox, type Problem, type Solution } from "./level";

export interface Elk {
  solve(problem: Problem): Promise<Solution>;
  stop(): void;
}

const OPTIONS = {
  "elk.algorithm": "layered",
  "elk.direction": "DOWN",
  "elk.edgeRouting": "ORTHOGONAL",
  "elk.separateConnectedComponents": "false",
  "elk.spacing.nodeNode": "22",
  "elk.spacing.edgeNode": "14",
  "elk.spacing.edgeEdge": "8",
  "elk.layered.spacing.nodeNodeBetweenLayers": "26",
  "elk.layered.spacing.edgeNodeBetweenLayers": "10",
  "elk.layered.spacing.edgeEdgeBetweenLayers": "8",
  "elk.layered.cycleBreaking.strategy": "MODEL_ORDER",
  "elk.layered.considerModelOrder.strategy": "PREFER_EDGES",
  "elk.layered.considerModelOrder.crossingCounterNodeInfluence": "0.001",
  "elk.layered.nodePlacement.strategy": "BRANDES_KOEPF",
  "elk.layered.nodePlacement.bk.fixedAlignment": "BALANCED",
  "elk.layered.thoroughness": "7",
  "elk.padding": "[top=0,left=0,bottom=0,right=0]",
};

/** @param makeWorker gives a worker that runs elkjs's `elk-worker`. */
export function startElk(makeWorker: () => Worker): Elk {
  const elk = new ELK({ workerFactory: makeWorker });
  return {
    solve: async (problem) => read(problem, await elk.layout(write(problem))),
    stop: () => elk.terminateWorker(),
  };
}

export function write(problem: Problem): ElkNode {
  const ins = problem.boxes.map(() => new Set<number>());
  const outs = problem.boxes.map(() => new Set<number>());
  for (const line of problem.lines) {
    if (line.from >= 0) outs[line.from]!.add(line.value);
    if (line.to >= 0) ins[line.to]!.add(line.value);
  }
  const children: ElkNode[] = [];
  for (const value of problem.inputs) children.push(edgeNode(`in${value}`, "FIRST_SEPARATE"));
  for (const at of inOrder(problem)) children.push(boxNode(problem.boxes[at]!, at, ins[at]!, outs[at]!));
  for (const value of problem.outputs) children.push(edgeNode(`out${value}`, "LAST_SEPARATE"));
  const edges: ElkExtendedEdge[] = problem.lines.map((line, at) => ({
    id: `e${at}`,
    sources: [line.from === TOP ? `in${line.value}` : `b${line.from}o${line.value}`],
    targets: [line.to === BOTTOM ? `out${line.value}` : `b${line.to}i${line.value}`],
  }));
  return { id: "root", layoutOptions: OPTIONS, children, edges };
}

/**
 * Boxes after those that they read, else as they stand: ELK turns round every line that goes against the order, which
 * is to be done in cycles only. A layer may begin before what it reads: `empty` for the result of a product.
 */
export function inOrder(problem: Problem): number[] {
  const waits = problem.boxes.map(() => new Set<number>());
  const readers = problem.boxes.map(() => new Set<number>());
  for (const { from, to } of problem.lines) {
    if (from < 0 || to < 0 || from === to) continue;
    waits[to]!.add(from);
    readers[from]!.add(to);
  }
  const left = new Set(problem.boxes.keys());
  const order: number[] = [];
  while (left.size > 0) {
    let next: number | undefined;
    for (const at of left) {
      next ??= at; // of a cycle the first
      if (waits[at]!.size > 0) continue;
      next = at;
      break;
    }
    order.push(next!);
    left.delete(next!);
    for (const reader of readers[next!]!) waits[reader]!.delete(next!);
  }
  return order;
}

function edgeNode(id: string, constraint: string): ElkNode {
  return { id, width: 2, height: 2, layoutOptions: { "elk.layered.layering.layerConstraint": constraint } };
}

function boxNode(box: LevelBox, at: number, ins: Set<number>, outs: Set<number>): ElkNode {
  const ports: ElkPort[] = [];
  const fixed = box.inputs !== null;
  const add = (value: number, side: "NORTH" | "SOUTH", place: Map<number, number>): void => {
    const id = `b${at}${side === "NORTH" ? "i" : "o"}${value}`;
    const port: ElkPort = { id, width: 0, height: 0, layoutOptions: { "elk.port.side": side } };
    const x = place.get(value);
    if (fixed) Object.assign(port, { x: x ?? box.width / 2, y: side === "NORTH" ? 0 : box.height });
    ports.push(port);
  };
  const inX = new Map(box.inputs?.map((port) => [port.value, port.x]));
  const outX = new Map(box.outputs?.map((port) => [port.value, port.x]));
  for (const value of ins) add(value, "NORTH", inX);
  for (const value of outs) add(value, "SOUTH", outX);
  const layoutOptions = { "elk.portConstraints": fixed ? "FIXED_POS" : "FIXED_SIDE" };
  return { id: `b${at}`, width: box.width, height: box.height, ports, layoutOptions };
}

export function read(problem: Problem, root: ElkNode): Solution {
  const places = new Map((root.children ?? []).map((child) => [child.id, child]));
  const boxes = problem.boxes.map((_, at) => places.get(`b${at}`)!);
  const lines = (root.edges ?? []).map((edge) => {
    const section = edge.sections?.[0];
    if (!section) return [];
    const points = [section.startPoint, ...(section.bendPoints ?? []), section.endPoint];
    return points.flatMap((point) => [point.x, point.y]);
  });
  const solution = {
    width: root.width ?? 0,
    height: root.height ?? 0,
    x: boxes.map((box) => box.x ?? 0),
    y: boxes.map((box) => box.y ?? 0),
    lines,
    inputX: problem.inputs.map((value) => (places.get(`in${value}`)?.x ?? 0) + 1),
    outputX: problem.outputs.map((value) => (places.get(`out${value}`)?.x ?? 0) + 1),
  };
  tighten(problem, solution);
  return solution;
}

const ROOM = 10;

/** The values at the border take a row each of ELK's; that row goes, but for room to turn. */
function tighten(problem: Problem, solution: Solution): void {
  let top = Infinity;
  let bottom = 0;
  problem.boxes.forEach((box, at) => {
    top = Math.min(top, solution.y[at]!);
    bottom = Math.max(bottom, solution.y[at]! + box.height);
  });
  for (const line of solution.lines) {
    for (let i = 3; i < line.length - 2; i += 2) {
      top = Math.min(top, line[i]!);
      bottom = Math.max(bottom, line[i]!);
    }
  }
  if (top > bottom) return;
  const up = problem.inputs.length > 0 ? top - ROOM : 0;
  const height = problem.outputs.length > 0 ? bottom + ROOM - up : solution.height - up;
  solution.y = solution.y.map((y) => y - up);
  solution.lines = solution.lines.map((line) =>
    line.map((v, i) => (i % 2 === 0 ? v : Math.min(height, Math.max(0, v - up)))),
  );
  solution.height = height;
}
