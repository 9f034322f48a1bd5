// What is written on a box, and how large that makes it.

import type { Drawing, Item } from "./items";
import type { Shown } from "./fold";
import type { Layer } from "./tree";
import { count, nodes, plain } from "./words";

export interface Label {
  title: string;
  sub: string;
  /** Weights and other inputs that are written within the box. */
  chips: string[];
}

/** Width of a text in pixels: `bold` is the title's font, the others are smaller. */
export type Measure = (text: string, font: "title" | "sub" | "chip") => number;

export const HEADER = 30;
export const PAD = 18;
export const NODE = 38;
export const CHIP = 16;
export const FOLDED = 56;
const CHIPS = 3;
const NARROW = 64;
const WIDE = 260;
const WIDE_FOLDED = 340;

export function labelOf(shown: Shown, drawing: Drawing): Label {
  const chips = chipsOf(shown, drawing);
  if (shown.kind === "node") {
    const item = drawing.items[shown.item]!;
    return { title: titleOf(item), sub: plain(short(item.node.type), 34), chips };
  }
  const first = shown.layers[0]!;
  const cls = plain(first.cls, 32);
  if (shown.kind === "open") {
    return { title: plain(first.label, 60), sub: first.label === first.cls ? "" : cls, chips: [] };
  }
  const each = Math.round(shown.count / shown.layers.length);
  const size = shown.layers.length > 1 ? `×${shown.layers.length} · ${nodes(each)} each` : nodes(shown.count);
  const named = first.label !== first.cls && cls !== "";
  return { title: stackName(shown.layers), sub: named ? `${cls} · ${size}` : size, chips: [] };
}

/** Strides stand on the card. */
function short(type: string): string {
  return type.slice(0, 400).replace(/ strides \[[^\]]*\]/g, "");
}

/** `layers.1–30`. */
export function stackName(layers: readonly Layer[]): string {
  const first = plain(layers[0]!.label, 40);
  const last = layers[layers.length - 1]!;
  if (layers.length === 1) return layers[0]!.kind === "part" ? plain(layers[0]!.label, 60) : first;
  const end = /\d+(?=\D*$)/.exec(last.label)?.[0] ?? plain(last.label, 40);
  return first.replace(/(\d+)(?=\D*$)/, `$1–${end}`);
}

export function titleOf(item: Item): string {
  const { node } = item;
  if (node.op === "placeholder" || node.op === "get_attr") {
    return plain(tail(node.input?.replace(/^self\./, "") || node.name), 32);
  }
  return plain(node.short || node.name, 32);
}

/** The end of a long path is what tells it from others. */
function tail(path: string): string {
  if (path.length <= 30) return path;
  const parts = path.slice(-200).split(".");
  let text = parts.pop() ?? "";
  while (parts.length > 0 && text.length + parts[parts.length - 1]!.length < 28)
    text = `${parts.pop()}.${text}`;
  return `…${text}`;
}

function chipsOf(shown: Shown, drawing: Drawing): string[] {
  if (shown.tucked.length === 0 || shown.kind !== "node") return [];
  const names = shown.tucked.map((index) => {
    const item = drawing.items[index]!;
    const path = (item.node.input || item.node.name).split(".");
    return plain(path[path.length - 1] ?? "", 18);
  });
  if (names.length <= CHIPS) return names;
  return [...names.slice(0, CHIPS - 1), `+${count(names.length - CHIPS + 1)}`];
}

export interface Size {
  width: number;
  height: number;
}

export function sizeOf(shown: Shown, label: Label, measure: Measure): Size {
  const chips = label.chips.reduce((sum, chip) => sum + measure(chip, "chip") + 16, 8);
  const text = Math.max(measure(label.title, "title"), measure(label.sub, "sub"));
  const folded = shown.kind !== "node";
  const width = Math.max(text + (folded ? 46 : 26), chips + 8, folded ? 130 : NARROW);
  const least = folded ? FOLDED : NODE + (label.chips.length > 0 ? CHIP : 0) - (label.sub ? 0 : 10);
  return { width: Math.min(folded ? WIDE_FOLDED : WIDE, Math.ceil(width / 8) * 8), height: least };
}
