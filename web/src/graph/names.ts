// What the things of a drawing are called in links, and which of them a link means.

import { nearWords } from "../app/near";
import type { Drawing } from "./items";
import type { Scene } from "./layout/scene";
import type { Tree } from "./tree";

/** A node by its name, with `-` when only the graph before has it; a layer by its key behind a dot. */
export function nameOf(scene: Scene, drawing: Drawing, at: number): string | null {
  const shown = at > 0 ? scene.visible.shown[at] : undefined;
  if (!shown) return null;
  if (shown.kind !== "node") return `.${shown.key}`;
  const item = drawing.items[shown.item]!;
  return `${item.change === "removed" ? "-" : ""}${item.node.name}`;
}

export type Named = { kind: "layer"; key: string } | { kind: "item"; item: number };

/** What a name means; a sentence when there is none of that name. */
export function named(drawing: Drawing, tree: Tree, name: string): Named | string {
  if (name.startsWith(".")) {
    const key = name.slice(1);
    if (tree.byKey.has(key)) return { kind: "layer", key };
    const all = [...tree.byKey.keys()].filter((each) => each);
    return `This graph has no layer ${key}.${nearWords(key, all)}`;
  }
  const removed = name.startsWith("-");
  const wanted = removed ? name.slice(1) : name;
  const item = drawing.items.find(
    (each) => each.node.name === wanted && (each.change === "removed") === removed,
  );
  if (item) return { kind: "item", item: item.index };
  const names = drawing.items.map((each) => each.node.name);
  return `This graph has no node ${wanted}.${nearWords(wanted, names)}`;
}
