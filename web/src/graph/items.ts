// What is drawn: the nodes of one graph, or of two graphs merged into one picture.

import type { Difference, Graph, GraphNode, SourceLine } from "../data/types";
import { entriesOf, renamed } from "./inside";

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
  /** Indices of items that wrote in place into what it reads. */
  writes: number[];
  /** Paths of "fqn: class", outermost first. */
  path: readonly string[];
  /** The graph does not say which layer it belongs to: it stands where its neighbours stand. */
  unsure: boolean;
  /** `qwen3.py:40`, or empty. */
  source: string;
  /** Of a graph inside of the one that is drawn: it has no id there. */
  inner: boolean;
}

export interface Drawing {
  items: Item[];
  merged: boolean;
  /** Node id of the graph (after) -> index of the item; and of the graph before. */
  after: Map<number, number>;
  before: Map<number, number>;
  /** How many graphs inside are not drawn: two graphs in one picture have none of theirs. */
  undrawn: number;
}

const NONE: ReadonlySet<number> = new Set();
const DEEPEST = 48;

/** One graph as it is, with the graphs inside of it. */
export function drawGraph(graph: Graph): Drawing {
  const entries = entriesOf(graph);
  const places = new Map<number | null, Map<number, number>>([[null, new Map()]]);
  entries.forEach(({ node, within }, index) => {
    let ids = places.get(within);
    if (!ids) places.set(within, (ids = new Map()));
    ids.set(node.id, index);
  });
  const items = entries.map(({ node, within, path, source }, index) => {
    if (within === null) return { ...blank(graph, node, index), after: node.id };
    const item = itemOf(renamed(node, graph.inside[within]!.name), index, path, source);
    const role = roleOf(node);
    return { ...item, role: role === "weight" ? "input" : role, unsure: node.layer === null, inner: true };
  });
  entries.forEach(({ node, within, from }, index) => {
    const ids = places.get(within)!;
    const far = from.flatMap((one) => places.get(one.within)?.get(one.id) ?? []);
    items[index]!.inputs = [...new Set([...known(node.inputs, ids), ...far])];
    items[index]!.writes = known(node.after, ids);
  });
  settle(items);
  return { items, merged: false, after: places.get(null)!, before: new Map(), undrawn: 0 };
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
  const drawing: Drawing = {
    items: [],
    merged: true,
    after: new Map(),
    before: new Map(),
    undrawn: Math.max(before.inside.length, after.inside.length),
  };
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
    item.writes = is ? known(is.after, drawing.after) : known(was!.after, drawing.before);
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
  return { ...itemOf(node, index, layer ?? [], source), unsure: layer === undefined };
}

function itemOf(
  node: GraphNode,
  index: number,
  path: readonly string[],
  source: SourceLine | undefined,
): Item {
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
    writes: [],
    path: path.slice(0, DEEPEST),
    unsure: false,
    source: source ? `${source.file.slice(source.file.lastIndexOf("/") + 1)}:${source.line}` : "",
    inner: false,
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
  const calls = items.filter((item) => !isInput(item) && item.role !== "output" && !item.inner);
  const opening = calls.find((item) => item.path.length > 0)?.path ?? [];
  for (const item of calls) {
    if (item.path.length === 0) item.path = last.length > 0 ? last : opening.slice(0, 1);
    last = item.path;
  }
  const placed = new Set<number>();
  for (const item of calls) {
    for (const input of item.inputs) {
      const weight = items[input]!;
      if (!isInput(weight) || weight.inner || weight.role === "input" || placed.has(input)) continue;
      placed.add(input);
      weight.path = item.path;
      weight.unsure = false;
    }
  }
  for (const item of items) {
    if (item.inner || (item.role !== "input" && item.role !== "output")) continue;
    item.path = [];
    item.unsure = false;
  }
}

function isInput(item: Item): boolean {
  return item.node.op === "placeholder" || item.node.op === "get_attr";
}
