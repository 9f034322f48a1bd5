// How each shown thing looks beyond where it stands: colours, marks, what is lit, found, looked at.

import type { Colours } from "../colour";
import type { Drawing } from "../items";
import type { Near } from "../hit";
import type { Scene } from "../layout/scene";
import { itemsOf } from "../tree";

export interface Share {
  /** Name of a CSS variable. */
  colour: string;
  share: number;
}

/** Colours of one scene: for a node one, for a folded layer those of its nodes, most frequent first. */
export type Shares = Share[][];

export interface Look {
  shares: Shares;
  /** `+`, `−`, `~`, or empty. */
  marks: string[];
  /** Counts for each shown thing; null: nothing is looked for. */
  found: Int32Array | null;
  lit: Int32Array | null;
  hover: number;
  focus: number;
  /** Whether the focus is seen: the keyboard is here. */
  ring: boolean;
  near: Near | null;
}

export const MARKS = { kept: "", added: "+", removed: "−", changed: "~" } as const;

export function sharesOf(scene: Scene, colours: Colours, drawing: Drawing): Shares {
  const { shown, of } = scene.visible;
  return shown.map((one) => {
    if (one.kind === "open") return [];
    if (one.kind === "node") return [{ colour: colours.classes[colours.of[one.item]!]!.colour, share: 1 }];
    const counts = new Map<string, number>();
    let all = 0;
    for (const item of itemsOf(one.layers[0]!)) {
      if (of[item]! < 0 || drawing.items[item]!.role === "weight") continue;
      const { colour } = colours.classes[colours.of[item]!]!;
      counts.set(colour, (counts.get(colour) ?? 0) + 1);
      all++;
    }
    return [...counts].sort((a, b) => b[1] - a[1]).map(([colour, n]) => ({ colour, share: n / all }));
  });
}

/** For a folded layer the mark stands only when something in it changed. */
export function marksOf(scene: Scene, drawing: Drawing): string[] {
  if (!drawing.merged) return scene.visible.shown.map(() => "");
  const changed = new Uint8Array(scene.visible.shown.length);
  for (const item of drawing.items) {
    const at = scene.visible.of[item.index]!;
    if (at >= 0 && item.change !== "kept") changed[at] = 1;
  }
  return scene.visible.shown.map((one, at) => {
    if (one.kind === "node") return MARKS[drawing.items[one.item]!.change ?? "kept"];
    return changed[at] ? "~" : "";
  });
}
