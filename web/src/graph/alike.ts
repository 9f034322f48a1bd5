// Which neighbouring layers are the same up to names, so that thirty of them can be shown as one.

import type { Drawing, Item } from "./items";
import { itemsOf, type Layer, type Tree } from "./tree";

/** Numbers the runs of neighbouring layers that are alike: `layer.alike`. */
export function alike(tree: Tree, drawing: Drawing): void {
  for (const parent of tree.layers) {
    const siblings = parent.children.filter((child): child is Layer => typeof child !== "number");
    let run: Layer[] = [];
    let last = "";
    for (const layer of siblings) {
      const pattern = patternOf(layer);
      const print = pattern && `${pattern}\u0000${fingerprint(layer, drawing, tree)}`;
      if (!print || print !== last) {
        close(run);
        run = [];
      }
      last = print;
      if (print) run.push(layer);
    }
    close(run);
  }
}

function close(run: Layer[]): void {
  if (run.length < 2) return;
  for (const layer of run) layer.alike = run[0]!.id;
}

/** `layers.3: Block` as `layers.#: Block`; empty when it has no number, so that only repeated layers are joined. */
function patternOf(layer: Layer): string {
  if (!/\d/.test(layer.label)) return "";
  return `${layer.label.replace(/\d+/g, "#")}: ${layer.cls}`;
}

const NUMBERS = /(?<![\w.])-?\d[\d.]*(?:e[+-]?\d+)?/g;

/** Of what happens in a layer, without the names of nodes. */
function fingerprint(layer: Layer, drawing: Drawing, tree: Tree): string {
  const inside = itemsOf(layer);
  const local = new Map(inside.map((item, at) => [item, at]));
  let a = 0x811c9dc5;
  let b = 0x1b873593;
  const feed = (text: string): void => {
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      a = Math.imul(a ^ code, 0x01000193);
      b = Math.imul(b ^ code, 0x5bd1e995) ^ (b >>> 15);
    }
    a = Math.imul(a ^ 0x2c, 0x01000193);
  };
  for (const index of inside) {
    const item = drawing.items[index]!;
    feed(below(tree.home[index]!, layer));
    feed(item.role === "call" || item.role === "size" ? item.node.target : item.role);
    // A constant is often the name of its own layer.
    if (item.role !== "constant") feed(item.node.type);
    feed(item.change ?? "");
    feed(constants(item));
    for (const input of item.inputs) {
      const at = local.get(input);
      feed(at !== undefined ? String(at) : drawing.items[input]!.role);
      if (item.lost.has(input)) feed("-");
      if (item.gained.has(input)) feed("+");
    }
    for (const write of item.writes) feed(`w${local.get(write) ?? ""}`);
  }
  return `${inside.length}.${a >>> 0}.${b >>> 0}`;
}

function constants(item: Item): string {
  const text = item.node.text;
  return text.length > 2000 ? "" : (text.match(NUMBERS) ?? []).join(" ");
}

function below(layer: Layer, top: Layer): string {
  let path = "";
  for (let at: Layer | null = layer; at && at !== top; at = at.parent) path = `${at.label}/${path}`;
  return path;
}
