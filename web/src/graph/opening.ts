// Which layers are opened: at first, with all in one, and around what changed.

import { countNodes, isHidden, ordered, type Filter } from "./fold";
import type { Drawing } from "./items";
import { around, type Layer, type Tree } from "./tree";

/** Opens layers from the outside in, as long as no more than `budget` things are shown; then those in `wanted` too. */
export function openToStart(tree: Tree, drawing: Drawing, filter: Filter, budget: number): Set<number> {
  const counts = countNodes(tree, isHidden(drawing, filter));
  const open = new Set<number>();
  let level: Layer[] = [tree.root];
  let shown = 0;
  while (level.length > 0) {
    const inner: Layer[] = [];
    let more = 0;
    for (const layer of level) {
      const slots = ordered(layer, { open, apart: new Set() }, counts);
      more += slots.length - 1;
      for (const slot of slots) if (typeof slot !== "number" && slot.length === 1) inner.push(slot[0]!);
    }
    const only = level[0] === tree.root || (level.length === 1 && level[0]!.depth === 1);
    if (!only && shown + more > budget) break;
    for (const layer of level) if (layer !== tree.root) open.add(layer.id);
    shown += more;
    level = inner;
  }
  return open;
}

/** Opens everything, outermost first, until `budget` things are shown. Says how many layers stay folded. */
export function openAll(
  tree: Tree,
  top: Layer,
  counts: Int32Array,
  budget: number,
): { open: number[]; folded: number } {
  const open: number[] = [];
  let shown = 0;
  let folded = 0;
  const queue: Layer[] = [top];
  for (let at = 0; at < queue.length; at++) {
    const layer = queue[at]!;
    const inner = layer.children.filter(
      (child): child is Layer => typeof child !== "number" && counts[child.id]! > 0,
    );
    const direct = counts[layer.id]! - inner.reduce((sum, child) => sum + counts[child.id]!, 0);
    if (shown + direct + inner.length > budget) {
      folded++;
      continue;
    }
    shown += direct + inner.length - 1;
    if (layer !== tree.root) open.push(layer.id);
    queue.push(...inner);
  }
  return { open, folded };
}

/** Opens, too, the layers in which something changed, of those that are alike the first; no more than some. */
export function openChanged(drawing: Drawing, tree: Tree, open: Set<number>, most: number): void {
  const runs = new Set<number>();
  for (const item of drawing.items) {
    if (open.size > most) break;
    if (item.change === "kept" || item.change === null || item.role === "weight") continue;
    const layers = around(tree, item.index);
    const run = layers.find((layer) => layer.alike >= 0)?.alike;
    if (run !== undefined && runs.has(run) && !layers.some((layer) => layer.id === run)) continue;
    if (run !== undefined) runs.add(run);
    for (const layer of layers) open.add(layer.id);
  }
}
