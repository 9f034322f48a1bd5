// One picture of a scene: layers, lines, boxes, then what is lit, looked at and found. Only what is in the window is
// painted, and text only where it can be read.

import type { Camera, Window } from "../camera";
import type { Measure } from "../label";
import type { Box, Scene } from "../layout/scene";
import { paintFolded, paintNode, paintOpen, paintTitle } from "./boxes";
import type { Look } from "./look";
import { between, DURATION, ease, type Motion } from "./motion";
import { badges, ring } from "./signs";
import type { Theme } from "./theme";
import { arrows, paintWires, strokeWires } from "./wires";

export interface Bounds {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** What painting needs to know. */
export interface Pen {
  ctx: CanvasRenderingContext2D;
  theme: Theme;
  scale: number;
  measure: Measure;
  font(kind: "title" | "sub" | "chip"): string;
  cut(text: string, kind: "title" | "sub" | "chip", width: number): string;
}

export interface Picture {
  scene: Scene;
  look: Look;
  /** Of the scene that one comes from. */
  before: Look | null;
  motion: Motion | null;
}

/** Whether it still moves. */
export function paint(
  pen: Pen,
  picture: Picture,
  camera: Camera,
  window: Window,
  ratio: number,
  now: number,
): boolean {
  const { ctx, theme } = pen;
  const { scene, look, motion } = picture;
  const t = motion ? Math.min(1, (now - motion.began) / DURATION) : 1;
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.globalAlpha = 1;
  ctx.fillStyle = theme.background;
  ctx.fillRect(0, 0, window.width, window.height);
  const s = camera.scale * ratio;
  ctx.setTransform(s, 0, 0, s, -camera.x * s, -camera.y * s);
  const bounds = {
    left: camera.x - 12,
    top: camera.y - 12,
    right: camera.x + window.width / camera.scale + 12,
    bottom: camera.y + window.height / camera.scale + 12,
  };
  if (motion && t < 1) {
    paintMotion(pen, picture, motion, camera, bounds, t);
    return true;
  }
  const { boxes, visible } = scene;
  const faint = look.found !== null || look.lit !== null;
  const beside = new Set([
    ...(look.near?.inputs ?? []),
    ...(look.near?.readers ?? []),
    look.hover,
    look.focus,
  ]);
  for (let at = 1; at < boxes.length; at++) {
    if (visible.shown[at]!.kind === "open" && sees(bounds, boxes[at]!)) {
      paintOpen(pen, boxes[at]!, visible.shown[at]!);
    }
  }
  paintWires(ctx, scene, camera, bounds, theme, faint ? 0.55 : 1);
  for (let at = 1; at < boxes.length; at++) {
    if (visible.shown[at]!.kind === "open" && sees(bounds, boxes[at]!)) {
      paintTitle(pen, boxes[at]!, visible.shown[at]!, scene.labels[at]!);
    }
  }
  for (let at = 1; at < boxes.length; at++) {
    if (visible.shown[at]!.kind === "open" || !sees(bounds, boxes[at]!)) continue;
    ctx.globalAlpha = faint && !look.found?.[at] && !look.lit?.[at] ? (beside.has(at) ? 0.8 : 0.42) : 1;
    paintLeaf(pen, scene, look, at, boxes[at]!);
  }
  ctx.globalAlpha = 1;
  if (look.near) paintNear(pen, scene, look);
  if (camera.scale < 0.5) farLabels(pen, scene, bounds);
  badges(pen, scene, look, bounds);
  if (look.hover > 0) ring(pen, boxes[look.hover], theme.strong, 1.5, 2);
  if (look.focus > 0) ring(pen, boxes[look.focus], theme.accent, look.ring ? 2.5 : 1.5, look.ring ? 3 : 2);
  return false;
}

function sees(bounds: Bounds, box: Box): boolean {
  return (
    box.x < bounds.right &&
    box.y < bounds.bottom &&
    box.x + box.width > bounds.left &&
    box.y + box.height > bounds.top
  );
}

function paintLeaf(pen: Pen, scene: Scene, look: Look, at: number, box: Box): void {
  const shown = scene.visible.shown[at]!;
  const shares = look.shares[at] ?? [];
  if (shown.kind === "open") {
    paintOpen(pen, box, shown);
    paintTitle(pen, box, shown, scene.labels[at]!);
  } else if (shown.kind !== "node") paintFolded(pen, box, shown, scene.labels[at]!, shares, look.marks[at]!);
  else paintNode(pen, box, scene.labels[at]!, shares[0]!, look.marks[at]!);
}

function paintMotion(
  pen: Pen,
  picture: Picture,
  motion: Motion,
  camera: Camera,
  bounds: Bounds,
  t: number,
): void {
  const { ctx, theme } = pen;
  const { scene, look } = picture;
  const at = ease(t);
  if (t < 0.4) {
    ctx.save();
    ctx.translate(motion.dx, motion.dy);
    const moved = { ...bounds, left: bounds.left - motion.dx, right: bounds.right - motion.dx };
    moved.top -= motion.dy;
    moved.bottom -= motion.dy;
    paintWires(ctx, motion.from, camera, moved, theme, 1 - t / 0.4);
    ctx.restore();
  }
  for (const [old, end] of motion.ends) {
    const start = motion.from.boxes[old]!;
    const box = between({ ...start, x: start.x + motion.dx, y: start.y + motion.dy }, end, at);
    if (!sees(bounds, box) || !picture.before) continue;
    ctx.globalAlpha = Math.max(0, 1 - 1.6 * t);
    paintLeaf(pen, motion.from, picture.before, old, box);
  }
  for (let i = 1; i < scene.boxes.length; i++) {
    const box = between(motion.starts[i]!, scene.boxes[i]!, at);
    if (!sees(bounds, box)) continue;
    ctx.globalAlpha = motion.fresh[i] ? at : 1;
    paintLeaf(pen, scene, look, i, box);
  }
  ctx.globalAlpha = 1;
  if (t > 0.5) paintWires(ctx, scene, camera, bounds, theme, (t - 0.5) * 2);
}

function paintNear(pen: Pen, scene: Scene, look: Look): void {
  const { ctx, theme, scale } = pen;
  const near = look.near!;
  const into = near.into.map((wire) => scene.wires[wire]!);
  const out = near.out.map((wire) => scene.wires[wire]!);
  strokeWires(ctx, into, scale, theme.input, 2.2);
  if (scale > 0.4) arrows(ctx, scene, into, theme.input);
  strokeWires(ctx, out, scale, theme.output, 2.2);
  if (scale > 0.4) arrows(ctx, scene, out, theme.output);
  for (const at of near.inputs) ring(pen, scene.boxes[at], theme.input, 1.6, 1);
  for (const at of near.readers) ring(pen, scene.boxes[at], theme.output, 1.6, 1);
}

/** Names of open layers on top of what is too small to read; where two would touch, the outer one stays. */
function farLabels(pen: Pen, scene: Scene, bounds: Bounds): void {
  const { ctx, theme, scale } = pen;
  const placed: Box[] = [];
  ctx.font = `600 ${11 / scale}px ${theme.sans}`;
  ctx.textBaseline = "middle";
  scene.visible.shown.forEach((shown, at) => {
    const box = scene.boxes[at]!;
    if (shown.kind !== "open" || at === 0 || box.width * scale < 60 || box.height * scale < 20) return;
    if (!sees(bounds, box)) return;
    const text = scene.labels[at]!.title;
    const width = ctx.measureText(text).width + 10 / scale;
    if (width > box.width) return;
    const label = {
      x: Math.max(box.x, Math.min(bounds.left + 16 / scale, box.x + box.width - width)),
      y: Math.max(box.y, Math.min(bounds.top + 16 / scale, box.y + box.height - 18 / scale)),
      width,
      height: 17 / scale,
    };
    if (placed.some((other) => touches(other, label))) return;
    placed.push(label);
    ctx.globalAlpha = 0.88;
    ctx.fillStyle = theme.background;
    ctx.beginPath();
    ctx.roundRect(label.x, label.y, label.width, label.height, 4 / scale);
    ctx.fill();
    ctx.globalAlpha = 1;
    ctx.fillStyle = theme.text;
    ctx.fillText(text, label.x + 5 / scale, label.y + label.height / 2);
  });
}

function touches(a: Box, b: Box): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}
