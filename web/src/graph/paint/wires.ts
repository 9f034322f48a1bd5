// Lines between boxes: thick where several are bundled, dashed where nothing but a write in place is between them, with
// rounded corners where they are large enough to be seen.

import type { Camera } from "../camera";
import type { Scene, Wire } from "../layout/scene";
import type { Bounds } from "./canvas";
import type { Theme } from "./theme";

const RADIUS = 7;

export function paintWires(
  ctx: CanvasRenderingContext2D,
  scene: Scene,
  camera: Camera,
  bounds: Bounds,
  theme: Theme,
  alpha: number,
): void {
  if (alpha <= 0) return;
  const styles = new Map<string, Wire[]>();
  const least = 2 / camera.scale;
  for (const wire of scene.wires) {
    if (wire.right < bounds.left || wire.left > bounds.right) continue;
    if (wire.bottom < bounds.top || wire.top > bounds.bottom) continue;
    if (wire.right - wire.left + wire.bottom - wire.top < least) continue;
    const thick = wire.count > 4 ? "3" : wire.count > 1 ? "2" : "1";
    const key = wire.change !== "kept" ? wire.change : wire.writes ? "writes" : thick;
    const list = styles.get(key);
    if (list) list.push(wire);
    else styles.set(key, [wire]);
  }
  ctx.globalAlpha = alpha;
  for (const [key, wires] of styles) {
    const colour = key === "added" || key === "removed" || key === "changed" ? theme[key] : theme.wire;
    const width = key === "1" ? 1.2 : key === "2" ? 1.8 : key === "3" ? 2.6 : 1.6;
    ctx.setLineDash(key === "removed" ? [5, 4] : key === "writes" ? [6, 5] : []);
    strokeWires(ctx, wires, camera.scale, colour, width);
    ctx.setLineDash([]);
    if (camera.scale > 0.4) arrows(ctx, scene, wires, colour);
  }
  ctx.globalAlpha = 1;
}

/** @param width in pixels of the screen; grows with the drawing once that is larger than life. */
export function strokeWires(
  ctx: CanvasRenderingContext2D,
  wires: Wire[],
  scale: number,
  colour: string,
  width: number,
): void {
  ctx.beginPath();
  const round = scale > 0.3;
  for (const { points } of wires) {
    ctx.moveTo(points[0]!, points[1]!);
    for (let i = 2; i < points.length; i += 2) {
      const x = points[i]!;
      const y = points[i + 1]!;
      if (round && i + 2 < points.length) turn(ctx, points, i);
      else ctx.lineTo(x, y);
    }
  }
  ctx.lineWidth = scale < 1 ? width / Math.max(scale, 0.12) : width;
  if (scale < 0.12) ctx.lineWidth *= 0.6;
  ctx.strokeStyle = colour;
  ctx.stroke();
}

/** A corner cut by a curve, no longer than half of the shorter side. */
function turn(ctx: CanvasRenderingContext2D, points: number[], i: number): void {
  const x = points[i]!;
  const y = points[i + 1]!;
  const dx = x - points[i - 2]!;
  const dy = y - points[i - 1]!;
  const ex = points[i + 2]! - x;
  const ey = points[i + 3]! - y;
  const before = Math.abs(dx) + Math.abs(dy);
  const after = Math.abs(ex) + Math.abs(ey);
  const r = Math.min(RADIUS, before / 2, after / 2);
  if (r < 0.5) {
    ctx.lineTo(x, y);
    return;
  }
  ctx.lineTo(x - (dx / before) * r, y - (dy / before) * r);
  ctx.quadraticCurveTo(x, y, x + (ex / after) * r, y + (ey / after) * r);
}

export function arrows(ctx: CanvasRenderingContext2D, scene: Scene, wires: Wire[], colour: string): void {
  ctx.beginPath();
  for (const { points, to } of wires) {
    if (to < 0 || scene.visible.shown[to]!.kind === "open") continue;
    const x = points[points.length - 2]!;
    const y = points[points.length - 1]!;
    ctx.moveTo(x, y);
    ctx.lineTo(x - 3.4, y - 6);
    ctx.lineTo(x + 3.4, y - 6);
  }
  ctx.fillStyle = colour;
  ctx.fill();
}
