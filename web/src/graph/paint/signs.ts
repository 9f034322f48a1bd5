// Rings around what is looked at, found or lit; counts on folded layers.

import type { Box, Scene } from "../layout/scene";
import type { Bounds, Pen } from "./canvas";
import type { Look } from "./look";

/** @param width of the line and `gap` around the box, in pixels of the screen. */
export function ring(pen: Pen, box: Box | undefined, colour: string, width: number, gap: number): void {
  if (!box) return;
  const { ctx, scale } = pen;
  const off = gap / Math.min(1, scale);
  ctx.strokeStyle = colour;
  ctx.lineWidth = width / Math.min(1, scale);
  ctx.beginPath();
  ctx.roundRect(box.x - off, box.y - off, box.width + 2 * off, box.height + 2 * off, 7);
  ctx.stroke();
}

export function badges(pen: Pen, scene: Scene, look: Look, bounds: Bounds): void {
  for (const [counts, colour] of [
    [look.found, pen.theme.found],
    [look.lit, pen.theme.lit],
  ] as const) {
    if (!counts) continue;
    counts.forEach((count, at) => {
      const box = scene.boxes[at]!;
      if (count === 0 || at === 0 || box.x > bounds.right || box.y > bounds.bottom) return;
      if (box.x + box.width < bounds.left || box.y + box.height < bounds.top) return;
      ring(pen, box, colour, 2, colour === pen.theme.lit ? 2 : 0.5);
      if (scene.visible.shown[at]!.kind !== "node") badge(pen, box, String(count), colour);
    });
  }
}

function badge(pen: Pen, box: Box, text: string, colour: string): void {
  const { ctx, theme } = pen;
  const size = 1 / Math.min(1, Math.max(pen.scale, 0.3));
  ctx.font = `600 ${10.5 * size}px ${theme.sans}`;
  const width = Math.max(18 * size, ctx.measureText(text).width + 10 * size);
  const x = box.x + box.width - width + 6 * size;
  const y = box.y - 8 * size;
  ctx.beginPath();
  ctx.roundRect(x, y, width, 17 * size, 8.5 * size);
  ctx.fillStyle = colour;
  ctx.fill();
  ctx.fillStyle = colour === theme.lit ? "#1b1b12" : theme.background;
  ctx.textBaseline = "middle";
  ctx.fillText(text, x + (width - ctx.measureText(text).width) / 2, y + 9 * size);
}
