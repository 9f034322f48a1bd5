// Boxes: nodes, folded layers with the colours of what is in them, open layers.

import type { Label } from "../label";
import type { Shown } from "../fold";
import { CHIP, HEADER } from "../label";
import type { Box } from "../layout/scene";
import type { Pen } from "./canvas";
import type { Share } from "./look";

const READABLE = 0.5;

export function paintOpen(pen: Pen, box: Box, shown: Shown): void {
  const { ctx, theme, scale } = pen;
  ctx.fillStyle = theme.layer[shown.depth % 2]!;
  ctx.strokeStyle = theme.strong;
  ctx.lineWidth = Math.min(1, 0.8 / scale);
  if (box.height * scale < 6) {
    ctx.fillRect(box.x, box.y, box.width, box.height);
    return;
  }
  ctx.beginPath();
  ctx.roundRect(box.x, box.y, box.width, box.height, 8);
  ctx.fill();
  ctx.stroke();
}

/** Over the lines, which give way to it. */
export function paintTitle(pen: Pen, box: Box, shown: Shown, label: Label): void {
  const { ctx, theme, scale } = pen;
  if (scale < READABLE) return;
  const y = box.y + HEADER / 2 + 1;
  const title = pen.cut(label.title, "title", box.width - 40);
  const width = pen.measure(title, "title");
  const room = box.width - width - 50;
  const sub = room < 40 ? "" : pen.cut(label.sub, "sub", room);
  ctx.fillStyle = theme.layer[shown.depth % 2]!;
  ctx.fillRect(box.x + 24, y - 8, width + (sub ? 10 + pen.measure(sub, "sub") : 0) + 5, 15);
  sign(pen, box.x + 14, y, true);
  ctx.textBaseline = "middle";
  ctx.fillStyle = theme.text;
  ctx.font = pen.font("title");
  ctx.fillText(title, box.x + 26, y);
  if (!sub) return;
  ctx.font = pen.font("sub");
  ctx.fillStyle = theme.faint;
  ctx.fillText(sub, box.x + 34 + width, y);
}

/** `▸` or `▾`. */
function sign(pen: Pen, x: number, y: number, open: boolean): void {
  const { ctx, theme } = pen;
  ctx.beginPath();
  if (open) {
    ctx.moveTo(x - 4.5, y - 2.5);
    ctx.lineTo(x + 4.5, y - 2.5);
    ctx.lineTo(x, y + 3.5);
  } else {
    ctx.moveTo(x - 2.5, y - 4.5);
    ctx.lineTo(x + 3.5, y);
    ctx.lineTo(x - 2.5, y + 4.5);
  }
  ctx.closePath();
  ctx.fillStyle = theme.faint;
  ctx.fill();
}

export function paintFolded(
  pen: Pen,
  box: Box,
  shown: Shown,
  label: Label,
  shares: Share[],
  mark: string,
): void {
  const { ctx, theme, scale } = pen;
  ctx.lineWidth = Math.min(1, 0.9 / scale);
  if (box.height * scale < 9) {
    ctx.fillStyle = theme.strong;
    ctx.fillRect(box.x, box.y, box.width, box.height);
    bar(pen, box, shares, box.height * 0.5);
    return;
  }
  if (shown.kind === "stack") sheets(pen, box);
  ctx.fillStyle = theme.background;
  ctx.strokeStyle = mark ? theme.changed : theme.strong;
  ctx.beginPath();
  ctx.roundRect(box.x, box.y, box.width, box.height, 7);
  ctx.fill();
  ctx.stroke();
  bar(pen, box, shares, 5);
  if (scale < READABLE) {
    farTitle(pen, box, label.title);
    return;
  }
  sign(pen, box.x + 14, box.y + 16, false);
  ctx.textBaseline = "middle";
  ctx.fillStyle = theme.text;
  ctx.font = pen.font("title");
  ctx.fillText(pen.cut(label.title, "title", box.width - (mark ? 50 : 36)), box.x + 26, box.y + 16);
  if (mark) {
    ctx.fillStyle = theme.changed;
    ctx.fillText(mark, box.x + box.width - 20, box.y + 16);
  }
  ctx.font = pen.font("sub");
  ctx.fillStyle = theme.faint;
  ctx.fillText(pen.cut(label.sub, "sub", box.width - 20), box.x + 12, box.y + 34);
}

function sheets(pen: Pen, box: Box): void {
  const { ctx, theme } = pen;
  ctx.fillStyle = theme.background;
  ctx.strokeStyle = theme.strong;
  for (const off of [8, 4]) {
    ctx.beginPath();
    ctx.roundRect(box.x + off, box.y + off, box.width, box.height, 7);
    ctx.fill();
    ctx.stroke();
  }
}

/** What kinds of nodes are in it, by their share. */
function bar(pen: Pen, box: Box, shares: Share[], height: number): void {
  const { ctx, theme } = pen;
  const width = box.width - 20;
  let x = box.x + 10;
  for (const { colour, share } of shares) {
    ctx.fillStyle = theme.tone(colour).full;
    ctx.fillRect(x, box.y + box.height - height - 6, width * share, height);
    x += width * share;
  }
}

/** From far away the title is as large as the box has room for. */
function farTitle(pen: Pen, box: Box, title: string): void {
  const { ctx, theme, scale } = pen;
  const size = Math.min(11 / scale, (box.height - 14) * 0.8);
  if (size * scale < 6.5) return;
  ctx.font = `600 ${size}px ${theme.sans}`;
  ctx.textBaseline = "middle";
  ctx.fillStyle = theme.text;
  const width = ctx.measureText(title).width;
  if (width > box.width - 12) return;
  ctx.fillText(title, box.x + (box.width - width) / 2, box.y + (box.height - 8) / 2);
}

export function paintNode(pen: Pen, box: Box, label: Label, share: Share, mark: string): void {
  const { ctx, theme, scale } = pen;
  const tone = theme.tone(share.colour);
  if (scale < 0.28) {
    ctx.fillStyle = tone.edge;
    ctx.fillRect(box.x, box.y, box.width, box.height);
    return;
  }
  ctx.fillStyle = tone.fill;
  ctx.strokeStyle = tone.edge;
  ctx.lineWidth = mark ? 1.6 : 1;
  if (mark === "−") ctx.setLineDash([4, 3]);
  ctx.beginPath();
  ctx.roundRect(box.x, box.y, box.width, box.height, 5);
  ctx.fill();
  ctx.stroke();
  if (mark === "−") ctx.setLineDash([]);
  ctx.fillStyle = tone.full;
  ctx.fillRect(box.x, box.y + 5, 3, box.height - 10);
  if (scale < READABLE) return;
  const chips = label.chips.length > 0;
  const bottom = box.height - (chips ? CHIP + 1 : 0);
  const middle = label.sub ? 14 : bottom / 2 + 0.5;
  ctx.textBaseline = "middle";
  ctx.fillStyle = theme.text;
  ctx.font = pen.font("title");
  const shift = mark ? 13 : 0;
  ctx.fillText(pen.cut(label.title, "title", box.width - 20 - shift), box.x + 11 + shift, box.y + middle);
  if (mark) {
    ctx.fillStyle = tone.full;
    ctx.fillText(mark, box.x + 10, box.y + middle);
  }
  if (label.sub) {
    ctx.fillStyle = theme.faint;
    ctx.font = pen.font("sub");
    ctx.fillText(pen.cut(label.sub, "sub", box.width - 18), box.x + 11, box.y + 28);
  }
  if (chips) paintChips(pen, box, label.chips);
}

function paintChips(pen: Pen, box: Box, chips: string[]): void {
  const { ctx, theme } = pen;
  let x = box.x + 9;
  const y = box.y + box.height - CHIP - 3;
  ctx.font = pen.font("chip");
  ctx.lineWidth = 0.8;
  for (const chip of chips) {
    const width = Math.min(pen.measure(chip, "chip") + 12, box.x + box.width - 6 - x);
    if (width < 16) return;
    ctx.beginPath();
    ctx.roundRect(x, y, width, CHIP - 2, 7);
    ctx.fillStyle = theme.background;
    ctx.strokeStyle = theme.strong;
    ctx.fill();
    ctx.stroke();
    ctx.fillStyle = theme.faint;
    ctx.fillText(pen.cut(chip, "chip", width - 10), x + 6, y + CHIP / 2 - 0.5);
    x += width + 4;
  }
}
