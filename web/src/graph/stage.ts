// The canvas: it holds the scene and the camera, follows pointer and wheel, and paints when something changed.

import {
  CLOSEST,
  FARTHEST,
  fit,
  keepNear,
  pan,
  reveal,
  start,
  zoomAt,
  type Camera,
  type Window,
} from "./camera";
import { hit, type Hit } from "./hit";
import type { Measure } from "./label";
import type { Box, Scene } from "./layout/scene";
import { paint, type Pen, type Picture } from "./paint/canvas";
import type { Look } from "./paint/look";
import { begin } from "./paint/motion";
import { makePen } from "./paint/pen";
import { readTheme } from "./paint/theme";

export interface Heard {
  /** The pointer is over a thing, or over none. */
  hover(at: number): void;
  press(hit: Hit | null, twice: boolean): void;
  /** The camera moved or the scene changed. */
  moved(camera: Camera, window: Window): void;
}

const CLICK = 4;
const GLIDE = 220;

export class Stage {
  readonly #canvas: HTMLCanvasElement;
  readonly #heard: Heard;
  readonly #ctx: CanvasRenderingContext2D;
  #pen: Pen;
  #picture: Picture | null = null;
  camera: Camera = { x: 0, y: 0, scale: 1 };
  window: Window = { width: 0, height: 0 };
  #ratio = 1;
  #frame = 0;
  #glide: { from: Camera; to: Camera; began: number } | null = null;
  #drag: { x: number; y: number; moved: boolean } | null = null;
  readonly #fingers = new Map<number, { x: number; y: number }>();
  readonly #still = matchMedia("(prefers-reduced-motion: reduce)");
  readonly #undo: (() => void)[] = [];

  constructor(canvas: HTMLCanvasElement, heard: Heard) {
    this.#canvas = canvas;
    this.#heard = heard;
    this.#ctx = canvas.getContext("2d", { alpha: false })!;
    this.#pen = makePen(this.#ctx, readTheme(canvas, false));
    const sizes = new ResizeObserver(() => this.#resize());
    sizes.observe(canvas);
    this.#undo.push(() => sizes.disconnect());
    this.#listen();
    this.#resize();
  }

  get measure(): Measure {
    return this.#pen.measure;
  }

  get scene(): Scene | null {
    return this.#picture?.scene ?? null;
  }

  stop(): void {
    cancelAnimationFrame(this.#frame);
    for (const undo of this.#undo) undo();
  }

  theme(dark: boolean): void {
    this.#pen = makePen(this.#ctx, readTheme(this.#canvas, dark));
    this.request();
  }

  /** @param anchor key of the thing that stays where it is on the screen; null: start anew. */
  show(scene: Scene, look: Look, anchor: string | null): void {
    const old = this.#picture;
    if (!old || anchor === null) {
      this.#picture = { scene, look, before: null, motion: null };
      this.#glide = null;
      this.camera = start(scene.boxes[0]!, this.window, firstOf(scene));
      this.#moved();
      return;
    }
    const was = old.scene.boxes[old.scene.byKey.get(anchor) ?? 0]!;
    const is = scene.boxes[scene.byKey.get(anchor) ?? 0]!;
    const dx = is.x + is.width / 2 - was.x - was.width / 2;
    const dy = is.y - was.y;
    const motion = this.#still.matches ? null : begin(old.scene, scene, dx, dy, performance.now());
    this.#picture = { scene, look, before: old.look, motion };
    this.#glide = null;
    this.camera = { ...this.camera, x: this.camera.x + dx, y: this.camera.y + dy };
    this.#moved();
  }

  look(look: Look): void {
    if (!this.#picture) return;
    this.#picture.look = look;
    this.request();
  }

  zoom(factor: number): void {
    this.#go(zoomAt(this.camera, factor, this.window.width / 2, this.window.height / 2));
  }

  /** One pixel of the drawing is one of the screen. */
  lifeSize(): void {
    this.zoom(1 / this.camera.scale);
  }

  fit(): void {
    if (this.scene) this.#go(fit(this.scene.boxes[0]!, this.window));
  }

  reveal(at: number): void {
    const box = this.scene?.boxes[at];
    if (box) this.#go(reveal(this.#glide?.to ?? this.camera, box, this.window));
  }

  pan(dx: number, dy: number): void {
    this.#glide = null;
    this.#set(pan(this.camera, dx, dy));
  }

  /** The middle of the window to this point of the drawing. */
  centre(x: number, y: number): void {
    const { scale } = this.camera;
    this.#glide = null;
    this.#set({ x: x - this.window.width / 2 / scale, y: y - this.window.height / 2 / scale, scale });
  }

  /** The middle of the window to this point of the drawing, at this scale. */
  place(x: number, y: number, scale: number): void {
    this.camera = { ...this.camera, scale: Math.min(CLOSEST, Math.max(FARTHEST, scale)) };
    this.centre(x, y);
  }

  request(): void {
    if (this.#frame === 0) this.#frame = requestAnimationFrame((now) => this.#paint(now));
  }

  #paint(now: number): void {
    this.#frame = 0;
    const picture = this.#picture;
    if (this.window.width === 0) return;
    if (!picture) {
      this.#ctx.fillStyle = this.#pen.theme.background;
      this.#ctx.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
      return;
    }
    if (this.#glide) this.#step(now);
    this.#pen.scale = this.camera.scale;
    const moving = paint(this.#pen, picture, this.camera, this.window, this.#ratio, now);
    if (!moving) picture.motion = null;
    if (moving || this.#glide) this.request();
  }

  #step(now: number): void {
    const { from, to, began } = this.#glide!;
    const t = Math.min(1, (now - began) / GLIDE);
    const ease = 1 - (1 - t) ** 3;
    const scale = from.scale * (to.scale / from.scale) ** ease;
    // The middle of the window goes along a straight line, so that zooming in does not swing about.
    const middle = (camera: Camera, size: number, side: "x" | "y"): number =>
      camera[side] + size / 2 / camera.scale;
    const { width, height } = this.window;
    const x = middle(from, width, "x") * (1 - ease) + middle(to, width, "x") * ease;
    const y = middle(from, height, "y") * (1 - ease) + middle(to, height, "y") * ease;
    this.camera = t < 1 ? { x: x - width / 2 / scale, y: y - height / 2 / scale, scale } : to;
    if (t >= 1) this.#glide = null;
    this.#heard.moved(this.camera, this.window);
  }

  #go(to: Camera): void {
    if (this.#still.matches) {
      this.#set(to);
      return;
    }
    this.#glide = { from: this.camera, to, began: performance.now() };
    this.request();
  }

  #set(camera: Camera): void {
    this.camera = this.scene ? keepNear(camera, this.scene.boxes[0]!, this.window) : camera;
    this.#moved();
  }

  #moved(): void {
    this.#heard.moved(this.camera, this.window);
    this.request();
  }

  #resize(): void {
    const { clientWidth, clientHeight } = this.#canvas;
    const first = this.window.width === 0 && clientWidth > 0;
    this.window = { width: clientWidth, height: clientHeight };
    this.#ratio = devicePixelRatio || 1;
    this.#canvas.width = Math.round(clientWidth * this.#ratio);
    this.#canvas.height = Math.round(clientHeight * this.#ratio);
    if (first && this.scene) this.camera = start(this.scene.boxes[0]!, this.window, firstOf(this.scene));
    this.#heard.moved(this.camera, this.window);
    cancelAnimationFrame(this.#frame);
    this.#paint(performance.now()); // at once: an emptied canvas must not be seen
  }

  #listen(): void {
    this.#on("pointerdown", (event) => this.#down(event));
    this.#on("pointermove", (event) => this.#move(event));
    this.#on("pointerup", (event) => this.#up(event));
    this.#on("pointercancel", (event) => this.#up(event));
    this.#on("pointerleave", () => this.#heard.hover(-1));
    this.#on("wheel", (event) => this.#wheel(event), { passive: false });
    this.#on("dblclick", (event) => this.#heard.press(this.#at(event), true));
    this.#watchRatio();
  }

  #on<K extends keyof HTMLElementEventMap>(
    name: K,
    listener: (event: HTMLElementEventMap[K]) => void,
    options?: AddEventListenerOptions,
  ): void {
    this.#canvas.addEventListener(name, listener, options);
    this.#undo.push(() => this.#canvas.removeEventListener(name, listener));
  }

  /** The window may be moved to another screen. */
  #watchRatio(): void {
    const query = matchMedia(`(resolution: ${devicePixelRatio}dppx)`);
    const changed = () => {
      query.removeEventListener("change", changed);
      this.#watchRatio();
      this.#resize();
    };
    query.addEventListener("change", changed);
    this.#undo.push(() => query.removeEventListener("change", changed));
  }

  #at(event: MouseEvent): Hit | null {
    if (!this.scene) return null;
    const { scale, x, y } = this.camera;
    return hit(this.scene, x + event.offsetX / scale, y + event.offsetY / scale);
  }

  #down(event: PointerEvent): void {
    if (event.button > 1) return;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    this.#drag = { x: event.offsetX, y: event.offsetY, moved: false };
    this.#glide = null;
  }

  #move(event: PointerEvent): void {
    if (!this.#drag) {
      const at = this.#at(event);
      this.#canvas.style.cursor = at ? "pointer" : "grab";
      this.#heard.hover(at?.at ?? -1);
      return;
    }
    const finger = this.#fingers.get(event.pointerId);
    if (!finger) return;
    if (this.#fingers.size === 2) this.#pinch(event, finger);
    const dx = event.offsetX - finger.x;
    const dy = event.offsetY - finger.y;
    finger.x = event.offsetX;
    finger.y = event.offsetY;
    const far = Math.abs(event.offsetX - this.#drag.x) + Math.abs(event.offsetY - this.#drag.y);
    if (far < CLICK && !this.#drag.moved) return;
    this.#drag.moved = true;
    this.#canvas.style.cursor = "grabbing";
    this.#set(pan(this.camera, dx / this.#fingers.size, dy / this.#fingers.size));
  }

  #pinch(event: PointerEvent, finger: { x: number; y: number }): void {
    const other = [...this.#fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (!other || !this.#drag) return;
    const before = Math.hypot(finger.x - other.x, finger.y - other.y);
    const after = Math.hypot(event.offsetX - other.x, event.offsetY - other.y);
    this.#drag.moved = true;
    if (before > 0 && after > 0) this.#set(zoomAt(this.camera, after / before, other.x, other.y));
  }

  #up(event: PointerEvent): void {
    this.#fingers.delete(event.pointerId);
    const drag = this.#drag;
    if (this.#fingers.size > 0) return;
    this.#drag = null;
    this.#canvas.style.cursor = "grab";
    if (drag && !drag.moved && event.type === "pointerup" && event.button === 0) {
      this.#heard.press(this.#at(event), false);
    }
  }

  /** A wheel that clicks, and a pinch on a touchpad, zoom; two fingers on a touchpad pan, as they do everywhere. */
  #wheel(event: WheelEvent): void {
    event.preventDefault();
    this.#glide = null;
    const lines = event.deltaMode === 1 ? 24 : event.deltaMode === 2 ? 400 : 1;
    const clicks = event.deltaX === 0 && (event.deltaMode !== 0 || Math.abs(event.deltaY) >= 90);
    if (event.ctrlKey || event.metaKey || (clicks && !event.shiftKey)) {
      const speed = event.ctrlKey && !clicks ? 0.01 : 0.0016;
      const factor = Math.exp(-Math.max(-240, Math.min(240, event.deltaY * lines)) * speed);
      this.#set(zoomAt(this.camera, factor, event.offsetX, event.offsetY));
      return;
    }
    const [dx, dy] = event.shiftKey && event.deltaX === 0 ? [event.deltaY, 0] : [event.deltaX, event.deltaY];
    this.#set(pan(this.camera, -dx * lines, -dy * lines));
  }
}

/** Where reading begins. */
function firstOf(scene: Scene): Box | undefined {
  return scene.boxes[scene.visible.shown.findIndex((shown) => shown.kind !== "open")];
}
