import { describe, expect, test } from "vitest";
import { foldFromText, foldToText, countNodes, isHidden, see } from "../../src/graph/fold";
import { drawGraph } from "../../src/graph/items";
import { labelOf } from "../../src/graph/label";
import { openAll, openToStart } from "../../src/graph/opening";
import { buildTree, MOST_CHILDREN } from "../../src/graph/tree";
import { graphOf, randomGraph, stackOf } from "./made";

const FILTER = { weights: false, sizes: false };
const SHUT = { open: new Set<number>(), apart: new Set<number>() };

function made(graph = stackOf(30)) {
  const drawing = drawGraph(graph);
  return { drawing, tree: buildTree(drawing) };
}

describe("folding", () => {
  test("layers that are alike are one stack, the one that differs stands alone", () => {
    const { drawing, tree } = made();
    const open = openToStart(tree, drawing, FILTER, 3);
    const visible = see(drawing, tree, { open, apart: new Set() }, FILTER);
    const titles = visible.shown.slice(1).map((shown) => labelOf(shown, drawing).title);
    expect(titles).toEqual(["x", "Model", "layers.0", "layers.1–29", "output"]);
    const stack = visible.shown.find((shown) => shown.kind === "stack")!;
    expect(labelOf(stack, drawing).sub).toBe("Block · ×29 · 3 nodes each");
  });

  test("a stack opens one by one, from any place, and joins again", () => {
    const { drawing, tree } = made();
    const model = tree.byKey.get("Model")!.id;
    const tenth = tree.byKey.get("layers.10")!.id;
    const names = (open: number[], apart: number[] = []) =>
      see(drawing, tree, { open: new Set(open), apart: new Set(apart) }, FILTER)
        .shown.filter((shown) => shown.layers[0]?.cls === "Block")
        .map((shown) => labelOf(shown, drawing).title);
    expect(names([model])).toEqual(["layers.0", "layers.1–29"]);
    expect(names([model, tenth])).toEqual(["layers.0", "layers.1–9", "layers.10", "layers.11–29"]);
    expect(names([model], [tree.byKey.get("layers.1")!.id])).toHaveLength(30);
  });

  test("edges are bundled between what is seen, weights are with their readers", () => {
    const { drawing, tree } = made(stackOf(3));
    const shut = see(drawing, tree, SHUT, FILTER);
    expect(shut.shown.map((shown) => shown.key)).toEqual(["", "#0", "Model", "#12"]);
    expect(shut.bundles.map(({ from, to, count }) => [from, to, count])).toEqual([
      [1, 2, 1],
      [2, 3, 1],
    ]);
    const all = { open: new Set(tree.layers.slice(1).map((layer) => layer.id)), apart: new Set<number>() };
    const open = see(drawing, tree, all, FILTER);
    const products = open.shown.filter(
      (shown) => shown.item >= 0 && drawing.items[shown.item]!.node.short === "mm",
    );
    expect(products.map((shown) => labelOf(shown, drawing).chips)).toEqual([
      ["weight"],
      ["weight"],
      ["weight"],
    ]);
    const own = see(drawing, tree, all, { ...FILTER, weights: true });
    expect(own.leaves).toBe(drawing.items.length);
  });

  test("an input that everything reads is written at its readers", () => {
    const layers = Array.from({ length: 9 }, (_, i) => ["Model", `layers.${i}: Block`]);
    const { drawing, tree } = made(
      graphOf(
        [
          { op: "placeholder", input: "positions" },
          ...layers.map((_, i) => ({ inputs: [0], layer: i, type: `f32[${i}]` })),
        ],
        layers,
      ),
    );
    const all = { open: new Set(tree.layers.slice(1).map((layer) => layer.id)), apart: new Set<number>() };
    const visible = see(drawing, tree, all, FILTER);
    expect(visible.bundles).toEqual([]);
    expect(visible.shown.filter((shown) => shown.tucked.includes(0))).toHaveLength(9);
  });

  test.each([1, 2, 3, 4, 5, 6, 7, 8])("whatever is open, nothing is lost or seen twice (%i)", (seed) => {
    const { drawing, tree } = made(randomGraph(seed, 120));
    const open = new Set(
      tree.layers.filter((layer) => (layer.id * 7 + seed) % 3 > 0).map((layer) => layer.id),
    );
    for (const filter of [FILTER, { weights: true, sizes: true }]) {
      const visible = see(drawing, tree, { open, apart: new Set() }, filter);
      const hidden = isHidden(drawing, filter);
      visible.of.forEach((at, item) => expect(at < 0).toBe(hidden[item] === 1));
      const leaves = visible.shown.filter((shown) => shown.kind !== "open");
      expect(leaves.reduce((sum, shown) => sum + shown.count, 0)).toBe(visible.shown[0]!.count);
      for (const bundle of visible.bundles) {
        expect(visible.shown[bundle.from]!.kind).not.toBe("open");
        expect(visible.shown[bundle.to]!.kind).not.toBe("open");
        expect(bundle.from).not.toBe(bundle.to);
      }
      visible.shown.forEach((shown, at) => {
        if (at > 0) expect(shown.parent).toBeLessThan(at);
        for (const child of shown.children) expect(visible.shown[child]!.parent).toBe(at);
      });
    }
  });

  test.each([1, 2, 3, 4])("a link restores what is open (%i)", (seed) => {
    const { tree } = made(randomGraph(seed, 80));
    const some = tree.layers
      .filter((layer) => layer.parent && (layer.id + seed) % 2 === 0)
      .map((layer) => layer.id);
    const apart = new Set(tree.layers.filter((layer) => layer.alike === layer.id).map((layer) => layer.id));
    for (const open of [
      new Set(some),
      new Set<number>(),
      new Set(tree.layers.slice(1).map(({ id }) => id)),
    ]) {
      expect(foldFromText(tree, foldToText(tree, { open, apart }))).toEqual({ open, apart });
    }
    expect(foldFromText(tree, "no.such,%zz,+,*,-").open.size).toBe(tree.layers.length - 1);
    expect(
      foldToText(tree, { open: new Set(tree.layers.slice(1).map(({ id }) => id)), apart: new Set() }),
    ).toBe("+");
  });

  test("a hundred thousand nodes without layers are cut into parts", () => {
    const nodes = Array.from({ length: 100_000 }, (_, id) => ({ inputs: id ? [id - 1] : [] }));
    const began = performance.now();
    const { drawing, tree } = made(graphOf(nodes));
    for (const layer of tree.layers) expect(layer.children.length).toBeLessThanOrEqual(MOST_CHILDREN);
    const open = openToStart(tree, drawing, FILTER, 28);
    const visible = see(drawing, tree, { open, apart: new Set() }, FILTER);
    expect(visible.leaves).toBeLessThan(30);
    expect(visible.shown[0]!.count).toBe(100_000);
    const all = openAll(tree, tree.root, countNodes(tree, isHidden(drawing, FILTER)), 2000);
    expect(all.folded).toBeGreaterThan(0);
    const most = see(drawing, tree, { open: new Set(all.open), apart: new Set() }, FILTER);
    expect(most.leaves).toBeLessThanOrEqual(2000);
    expect(performance.now() - began).toBeLessThan(15_000);
  });

  test("paths as deep as somebody likes and layers named alike", () => {
    const deep = Array.from({ length: 5000 }, (_, i) => `${"a.".repeat(i % 7)}b: C`);
    const { drawing, tree } = made(
      graphOf([{ layer: 0 }, { layer: 1, inputs: [0] }], [deep, ["b: C", "b: C", "b: C"]]),
    );
    expect(Math.max(...tree.layers.map((layer) => layer.depth))).toBeLessThan(60);
    expect(new Set(tree.layers.map((layer) => layer.key)).size).toBe(tree.layers.length);
    const open = new Set(tree.layers.map((layer) => layer.id));
    expect(see(drawing, tree, { open, apart: new Set() }, FILTER).leaves).toBe(2);
  });
});
