// What is seen of a drawing when some layers are open: boxes within boxes, and the edges between them in bundles.

import type { Drawing } from "./items";
import type { Layer, Tree } from "./tree";

export interface Fold {
  /** Ids of open layers. */
  open: ReadonlySet<number>;
  /** Runs of identical layers (by `alike`) that are shown one by one. */
  apart: ReadonlySet<number>;
}

export interface Filter {
  /** Weights and constants as nodes of their own, instead of beside their readers. */
  weights: boolean;
  /** Symbolic sizes and what is computed of them. */
  sizes: boolean;
}

export interface Shown {
  /** The same thing has the same key at every fold; a stack that of its first layer. */
  key: string;
  kind: "node" | "layer" | "stack" | "open";
  /** Index of the open layer around it; -1 for the outermost, which is not drawn. */
  parent: number;
  depth: number;
  children: number[];
  item: number;
  /** Of a layer; of a stack all of them. */
  layers: Layer[];
  /** Nodes in it that are not filtered out. */
  count: number;
  /** Weights, constants and inputs read everywhere: items drawn within their reader. */
  tucked: number[];
}

export interface Bundle {
  from: number;
  to: number;
  count: number;
  /** How many of them were there only before, or only after. */
  removed: number;
  added: number;
  /** How many of them say only that one thing reads what another wrote in place. */
  writes: number;
}

export interface Visible {
  /** The first is the outermost; a box comes before what is in it. */
  shown: Shown[];
  /** Item -> the innermost shown thing that holds it; -1 when filtered out. */
  of: Int32Array;
  bundles: Bundle[];
  /** Shown things that are not open. */
  leaves: number;
}

/** An input that more than this many things read is written at each of them. */
const HUB = 7;

export function isHidden(drawing: Drawing, filter: Filter): Uint8Array {
  const hidden = new Uint8Array(drawing.items.length);
  for (const item of drawing.items) {
    if (item.role === "size") hidden[item.index] = filter.sizes ? 0 : 1;
    if (item.role === "weight" || item.role === "constant") hidden[item.index] = filter.weights ? 0 : 1;
  }
  return hidden;
}

/** Nodes in each layer (by id), without those that are filtered out. */
export function countNodes(tree: Tree, hidden: Uint8Array): Int32Array {
  const counts = new Int32Array(tree.layers.length);
  for (let item = 0; item < hidden.length; item++) {
    if (hidden[item]) continue;
    for (let at: Layer | null = tree.home[item]!; at; at = at.parent) counts[at.id]!++;
  }
  return counts;
}

export function see(drawing: Drawing, tree: Tree, fold: Fold, filter: Filter): Visible {
  const hidden = isHidden(drawing, filter);
  const counts = countNodes(tree, hidden);
  const visible: Visible = { shown: [], of: new Int32Array(hidden.length).fill(-1), bundles: [], leaves: 0 };
  const add = (kind: Shown["kind"], parent: number, key: string, layers: Layer[], item: number): Shown => {
    const place = visible.shown.length;
    const depth = parent < 0 ? 0 : visible.shown[parent]!.depth + 1;
    let count = kind === "node" ? 1 : 0;
    for (const layer of layers) count += counts[layer.id]!;
    const shown: Shown = { key, kind, parent, depth, children: [], item, layers, count, tucked: [] };
    visible.shown.push(shown);
    if (parent >= 0) visible.shown[parent]!.children.push(place);
    if (kind !== "open") visible.leaves++;
    return shown;
  };
  const enter = (layer: Layer, parent: number): void => {
    add("open", parent, layer.key, [layer], -1);
    const place = visible.shown.length - 1;
    for (const child of ordered(layer, fold, counts)) {
      if (typeof child === "number") {
        if (hidden[child]) continue;
        visible.of[child] = visible.shown.length;
        add("node", place, `#${child}`, [], child);
      } else if (child.length === 1 && fold.open.has(child[0]!.id)) {
        enter(child[0]!, place);
      } else {
        const at = visible.shown.length;
        add(child.length > 1 ? "stack" : "layer", place, child[0]!.key, child, -1);
        for (const one of child) claim(one, at, hidden, visible.of);
      }
    }
  };
  enter(tree.root, -1);
  bundle(drawing, hidden, visible);
  return visible;
}

/** Children, with folded neighbours that are alike joined. */
export function ordered(layer: Layer, fold: Fold, counts: Int32Array): (Layer[] | number)[] {
  const found: (Layer[] | number)[] = [];
  let stack: Layer[] | null = null;
  for (const child of layer.children) {
    if (typeof child === "number") {
      found.push(child);
      continue;
    }
    if (counts[child.id] === 0) continue;
    const joins = child.alike >= 0 && !fold.apart.has(child.alike) && !fold.open.has(child.id);
    if (joins && stack && stack[0]!.alike === child.alike) {
      stack.push(child);
      continue;
    }
    const one = [child];
    found.push(one);
    stack = joins ? one : null;
  }
  return found;
}

function claim(layer: Layer, place: number, hidden: Uint8Array, of: Int32Array): void {
  const stack: (Layer | number)[] = [layer];
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    if (typeof at !== "number") stack.push(...at.children);
    else if (!hidden[at]) of[at] = place;
  }
}

function bundle(drawing: Drawing, hidden: Uint8Array, visible: Visible): void {
  const found = new Map<number, Bundle>();
  const width = visible.shown.length;
  const tucked = new Map<number, Set<number>>();
  const tuck = (reader: number, input: number): void => {
    const set = tucked.get(reader);
    if (set) set.add(input);
    else tucked.set(reader, new Set([input]));
  };
  const hubs = findHubs(drawing, hidden, visible);
  const between = (from: number, to: number): Bundle | null => {
    if (from < 0 || from === to) return null;
    const key = from * width + to;
    let one = found.get(key);
    if (!one) found.set(key, (one = { from, to, count: 0, removed: 0, added: 0, writes: 0 }));
    one.count++;
    return one;
  };
  for (const item of drawing.items) {
    const to = visible.of[item.index]!;
    if (to < 0) continue;
    for (const input of item.inputs) {
      const source = drawing.items[input]!;
      if (hidden[input] ? source.role === "weight" || source.role === "constant" : hubs.has(input)) {
        tuck(to, input);
        continue;
      }
      const one = between(visible.of[input]!, to);
      if (!one) continue;
      if (item.lost.has(input) || item.change === "removed" || source.change === "removed") one.removed++;
      else if (item.gained.has(input) || item.change === "added" || source.change === "added") one.added++;
    }
    for (const write of item.writes) {
      const one = between(visible.of[write]!, to);
      if (one) one.writes++;
    }
  }
  visible.bundles = [...found.values()];
  for (const [reader, inputs] of tucked) visible.shown[reader]!.tucked = [...inputs];
}

function findHubs(drawing: Drawing, hidden: Uint8Array, visible: Visible): Set<number> {
  const readers = new Map<number, Set<number>>();
  for (const item of drawing.items) {
    const to = visible.of[item.index]!;
    if (to < 0) continue;
    for (const input of item.inputs) {
      if (hidden[input] || drawing.items[input]!.node.op !== "placeholder") continue;
      const set = readers.get(input);
      if (set) set.add(to);
      else readers.set(input, new Set([to]));
    }
  }
  return new Set([...readers].filter(([, to]) => to.size > HUB).map(([input]) => input));
}

/** The open layers and runs as keys for a link, and back. `-`: none; `+key`: with all in it, so that links stay short. */
export function foldToText(tree: Tree, fold: Fold): string {
  const whole = new Set<number>();
  for (const layer of [...tree.layers].reverse()) {
    const inner = layer.children.filter((child): child is Layer => typeof child !== "number");
    const open = layer === tree.root || fold.open.has(layer.id);
    if (open && inner.length > 0 && inner.every((child) => whole.has(child.id) || isLeaf(child, fold))) {
      whole.add(layer.id);
    }
  }
  const keys: string[] = [];
  for (const layer of tree.layers) {
    const covered = layer.parent !== null && whole.has(layer.parent.id);
    if (whole.has(layer.id) && !covered) keys.push(`+${layer.key}`);
    else if (fold.open.has(layer.id) && !covered) keys.push(layer.key);
    if (fold.apart.has(layer.id)) keys.push(`*${layer.key}`);
  }
  return keys.map((key) => key.replace(/[%,]/g, encodeURIComponent)).join(",") || "-";
}

function isLeaf(layer: Layer, fold: Fold): boolean {
  return fold.open.has(layer.id) && layer.children.every((child) => typeof child === "number");
}

export function foldFromText(tree: Tree, text: string): Fold {
  const open = new Set<number>();
  const apart = new Set<number>();
  for (const part of text.split(",")) {
    const key = decode(part);
    const layer = tree.byKey.get(/^[*+]/.test(key) ? key.slice(1) : key);
    if (!layer) continue;
    if (key.startsWith("*")) apart.add(layer.id);
    else if (key.startsWith("+")) openBelow(layer, open);
    else if (layer.parent) open.add(layer.id);
  }
  return { open, apart };
}

function openBelow(top: Layer, open: Set<number>): void {
  const stack = [top];
  for (let layer = stack.pop(); layer; layer = stack.pop()) {
    if (layer.parent) open.add(layer.id);
    for (const child of layer.children) if (typeof child !== "number") stack.push(child);
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
