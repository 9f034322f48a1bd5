// What is at a point of the drawing, what is beside a box, and which lines belong to it.

import type { Scene } from "./layout/scene";
import { BOTTOM } from "./layout/level";

export interface Hit {
  /** Index in `shown`. */
  at: number;
  /** On the sign that opens or folds it. */
  sign: boolean;
}

/** The innermost box at a point; null beside all of them. */
export function hit(scene: Scene, x: number, y: number): Hit | null {
  const { shown } = scene.visible;
  let at = 0;
  for (;;) {
    const inner: number | undefined = shown[at]!.children.find((child) => inside(scene, child, x, y));
    if (inner === undefined) break;
    at = inner;
    if (shown[at]!.kind !== "open") break;
  }
  if (at === 0) return null;
  const box = scene.boxes[at]!;
  const sign = shown[at]!.kind !== "node" && x < box.x + 28 && y < box.y + 30;
  return { at, sign };
}

function inside(scene: Scene, at: number, x: number, y: number): boolean {
  const box = scene.boxes[at]!;
  return x >= box.x && y >= box.y && x <= box.x + box.width && y <= box.y + box.height;
}

/** Whether `inner` is `outer` or stands in it. */
export function within(scene: Scene, inner: number, outer: number): boolean {
  let at = inner;
  while (at > outer) at = scene.visible.shown[at]!.parent;
  return at === outer;
}

export interface Near {
  /** Indices of wires. */
  into: number[];
  out: number[];
  /** Indices in `shown`. */
  readers: number[];
  inputs: number[];
}

/** Lines into a box and out of it, to their far ends, through the borders of open layers. */
export function near(scene: Scene, at: number): Near {
  const found: Near = { into: [], out: [], readers: [], inputs: [] };
  const inputs = new Set<number>();
  const readers = new Set<number>();
  for (const bundle of scene.visible.bundles) {
    const from = within(scene, bundle.from, at);
    const to = within(scene, bundle.to, at);
    if (to && !from) inputs.add(bundle.from);
    if (from && !to) readers.add(bundle.to);
  }
  scene.wires.forEach((wire, index) => {
    if (within(scene, wire.level, at)) return;
    if (within(scene, wire.value, at)) found.out.push(index);
    else if (inputs.has(wire.value) && leadsTo(scene, wire.to, wire.level, at)) found.into.push(index);
  });
  found.inputs = [...inputs].sort((a, b) => a - b);
  found.readers = [...readers].sort((a, b) => a - b);
  return found;
}

function leadsTo(scene: Scene, to: number, level: number, at: number): boolean {
  if (to === BOTTOM) return !within(scene, at, level);
  return within(scene, at, to);
}
