// From box to box with the keyboard: in the order of reading, in and out of layers, and along edges.

import { near } from "./hit";
import type { Scene } from "./layout/scene";

export type Step = "next" | "previous" | "in" | "out" | "reader" | "input" | "first" | "last";

/** Where a step leads; the same place when there is nothing that way. Boxes stand in `shown` in the order of reading. */
export function step(scene: Scene, at: number, way: Step): number {
  const { shown } = scene.visible;
  const last = shown.length - 1;
  if (last < 1) return 0;
  if (at < 1 || at > last) return 1;
  switch (way) {
    case "next":
      return Math.min(last, at + 1);
    case "previous":
      return Math.max(1, at - 1);
    case "in":
      return shown[at]!.children[0] ?? at;
    case "out":
      return Math.max(1, shown[at]!.parent) === shown[at]!.parent ? shown[at]!.parent : at;
    case "reader":
      return near(scene, at).readers[0] ?? at;
    case "input":
      return near(scene, at).inputs[0] ?? at;
    case "first":
      return 1;
    case "last":
      return last;
  }
}

/** The next one of those that one could have come to instead: other readers of the same, other inputs of the same. */
export function beside(scene: Scene, from: number, at: number, way: "reader" | "input"): number {
  const all = near(scene, from)[way === "reader" ? "readers" : "inputs"];
  const place = all.indexOf(at);
  return place < 0 ? at : all[(place + 1) % all.length]!;
}
