// The layers of a drawing as a tree. Long flat stretches are cut into parts, so that nothing has thousands of children.

import { alike } from "./alike";
import type { Drawing } from "./items";
import { count, plain } from "./words";

export interface Layer {
  id: number;
  /** Names it in links: its fqn, made unique. */
  key: string;
  kind: "layer" | "part";
  parent: Layer | null;
  depth: number;
  /** `layers.0.self_attn`; empty for the model. */
  fqn: string;
  cls: string;
  /** What is written: the fqn below its parent's, or the class. */
  label: string;
  /** Layers, and indices of items, in the order in which they first appear. */
  children: (Layer | number)[];
  /** Siblings with the same number are alike up to names; -1 when there is no other. */
  alike: number;
}

export interface Tree {
  root: Layer;
  layers: Layer[];
  byKey: Map<string, Layer>;
  /** Item -> the layer it stands in. */
  home: Layer[];
}

/** More children than that are shown in parts. */
export const MOST_CHILDREN = 300;
const PART = 100;

export function buildTree(drawing: Drawing): Tree {
  const root = newLayer(0, null, "", "", "");
  const tree: Tree = { root, layers: [root], byKey: new Map([["", root]]), home: [] };
  const found = new Map<string, Layer>();
  const placed = new Uint8Array(drawing.items.length);
  const place = (index: number): void => {
    if (placed[index]) return;
    placed[index] = 1;
    const item = drawing.items[index]!;
    let layer = root;
    let path = "";
    for (const step of item.path) {
      path += `\u0000${step}`;
      let child = found.get(path);
      if (!child) {
        child = enter(tree, layer, step);
        found.set(path, child);
      }
      layer = child;
    }
    layer.children.push(index);
    tree.home[index] = layer;
  };
  for (const item of drawing.items) {
    if (item.node.op === "placeholder" || item.node.op === "get_attr") {
      if (item.role === "input") place(item.index);
      continue;
    }
    for (const input of item.inputs) {
      const role = drawing.items[input]!.role;
      if (role === "weight" || role === "constant") place(input);
    }
    place(item.index);
  }
  for (const item of drawing.items) place(item.index);
  alike(tree, drawing);
  for (const layer of [...tree.layers]) cutLong(tree, layer);
  return tree;
}

function enter(tree: Tree, parent: Layer, step: string): Layer {
  const colon = step.indexOf(": ");
  const fqn = colon < 0 ? "" : step.slice(0, colon);
  const cls = colon < 0 ? step : step.slice(colon + 2);
  const inner = parent.fqn && fqn.startsWith(`${parent.fqn}.`) ? fqn.slice(parent.fqn.length + 1) : fqn;
  const layer = newLayer(tree.layers.length, parent, fqn, cls, inner || cls);
  parent.children.push(layer);
  register(tree, layer, fqn || cls);
  return layer;
}

function newLayer(id: number, parent: Layer | null, fqn: string, cls: string, label: string): Layer {
  const depth = parent ? parent.depth + 1 : 0;
  return { id, key: "", kind: "layer", parent, depth, fqn, cls, label, children: [], alike: -1 };
}

function register(tree: Tree, layer: Layer, name: string): void {
  const wanted = name.length > 200 ? `${name.slice(0, 200)}~${name.length}` : name;
  let key = wanted;
  for (let n = 2; tree.byKey.has(key); n++) key = `${wanted}~${n}`;
  layer.key = key;
  tree.byKey.set(key, layer);
  tree.layers.push(layer);
}

function cutLong(tree: Tree, layer: Layer): void {
  while (slots(layer) > MOST_CHILDREN) {
    const parts: Layer[] = [];
    for (let start = 0; start < layer.children.length; start += PART) {
      const children = layer.children.slice(start, start + PART);
      const part = newLayer(tree.layers.length, layer, layer.fqn, "", nameOf(children));
      part.kind = "part";
      part.children = children;
      register(tree, part, `${layer.key}/${start + 1}–${start + children.length}`);
      for (const child of children) {
        if (typeof child === "number") tree.home[child] = part;
        else child.parent = part;
      }
      parts.push(part);
    }
    layer.children = parts;
  }
  deepen(layer);
}

function deepen(layer: Layer): void {
  const stack = [layer];
  for (let at = stack.pop(); at; at = stack.pop()) {
    for (const child of at.children) {
      if (typeof child === "number" || child.depth === at.depth + 1) continue;
      child.depth = at.depth + 1;
      stack.push(child);
    }
  }
}

/** Children, those that are alike counted once. */
function slots(layer: Layer): number {
  const runs = new Set<number>();
  let single = 0;
  for (const child of layer.children) {
    if (typeof child === "number" || child.alike < 0) single++;
    else runs.add(child.alike);
  }
  return single + runs.size;
}

/** `nodes 1–100`, or the first and the last of layers. */
function nameOf(children: (Layer | number)[]): string {
  const first = children[0]!;
  const last = children[children.length - 1]!;
  if (
    typeof first !== "number" &&
    typeof last !== "number" &&
    first.kind === "layer" &&
    last.kind === "layer"
  ) {
    return `${plain(first.label, 24)} … ${plain(last.label, 24)}`;
  }
  return `nodes ${count(edge(first, 0) + 1)}–${count(edge(last, -1) + 1)}`;
}

/** The first or the last item in a child. */
function edge(child: Layer | number, at: 0 | -1): number {
  let found: Layer | number | undefined = child;
  while (found !== undefined && typeof found !== "number") found = found.children.at(at);
  return found ?? 0;
}

/** All items below a layer, in order. */
export function itemsOf(layer: Layer): number[] {
  const found: number[] = [];
  const stack: (Layer | number)[] = [layer];
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    if (typeof at === "number") found.push(at);
    else stack.push(...at.children);
  }
  return found.sort((a, b) => a - b);
}

/** The layers that an item stands in, innermost first, without the root. */
export function around(tree: Tree, item: number): Layer[] {
  const found: Layer[] = [];
  for (let layer: Layer | null = tree.home[item] ?? null; layer?.parent; layer = layer.parent)
    found.push(layer);
  return found;
}
