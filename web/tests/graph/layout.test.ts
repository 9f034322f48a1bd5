import ELK from "elkjs/lib/elk.bundled.js";
import { describe, expect, test } from "vitest";
import { see } from "../../src/graph/fold";
import { hit, near, within } from "../../src/graph/hit";
import { drawGraph } from "../../src/graph/items";
import { labelOf } from "../../src/graph/label";
import { Layouts } from "../../src/graph/layout/arrange";
import { inColumns } from "../../src/graph/layout/columns";
import { inOrder, read, write, type Elk } from "../../src/graph/layout/elk";
import { BOTTOM, TOP, type Problem, type Solution } from "../../src/graph/layout/level";
import type { Scene } from "../../src/graph/layout/scene";
import { solveSimply } from "../../src/graph/layout/simple";
import { step } from "../../src/graph/move";
import { buildTree } from "../../src/graph/tree";
import { graphOf, randomGraph, stackOf } from "./made";

const measure = (text: string) => text.length * 7;
const FILTER = { weights: false, sizes: false };

function elk(asked: Problem[] = []): Elk {
  const engine = new ELK();
  return {
    solve: async (problem) => {
      asked.push(problem);
      return read(problem, await engine.layout(write(problem)));
    },
    stop: () => {},
  };
}

/** Never answers. */
const SILENT: Elk = { solve: () => new Promise(() => {}), stop: () => {} };

async function sceneOf(graph = stackOf(4), makeElk = () => elk(), patience = 20_000): Promise<Scene> {
  const drawing = drawGraph(graph);
  const tree = buildTree(drawing);
  const open = new Set(tree.layers.map((layer) => layer.id));
  const visible = see(drawing, tree, { open, apart: new Set() }, FILTER);
  const labels = visible.shown.map((shown) => labelOf(shown, drawing));
  return new Layouts(makeElk).arrange(visible, labels, measure, patience);
}

/** Boxes stand in their layer and not on each other; every line is one way from end to end. */
function holds(scene: Scene): void {
  const { shown } = scene.visible;
  scene.boxes.forEach((box, at) => {
    expect(Number.isFinite(box.x + box.y + box.width + box.height)).toBe(true);
    if (at === 0) return;
    const around = scene.boxes[shown[at]!.parent]!;
    expect(box.x).toBeGreaterThanOrEqual(around.x - 1);
    expect(box.y).toBeGreaterThanOrEqual(around.y - 1);
    expect(box.x + box.width).toBeLessThanOrEqual(around.x + around.width + 1);
    expect(box.y + box.height).toBeLessThanOrEqual(around.y + around.height + 1);
    for (const other of shown[shown[at]!.parent]!.children) {
      if (other <= at) continue;
      const b = scene.boxes[other]!;
      const apart =
        b.x >= box.x + box.width ||
        box.x >= b.x + b.width ||
        b.y >= box.y + box.height ||
        box.y >= b.y + b.height;
      expect(apart, `${shown[at]!.key} and ${shown[other]!.key}`).toBe(true);
    }
  });
  for (const wire of scene.wires) {
    const { points } = wire;
    expect(points.length).toBeGreaterThanOrEqual(4);
    const ends = { x: points[points.length - 2]!, y: points[points.length - 1]! };
    if (wire.from !== TOP) touches(scene, wire.from, points[0]!, points[1]!);
    if (wire.to !== BOTTOM) touches(scene, wire.to, ends.x, ends.y);
    if (wire.from === TOP) touches(scene, wire.level, points[0]!, points[1]!);
    if (wire.to === BOTTOM) touches(scene, wire.level, ends.x, ends.y);
  }
}

function touches(scene: Scene, at: number, x: number, y: number): void {
  const box = scene.boxes[at]!;
  expect(x).toBeGreaterThanOrEqual(box.x - 1);
  expect(x).toBeLessThanOrEqual(box.x + box.width + 1);
  expect(Math.min(Math.abs(y - box.y), Math.abs(y - box.y - box.height))).toBeLessThan(2);
}

describe("layout", () => {
  test("of a model, by ELK: layers that are alike are laid out once", async () => {
    const asked: Problem[] = [];
    const scene = await sceneOf(stackOf(20), () => elk(asked));
    holds(scene);
    expect(scene.plain).toBe(false);
    expect(scene.visible.leaves).toBe(61);
    // Of the 20 blocks: norm and product, and the block itself, as the first and as the others; the model, the whole.
    expect(asked.length).toBeLessThanOrEqual(9);
  });

  test.each([1, 2, 3])("of graphs at random, by ELK (%i)", async (seed) =>
    holds(await sceneOf(randomGraph(seed, 40))),
  );

  test.each([1, 2, 3, 4, 5, 6])("of graphs at random, the plain way (%i)", async (seed) => {
    const scene = await sceneOf(randomGraph(seed, 90), () => SILENT, 0);
    expect(scene.plain).toBe(true);
    holds(scene);
  });

  test("lines go down, also into a layer that begins before what it reads", async () => {
    const layers = [
      ["Model", "proj: Linear"],
      ["Model", "attn: Attention"],
    ];
    const graph = graphOf(
      [
        { layer: 0, short: "empty" },
        { layer: 1, short: "reshape" },
        { layer: 0, short: "mm", inputs: [0, 1] },
      ],
      layers,
    );
    const scene = await sceneOf(graph);
    holds(scene);
    for (const { points } of scene.wires) expect(points[points.length - 1]).toBeGreaterThan(points[1]!);
    const cycle: Problem = {
      boxes: Array(3).fill({ width: 9, height: 9, layer: false, inputs: null, outputs: null }),
      inputs: [],
      outputs: [],
      lines: [
        { from: 1, to: 0, value: 1 },
        { from: 2, to: 1, value: 2 },
        { from: 0, to: 2, value: 0 },
      ],
    };
    expect(inOrder(cycle)).toEqual([0, 2, 1]);
    expect(inOrder({ ...cycle, lines: cycle.lines.slice(0, 2) })).toEqual([2, 1, 0]);
  });

  test("does not wait for ELK without end, nor for one that cannot start", async () => {
    const began = performance.now();
    const scene = await sceneOf(stackOf(3), () => SILENT, 50);
    expect([scene.plain, scene.late]).toEqual([true, true]);
    expect(performance.now() - began).toBeLessThan(5000);
    const broken = await sceneOf(stackOf(3), () => {
      throw new Error("no workers here");
    });
    expect(broken.plain).toBe(true);
    holds(broken);
  });

  test("the plain way ends for cycles and for long chains", () => {
    const box = { width: 60, height: 30, inputs: null, outputs: null };
    const size = 20_000;
    const lines = Array.from({ length: size }, (_, i) => ({ from: i, to: (i + 1) % size, value: i }));
    const solution = solveSimply({ boxes: Array(size).fill(box), inputs: [], outputs: [], lines });
    expect(new Set(solution.y).size).toBe(size);
  });

  test("hits the innermost box; edges lead in and out of it", async () => {
    const scene = await sceneOf();
    const { shown } = scene.visible;
    scene.boxes.forEach((box, at) => {
      if (at === 0 || shown[at]!.kind === "open") return;
      expect(hit(scene, box.x + box.width / 2, box.y + box.height / 2)?.at).toBe(at);
    });
    expect(hit(scene, -50, -50)).toBeNull();
    const block = scene.byKey.get("layers.2")!;
    const sign = scene.boxes[block]!;
    expect(hit(scene, sign.x + 12, sign.y + 12)).toEqual({ at: block, sign: true });
    const around = near(scene, block);
    expect(around.inputs.every((at) => within(scene, at, scene.byKey.get("layers.1")!))).toBe(true);
    expect(around.readers.every((at) => within(scene, at, scene.byKey.get("layers.3")!))).toBe(true);
    expect(around.into.length).toBeGreaterThan(0);
    expect(around.out.length).toBeGreaterThan(0);
  });

  test("the keyboard walks from the input to the output along edges, and back", async () => {
    const scene = await sceneOf();
    let at = scene.byKey.get("#0")!;
    const seen = new Set<number>();
    while (!seen.has(at)) {
      seen.add(at);
      at = step(scene, at, "reader");
    }
    expect(scene.labels[at]!.title).toBe("output");
    for (let i = 0; i < 100; i++) at = step(scene, at, "input");
    expect(scene.labels[at]!.title).toBe("x");
    expect(step(scene, 1, "previous")).toBe(1);
    expect(step(scene, scene.boxes.length - 1, "next")).toBe(scene.boxes.length - 1);
    const model = scene.byKey.get("Model")!;
    expect(step(scene, step(scene, model, "in"), "out")).toBe(model);
  });
});

describe("a tall column of layers", () => {
  /** Layers on top of each other, each read by the next and by one far below; a value goes through all of them. */
  function tall(layers: number): { problem: Problem; solution: Solution } {
    const [width, height, gap] = [300, 900, 40];
    const boxes = Array.from({ length: layers }, () => ({
      width,
      height,
      layer: true,
      inputs: null,
      outputs: null,
    }));
    const y = (at: number): number => 20 + at * (height + gap);
    const total = y(layers) + 20;
    const lines: Problem["lines"] = [{ from: TOP, to: BOTTOM, value: 0 }];
    const points = [[10, 0, 10, total]];
    for (let at = 0; at + 1 < layers; at++) {
      lines.push({ from: at, to: at + 1, value: at + 1 });
      points.push([170, y(at) + height, 170, y(at) + height + 10, 190, y(at) + height + 10, 190, y(at + 1)]);
    }
    lines.push({ from: layers - 1, to: 0, value: layers });
    points.push([
      180,
      y(layers - 1) + height,
      180,
      y(layers - 1) + height + 9,
      350,
      y(layers - 1) + height + 9,
      350,
      9,
      180,
      9,
      180,
      y(0),
    ]);
    return {
      problem: { boxes, inputs: [0], outputs: [0], lines },
      solution: {
        width: 360,
        height: total,
        x: boxes.map(() => 20),
        y: boxes.map((_, at) => y(at)),
        lines: points,
        inputX: [10],
        outputX: [10],
      },
    };
  }

  test("stands in columns that fit a window, in the order of reading", () => {
    const { problem, solution } = tall(40);
    const found = inColumns(problem, solution);
    expect(found.width / found.height).toBeGreaterThan(1);
    expect(found.width / found.height).toBeLessThan(3);
    problem.boxes.forEach((box, at) => {
      expect(found.x[at]! + box.width).toBeLessThanOrEqual(found.width);
      expect(found.y[at]! + box.height).toBeLessThanOrEqual(found.height);
      if (at === 0) return;
      const below = found.x[at] === found.x[at - 1] && found.y[at]! >= found.y[at - 1]! + box.height;
      expect(below || found.x[at]! > found.x[at - 1]! + box.width).toBe(true);
    });
  });

  test("its lines still go from end to end, straight or at right angles, and through no layer", () => {
    const { problem, solution } = tall(40);
    const found = inColumns(problem, solution);
    found.lines.forEach((line, index) => {
      const { from, to } = problem.lines[index]!;
      const end = line.length - 2;
      if (from === TOP) expect(line.slice(0, 2)).toEqual([found.inputX[0], 0]);
      else expect(line[1]).toBe(found.y[from]! + 900);
      if (to === BOTTOM) expect(line.slice(end)).toEqual([found.outputX[0], found.height]);
      else expect(line[end + 1]).toBe(found.y[to]);
      for (let i = 2; i < line.length; i += 2) {
        const [x, y, toX, toY] = [line[i - 2]!, line[i - 1]!, line[i]!, line[i + 1]!];
        expect(x === toX || y === toY).toBe(true);
        problem.boxes.forEach((box, at) => {
          const [left, top] = [found.x[at]!, found.y[at]!];
          const beside = Math.max(x, toX) <= left || Math.min(x, toX) >= left + box.width;
          const over = Math.max(y, toY) <= top || Math.min(y, toY) >= top + box.height;
          expect(beside || over, `line ${index} and layer ${at}`).toBe(true);
        });
      }
    });
  });

  test("few layers, and what is no taller than a window is, stay as they are", () => {
    const few = tall(7);
    expect(inColumns(few.problem, few.solution)).toBe(few.solution);
    const { problem, solution } = tall(40);
    const flat = { ...solution, width: solution.height };
    expect(inColumns(problem, flat)).toBe(flat);
    const nodes = { ...problem, boxes: problem.boxes.map((box) => ({ ...box, layer: false })) };
    expect(inColumns(nodes, solution)).toBe(solution);
  });

  test("of a model that is open", async () => {
    const scene = await sceneOf(stackOf(120));
    holds(scene);
    expect(scene.boxes[0]!.height).toBeLessThan(2 * scene.boxes[0]!.width);
  });
});
