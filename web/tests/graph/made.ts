// Graphs made for tests.

import type { Difference, Graph, GraphNode } from "../../src/data/types";

export interface Made {
  name?: string;
  op?: string;
  short?: string;
  inputs?: number[];
  layer?: number | null;
  type?: string;
  input?: string;
  dtype?: string | null;
  after?: number[];
}

export function graphOf(nodes: Made[], layers: string[][] = []): Graph {
  return {
    fingerprint: "0".repeat(32),
    symbols: {},
    layers,
    sources: [{ file: "/src/model.py", line: 7, function: "forward", code: "y = f(x)" }],
    nodes: nodes.map((made, id): GraphNode => {
      const short = made.short ?? "add";
      return {
        id,
        name: made.name ?? `${short}_${id}`,
        op: made.op ?? "call_function",
        target: `torch.ops.aten.${short}.default`,
        short,
        text: `${short}(…)`,
        inputs: made.inputs ?? [],
        after: made.after ?? [],
        type: made.type ?? "f32[4]",
        dtype: made.dtype === undefined ? "float32" : made.dtype,
        shape: [4],
        device: "cpu",
        layer: made.layer ?? null,
        source: 0,
        input: made.input ?? null,
        provider: null,
        bytes: 16,
      };
    }),
    inside: [],
  };
}

/** `blocks` layers after each other, each with a norm and a product that reads a weight; the first has one node less. */
export function stackOf(blocks: number): Graph {
  const layers: string[][] = [];
  const nodes: Made[] = [{ name: "x", op: "placeholder", input: "x" }];
  let last = 0;
  for (let block = 0; block < blocks; block++) {
    const path = ["Model", `layers.${block}: Block`];
    layers.push([...path, `layers.${block}.norm: Norm`], [...path, `layers.${block}.proj: Linear`]);
    const weight = nodes.push({ op: "placeholder", input: `self.layers.${block}.proj.weight` }) - 1;
    const norm = nodes.push({ short: "rms_norm", inputs: [last], layer: 2 * block }) - 1;
    const product = nodes.push({ short: "mm", inputs: [norm, weight], layer: 2 * block + 1 }) - 1;
    last = block > 0 ? nodes.push({ inputs: [product, last], layer: 2 * block + 1 }) - 1 : product;
  }
  nodes.push({ op: "output", short: "output", inputs: [last], dtype: null });
  return graphOf(nodes, layers);
}

export function differenceOf(
  before: Graph,
  after: Graph,
  kept: [number, number][],
  changed: [number, number][] = [],
): Difference {
  const side = (graph: Graph) => ({
    selector: "s",
    graph: graph.fingerprint,
    nodes: graph.nodes.length,
    run: "",
    process: "",
  });
  const was = new Set([...kept, ...changed].map(([one]) => one));
  const is = new Set([...kept, ...changed].map(([, one]) => one));
  return {
    before: side(before),
    after: side(after),
    equal: false,
    summary: "",
    ops_delta: {},
    sizes: [],
    rewrites: [],
    kept: Object.fromEntries(kept.map(([old, now]) => [String(now), old])),
    removed: before.nodes.map((node) => node.id).filter((id) => !was.has(id)),
    added: after.nodes.map((node) => node.id).filter((id) => !is.has(id)),
    changed,
    rows: [],
  };
}

/** The same numbers for the same seed (mulberry32). */
export function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Nodes with layers, inputs and kinds at random. */
export function randomGraph(seed: number, size: number): Graph {
  const random = numbers(seed);
  const pick = (n: number) => Math.floor(random() * n);
  const layers = Array.from({ length: 12 }, () => {
    const path = ["Model"];
    let fqn = "";
    for (let depth = pick(4); depth > 0; depth--) {
      fqn += `${fqn && "."}b.${pick(3)}`;
      path.push(`${fqn}: Block`);
    }
    return path;
  });
  const nodes = Array.from({ length: size }, (_, id): Made => {
    const inputs = Array.from({ length: Math.min(id, pick(4)) }, () => pick(id));
    const kind = random();
    if (kind < 0.1) return { op: "placeholder", input: kind < 0.05 ? `self.w.${id}` : `x${id}` };
    if (kind < 0.15) return { inputs, dtype: "SymInt", layer: pick(12) };
    return { inputs, layer: kind < 0.3 ? null : pick(12), short: ["add", "mm", "view"][pick(3)]! };
  });
  return graphOf([...nodes, { op: "output", inputs: [size - 1] }], layers);
}
