// Between two arrangements: what is in both moves, what is new grows out of the layer that was opened, what is gone
// shrinks into the one that was folded.

import type { Box, Scene } from "../layout/scene";

export interface Motion {
  from: Scene;
  /** By how much the old drawing is moved, so that what was clicked stays where it is. */
  dx: number;
  dy: number;
  began: number;
  /** Where each box of the new scene begins; and where each of the old one ends that is not in the new one. */
  starts: Box[];
  fresh: Uint8Array;
  ends: Map<number, Box>;
}

export const DURATION = 260;

export function begin(from: Scene, to: Scene, dx: number, dy: number, now: number): Motion {
  const shift = (box: Box): Box => ({ ...box, x: box.x + dx, y: box.y + dy });
  const fresh = new Uint8Array(to.boxes.length);
  const starts = to.boxes.map((box, at) => {
    const old = from.byKey.get(to.visible.shown[at]!.key);
    if (old !== undefined) return shift(from.boxes[old]!);
    fresh[at] = 1;
    const home = ancestor(to, at, from);
    return home ? map(box, to.boxes[home.here]!, shift(from.boxes[home.there]!)) : box;
  });
  const ends = new Map<number, Box>();
  from.boxes.forEach((box, at) => {
    if (at === 0 || to.byKey.has(from.visible.shown[at]!.key)) return;
    const home = ancestor(from, at, to);
    ends.set(at, home ? map(box, from.boxes[home.here]!, to.boxes[home.there]!) : shift(box));
  });
  return { from, dx, dy, began: now, starts, fresh, ends };
}

/** The nearest layer around `at` that the other scene has too. */
function ancestor(scene: Scene, at: number, other: Scene): { here: number; there: number } | null {
  for (let here = scene.visible.shown[at]!.parent; here > 0; here = scene.visible.shown[here]!.parent) {
    const there = other.byKey.get(scene.visible.shown[here]!.key);
    if (there !== undefined) return { here, there };
  }
  return null;
}

/** The box, with `frame` squeezed into `into`. */
function map(box: Box, frame: Box, into: Box): Box {
  const sx = into.width / Math.max(1, frame.width);
  const sy = into.height / Math.max(1, frame.height);
  return {
    x: into.x + (box.x - frame.x) * sx,
    y: into.y + (box.y - frame.y) * sy,
    width: box.width * sx,
    height: box.height * sy,
  };
}

export function between(a: Box, b: Box, t: number): Box {
  return {
    x: a.x + (b.x - a.x) * t,
    y: a.y + (b.y - a.y) * t,
    width: a.width + (b.width - a.width) * t,
    height: a.height + (b.height - a.height) * t,
  };
}

/** Quick at first, then gently to its place. */
export function ease(t: number): number {
  return 1 - (1 - t) ** 3;
}
