// What is drawn: the nodes of one graph, or of two graphs merged into one picture.

import type { Difference, Graph, GraphNode } from "../data/types";

export type Change = "kept" | "added" | "removed" | "changed";
export type Role = "call" | "input" | "weight" | "constant" | "size" | "output";

export interface Item {
  /** Its place in the drawing's `items`. */
  index: number;
  node: GraphNode;
  /** Ids in the graph before and in the graph after; a single graph is the one after. */
  before: number | null;
  after: number | null;
  change: Change | null;
  role: Role;
  /** Indices of the items that it reads. */
  inputs: number[];
  /** Of those, the ones read only before, and only after. */
  lost: ReadonlySet<number>;
  gained: ReadonlySet<number>;
  /** Paths of "fqn: class", outermost first. */
  path: readonly string[];
  /** The graph does not say which layer it belongs to: it stands where its neighbours stand. */
  unsure: boolean;
  /** `qwen3.py:40`, or empty. */
  source: string;
}

export interface Drawing {
  items: Item[];
  merged: boolean;
  /** Node id of the graph (after) -> index of the item; and of the graph before. */
  after: Map<number, number>;
  before: Map<number, number>;
}

const NONE: ReadonlySet<number> = new Set();
const DEEPEST = 48;

/** One graph as it is. */
export function drawGraph(graph: Graph): Drawing {
  const after = new Map<number, number>();
  const items = graph.nodes.map((node, index) => {
    after.set(node.id, index);
    return blank(graph, node, index);
  });
  for (const item of items) {
    item.after = item.node.id;
    item.inputs = known(item.node.inputs, after);
  }
  settle(items);
  return { items, merged: false, after, before: new Map() };
}

/** Two graphs in one picture; what was removed stands where it stood. */
export function drawDifference(before: Graph, after: Graph, difference: Difference): Drawing {
  const pairs = new Map<number, number>();
  for (const [there, here] of Object.entries(difference.kept)) pairs.set(Number(there), here);
  const differ = new Set<number>();
  for (const [was, is] of difference.changed) {
    pairs.set(is, was);
    differ.add(is);
  }
  const order = interleave(before, after, pairs);
  const drawing: Drawing = { items: [], merged: true, after: new Map(), before: new Map() };
  for (const { was, is } of order) {
    const index = drawing.items.length;
    const item = is ? blank(after, is, index) : blank(before, was!, index);
    item.before = was?.id ?? null;
    item.after = is?.id ?? null;
    item.change = !was ? "added" : !is ? "removed" : differ.has(is.id) ? "changed" : "kept";
    if (was) drawing.before.set(was.id, index);
    if (is) drawing.after.set(is.id, index);
    drawing.items.push(item);
  }
  order.forEach(({ was, is }, index) => {
    const item = drawing.items[index]!;
    const old = new Set(was ? known(was.inputs, drawing.before) : []);
    const now = new Set(is ? known(is.inputs, drawing.after) : []);
    item.inputs = [...new Set([...now, ...old])];
    if (was && is) {
      item.lost = new Set([...old].filter((i) => !now.has(i)));
      item.gained = new Set([...now].filter((i) => !old.has(i)));
    }
  });
  settle(drawing.items);
  return drawing;
}

type Pair = { was: GraphNode | null; is: GraphNode | null };

function interleave(before: Graph, after: Graph, pairs: Map<number, number>): Pair[] {
  const place = new Map(before.nodes.map((node, index) => [node.id, index]));
  const paired = new Set(pairs.values());
  const order: Pair[] = [];
  let next = 0;
  const removedUpTo = (end: number): void => {
    for (; next < end; next++) {
      const was = before.nodes[next]!;
      if (!paired.has(was.id)) order.push({ was, is: null });
    }
  };
  for (const is of after.nodes) {
    const old = pairs.get(is.id);
    const at = old === undefined ? undefined : place.get(old);
    if (at === undefined) {
      order.push({ was: null, is });
      continue;
    }
    removedUpTo(at);
    order.push({ was: before.nodes[at]!, is });
  }
  removedUpTo(before.nodes.length);
  return order;
}

function blank(graph: Graph, node: GraphNode, index: number): Item {
  const layer = node.layer === null ? undefined : graph.layers[node.layer];
  const source = node.source === null ? undefined : graph.sources[node.source];
  return {
    index,
    node,
    before: null,
    after: null,
    change: null,
    role: roleOf(node),
    inputs: [],
    lost: NONE,
    gained: NONE,
    path: layer ? layer.slice(0, DEEPEST) : [],
    unsure: layer === undefined,
    source: source ? `${source.file.slice(source.file.lastIndexOf("/") + 1)}:${source.line}` : "",
  };
}

function known(ids: readonly number[], places: Map<number, number>): number[] {
  const found = new Set<number>();
  for (const id of ids) {
    const place = places.get(id);
    if (place !== undefined) found.add(place);
  }
  return [...found];
}

function roleOf(node: GraphNode): Role {
  if (node.op === "output") return "output";
  if (node.op === "get_attr") return "constant";
  if (isSize(node)) return "size";
  if (node.op !== "placeholder") return "call";
  const input = (node.input ?? "").replace(/^self\./, "");
  if (!node.dtype || input.startsWith("SYNTHETIC")) return "constant";
  return input.includes(".") && !input.endsWith("]") ? "weight" : "input";
}

/** A number or numbers, not a tensor: `SymInt s72`, `(SymInt s72, _)`. */
function isSize(node: GraphNode): boolean {
  if (node.dtype?.startsWith("Sym")) return true;
  if (/^\(?Sym(Int|Float|Bool)/.test(node.type)) return true;
  return node.op === "call_method" && node.target === "size";
}

/** Gives a layer to those that have none: inputs and the output stand outside, weights with their first reader. */
function settle(items: Item[]): void {
  let last: readonly string[] = [];
  const calls = items.filter((item) => !isInput(item) && item.role !== "output");
  const opening = calls.find((item) => item.path.length > 0)?.path ?? [];
  for (const item of calls) {
    if (item.path.length === 0) item.path = last.length > 0 ? last : opening.slice(0, 1);
    last = item.path;
  }
  const placed = new Set<number>();
  for (const item of calls) {
    for (const input of item.inputs) {
      const weight = items[input]!;
      if (!isInput(weight) || weight.role === "input" || placed.has(input)) continue;
      placed.add(input);
      weight.path = item.path;
      weight.unsure = false;
    }
  }
  for (const item of items) {
    if (item.role !== "input" && item.role !== "output") continue;
    item.path = [];
    item.unsure = false;
  }
}

function isInput(item: Item): boolean {
  return item.node.op === "placeholder" || item.node.op === "get_attr";
}
