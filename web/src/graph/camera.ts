// Where the eye is: what point of the drawing stands at the window's top left corner, and how large a pixel of it is.

import type { Box } from "./layout/scene";

export interface Camera {
  x: number;
  y: number;
  scale: number;
}

export interface Window {
  width: number;
  height: number;
}

export const CLOSEST = 3;
export const FARTHEST = 0.004;
const READABLE = 0.55;

export function zoomAt(camera: Camera, factor: number, x: number, y: number): Camera {
  const scale = Math.min(CLOSEST, Math.max(FARTHEST, camera.scale * factor));
  return { x: camera.x + x / camera.scale - x / scale, y: camera.y + y / camera.scale - y / scale, scale };
}

export function pan(camera: Camera, dx: number, dy: number): Camera {
  return { ...camera, x: camera.x - dx / camera.scale, y: camera.y - dy / camera.scale };
}

/** All of it in the window, centred. */
export function fit(box: Box, window: Window, most = 1.25): Camera {
  const scale = Math.min(
    most,
    window.width / Math.max(1, box.width),
    window.height / Math.max(1, box.height),
  );
  const safe = Math.max(FARTHEST, scale);
  return {
    x: box.x + box.width / 2 - window.width / 2 / safe,
    y: box.y + box.height / 2 - window.height / 2 / safe,
    scale: safe,
  };
}

/**
 * All of it where that can be read; else its top, as large as can be read: where it begins, when it is wider than the
 * window.
 */
export function start(box: Box, window: Window, first: Box = box): Camera {
  const whole = fit(box, window);
  if (whole.scale >= READABLE) return whole;
  const scale = Math.max(READABLE, Math.min(1, window.width / Math.max(1, box.width)));
  const middle = box.width * scale > window.width ? first : box;
  return { x: middle.x + middle.width / 2 - window.width / 2 / scale, y: box.y, scale };
}

/** Moves as little as needed for the box to be seen, and comes nearer when it could not be read. */
export function reveal(camera: Camera, box: Box, window: Window, margin = 60): Camera {
  let { x, y, scale } = camera;
  if (scale < READABLE) {
    scale = 0.9;
    x = box.x + Math.min(box.width, window.width) / 2 - window.width / 2 / scale;
    y = box.y + Math.min(box.height, 200) / 2 - window.height / 2 / scale;
    return { x, y, scale };
  }
  const room = margin / scale;
  const width = window.width / scale;
  const height = window.height / scale;
  const right = box.x + Math.min(box.width, width - 2 * room);
  const bottom = box.y + Math.min(box.height, height - 2 * room);
  if (box.x < x + room) x = box.x - room;
  else if (right > x + width - room) x = right - width + room;
  if (box.y < y + room) y = box.y - room;
  else if (bottom > y + height - room) y = bottom - height + room;
  return { x, y, scale };
}

/** Keeps some of the drawing in the window. */
export function keepNear(camera: Camera, box: Box, window: Window): Camera {
  const width = window.width / camera.scale;
  const height = window.height / camera.scale;
  const margin = 80 / camera.scale;
  return {
    x: Math.min(box.x + box.width - margin, Math.max(box.x - width + margin, camera.x)),
    y: Math.min(box.y + box.height - margin, Math.max(box.y - height + margin, camera.y)),
    scale: camera.scale,
  };
}
