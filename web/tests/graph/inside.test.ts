import { expect, test } from "vitest";
import type { Graph } from "../../src/data/types";
import { see } from "../../src/graph/fold";
import { drawDifference, drawGraph, type Drawing } from "../../src/graph/items";
import { buildTree } from "../../src/graph/tree";
import { differenceOf, graphOf, type Made } from "./made";

const LAYERS = [["Model", "layers.0: Gate"]];
const BRANCH: Made[] = [
  { name: "x", op: "placeholder" },
  { name: "w", op: "placeholder" },
  { short: "mm", inputs: [0, 1], layer: 0 },
  { name: "out", op: "output", short: "output", inputs: [2], dtype: null },
];

/** A condition in a layer, with a branch that takes an input and a weight. */
function condition(): Graph {
  const graph = graphOf(
    [
      { name: "x", op: "placeholder", input: "x" },
      { name: "w", op: "placeholder", input: "self.layers.0.w" },
      { name: "true_0", op: "get_attr", layer: 0, dtype: null },
      { name: "cond", short: "cond", inputs: [0, 2, 0, 1], layer: 0 },
      { name: "late", short: "neg", inputs: [3], layer: 0 },
      { op: "output", short: "output", inputs: [4], dtype: null },
    ],
    LAYERS,
  );
  const { layers, sources, nodes } = graphOf(BRANCH, LAYERS);
  graph.inside = [{ name: "true_0", around: null, taken_by: 3, operands: [0, 1], layers, sources, nodes }];
  return graph;
}

const named = (drawing: Drawing, name: string) => drawing.items.find((item) => item.node.name === name)!;
const reads = (drawing: Drawing, name: string) =>
  named(drawing, name).inputs.map((index) => drawing.items[index]!.node.name);

test("a graph inside is a group before the node that takes it, in the layer of that node", () => {
  const drawing = drawGraph(condition());
  const tree = buildTree(drawing);
  const group = tree.byKey.get("true_0")!;
  expect([group.cls, group.parent!.fqn]).toEqual(["graph of cond", "layers.0"]);
  // Its own layers are those around it: they are not repeated.
  expect(group.children).toHaveLength(BRANCH.length);
  const order = drawing.items.map((item) => item.node.name);
  expect(order.indexOf("true_0/out")).toBe(order.indexOf("cond") - 1);
});

test("values go in by its inputs and out to what takes it", () => {
  const drawing = drawGraph(condition());
  expect(reads(drawing, "true_0/x")).toEqual(["x"]);
  expect(reads(drawing, "true_0/w")).toEqual(["w"]);
  expect(reads(drawing, "cond")).toEqual(["x", "true_0", "w", "true_0/out"]);
});

test("what comes in is not guessed", () => {
  const graph = condition();
  graph.inside[0]!.operands = [];
  expect(reads(drawGraph(graph), "true_0/x")).toEqual([]);
});

test("its nodes are not taken for those of the graph around it", () => {
  const graph = condition();
  const drawing = drawGraph(graph);
  expect([...drawing.after.keys()]).toEqual(graph.nodes.map((node) => node.id));
  for (const [id, index] of drawing.after) expect(drawing.items[index]!.node).toBe(graph.nodes[id]);
  const inner = drawing.items.filter((item) => item.inner);
  expect(inner).toHaveLength(BRANCH.length);
  expect(inner.every((item) => item.after === null && item.node.id < 0)).toBe(true);
});

test("graphs inside of graphs inside, and one that nobody takes", () => {
  const graph = condition();
  const inner = graph.inside[0]!;
  graph.inside.push({ ...inner, name: "deep", around: 0, taken_by: 2, operands: [0, 1] });
  graph.inside.push({ ...inner, name: "lonely", taken_by: null, operands: [] });
  const drawing = drawGraph(graph);
  const tree = buildTree(drawing);
  expect(tree.byKey.get("deep")!.parent!.key).toBe("true_0");
  expect(tree.byKey.get("lonely")!.parent).toBe(tree.root);
  expect(reads(drawing, "deep/x")).toEqual(["true_0/x"]);
  expect(drawing.items).toHaveLength(graph.nodes.length + 3 * BRANCH.length);
});

test("two graphs in one picture have none, and say so", () => {
  const graph = condition();
  const kept = graph.nodes.map((node): [number, number] => [node.id, node.id]);
  const drawing = drawDifference(graph, graph, differenceOf(graph, graph, kept));
  expect(drawing.items).toHaveLength(graph.nodes.length);
  expect([drawing.undrawn, drawGraph(graph).undrawn]).toEqual([1, 0]);
});

test("what reads what was written in place has a line from the write that carries no value", () => {
  const graph = graphOf([
    { name: "x", op: "placeholder", input: "x" },
    { name: "copy_", short: "copy_", inputs: [0] },
    { name: "late", short: "neg", inputs: [0], after: [1] },
    { name: "both", short: "mul", inputs: [0, 1], after: [2] },
    { op: "output", short: "output", inputs: [2, 3], dtype: null },
  ]);
  const drawing = drawGraph(graph);
  const tree = buildTree(drawing);
  const filter = { weights: false, sizes: false };
  const { bundles, shown } = see(drawing, tree, { open: new Set(), apart: new Set() }, filter);
  const name = (at: number) => drawing.items[shown[at]!.item]!.node.name;
  const writes = bundles.filter((bundle) => bundle.writes === bundle.count);
  expect(writes.map(({ from, to }) => [name(from), name(to)])).toEqual([
    ["copy_", "late"],
    ["late", "both"],
  ]);
});
