// One drawn graph: what is open, what is lit, where one stands. Lays out anew when that changes.

import type { Difference, Graph, Snapshot, SnapshotWays } from "../data/types";
import { colours, type Colouring } from "./colour";
import { countNodes, foldFromText, foldToText, isHidden, see, type Filter, type Fold } from "./fold";
import { drawDifference, drawGraph, type Drawing } from "./items";
import { labelOf } from "./label";
import type { Layouts } from "./layout/arrange";
import type { Scene } from "./layout/scene";
import { near } from "./hit";
import { find, litItems, tally } from "./match";
import { beside, step, type Step } from "./move";
import { named, nameOf } from "./names";
import { openAll, openChanged, openToStart } from "./opening";
import { marksOf, sharesOf, type Look, type Shares } from "./paint/look";
import type { Stage } from "./stage";
import { around, buildTree, type Layer, type Tree } from "./tree";
import { count } from "./words";

export interface Input {
  graph: Graph;
  before: Graph | null;
  difference: Difference | null;
  snapshot: Snapshot | null;
}

/** No more than that is opened at once. */
export const BUDGET = 2000;
const MOST = 6000;
const AT_START = 28;
const ALL = "!";
const LATER = 30_000;
/** Characters of a link. */
const LONG = 400;

export class Session {
  readonly drawing: Drawing;
  readonly tree: Tree;
  readonly input: Input;
  readonly #layouts: Layouts;
  readonly #stage: Stage;
  fold = $state.raw<Fold>({ open: new Set(), apart: new Set() });
  filter = $state.raw<Filter>({ weights: false, sizes: false });
  colouring = $state.raw<Colouring>("op");
  query = $state.raw("");
  roots = $state.raw<ReadonlySet<number>>(new Set());
  ways = $state.raw<{ after: SnapshotWays | null; before: SnapshotWays | null }>({
    after: null,
    before: null,
  });
  /** Nodes that are lit here though their way is unknown. */
  picked = $state.raw<readonly number[]>([]);
  scene = $state.raw<Scene | null>(null);
  /** Index in the scene's `shown`; -1: none. */
  hover = $state.raw(-1);
  focus = $state.raw(-1);
  ring = $state.raw(false);
  busy = $state.raw(false);
  /** What happened last, for those who hear it; `seen`: for all, since something was not done. */
  said = $state.raw({ words: "", seen: false });
  #turn = 0;
  #byHand = false;
  #came: { from: number; at: number; way: "reader" | "input" } | null = null;

  readonly colours = $derived.by(() => colours(this.drawing, this.colouring, this.input.snapshot));
  readonly found = $derived.by(() => {
    return find(this.drawing, this.query, this.input.snapshot, this.input.graph);
  });
  readonly lit = $derived.by(() => {
    const { after, before } = this.ways;
    const items = litItems(this.drawing, "after", after, this.roots);
    for (const item of litItems(this.drawing, "before", before, this.roots)) items.add(item);
    for (const id of this.picked) {
      const item = this.drawing.after.get(id);
      if (item !== undefined) items.add(item);
    }
    return items.size > 0 ? items : null;
  });
  readonly #shares: Shares = $derived.by(() => {
    return this.scene ? sharesOf(this.scene, this.colours, this.drawing) : [];
  });
  readonly #marks = $derived.by(() => (this.scene ? marksOf(this.scene, this.drawing) : []));
  readonly look: Look | null = $derived.by(() => this.#look());

  constructor(input: Input, layouts: Layouts, stage: Stage) {
    this.input = input;
    this.#layouts = layouts;
    this.#stage = stage;
    this.drawing =
      input.before && input.difference
        ? drawDifference(input.before, input.graph, input.difference)
        : drawGraph(input.graph);
    this.tree = buildTree(this.drawing);
  }

  /** What is open at first: what the link says, or the outer layers and those in which something changed. */
  async start(text: string | null): Promise<void> {
    if (text !== null) {
      const all = {
        open: new Set(text === ALL ? this.#all(this.tree.root).open : []),
        apart: new Set<number>(),
      };
      this.fold = text === ALL ? all : foldFromText(this.tree, text);
      this.#byHand = true;
    } else {
      const open = openToStart(this.tree, this.drawing, this.filter, AT_START);
      if (this.drawing.merged) openChanged(this.drawing, this.tree, open, AT_START);
      this.fold = { open, apart: new Set() };
    }
    await this.arrange(null);
  }

  /** For links; null while it is as it was at first. `!`: all, as far as there is room. */
  get foldText(): string | null {
    if (!this.#byHand) return null;
    const text = foldToText(this.tree, this.fold);
    if (text.length < LONG) return text;
    const all = new Set(this.#all(this.tree.root).open);
    return all.size === this.fold.open.size && [...all].every((id) => this.fold.open.has(id)) ? ALL : text;
  }

  #all(layer: Layer): { open: number[]; folded: number } {
    const counts = countNodes(this.tree, isHidden(this.drawing, this.filter));
    return openAll(this.tree, layer, counts, BUDGET);
  }

  /** The drawing is gone: a layout that is still on its way is not shown. */
  end(): void {
    this.#turn++;
  }

  /** Lays out anew. What was laid out in a hurry is done again with more time while it is looked at. */
  async arrange(anchor: string | null): Promise<void> {
    const turn = ++this.#turn;
    const visible = see(this.drawing, this.tree, this.fold, this.filter);
    const labels = visible.shown.map((shown) => labelOf(shown, this.drawing));
    this.busy = true;
    const scene = await this.#layouts.arrange(visible, labels, this.#stage.measure);
    if (turn !== this.#turn) return;
    this.busy = false;
    this.#enter(scene, anchor);
    if (!scene.late) return;
    const better = await this.#layouts.arrange(visible, labels, this.#stage.measure, LATER);
    if (turn === this.#turn && !better.plain) this.#enter(better, this.#here());
  }

  /** What stays where it is when all else may move. */
  #here(): string {
    return (this.focus > 0 && this.scene?.visible.shown[this.focus]?.key) || "";
  }

  #enter(scene: Scene, anchor: string | null): void {
    const focus = this.focus > 0 ? this.scene?.visible.shown[this.focus] : undefined;
    const first = focus?.layers[0] ?? (focus && focus.item >= 0 ? this.tree.home[focus.item] : undefined);
    this.scene = scene;
    this.hover = -1;
    this.focus = focus ? (scene.byKey.get(focus.key) ?? nearest(scene, first)) : -1;
    this.#stage.show(scene, this.look!, anchor);
  }

  /** Opens a folded layer (of a stack the first), folds an open one. */
  async toggle(at: number): Promise<void> {
    const shown = this.scene?.visible.shown[at];
    if (!shown || shown.kind === "node" || at === 0) return;
    const layer = shown.layers[0]!;
    const open = new Set(this.fold.open);
    if (shown.kind === "open") open.delete(layer.id);
    else if (!this.#room(layer)) return;
    else open.add(layer.id);
    this.#say(shown.kind === "open" ? `Folded ${layer.label}.` : `Opened ${layer.label}.`);
    this.fold = { ...this.fold, open };
    this.#byHand = true;
    await this.arrange(layer.key);
  }

  /** Shows the layers of a stack one by one, or joins them again. */
  async spread(at: number): Promise<void> {
    const shown = this.scene?.visible.shown[at];
    const run = shown?.layers[0]?.alike ?? -1;
    if (!shown || run < 0) return;
    const apart = new Set(this.fold.apart);
    if (!apart.delete(run)) apart.add(run);
    this.fold = { ...this.fold, apart };
    this.#byHand = true;
    await this.arrange(shown.layers[0]!.key);
  }

  /** Opens all below a layer, or everything, as far as there is room. */
  async openAll(at = 0): Promise<void> {
    const shown = this.scene?.visible.shown[at];
    if (!shown) return;
    const open = at === 0 ? new Set<number>() : new Set(this.fold.open);
    let folded = 0;
    for (const layer of shown.layers) {
      const more = this.#all(layer);
      for (const id of more.open) open.add(id);
      folded += more.folded;
    }
    this.fold = { ...this.fold, open };
    this.#byHand = true;
    this.#say(
      folded > 0
        ? `${count(folded)} layers stay folded: no more than ${count(BUDGET)} boxes are opened at once.`
        : "Everything is open.",
      folded > 0,
    );
    // Of all of it, what comes first stays where it is.
    const first = at === 0 ? (shown.children[0] ?? 0) : at;
    await this.arrange(this.scene!.visible.shown[first]!.key);
  }

  async foldAll(): Promise<void> {
    this.#byHand = false;
    this.fold = {
      open: openToStart(this.tree, this.drawing, this.filter, this.drawing.items.length > AT_START ? 12 : 4),
      apart: new Set(),
    };
    this.#say("Folded.");
    await this.arrange(null);
  }

  async show(filter: Partial<Filter>): Promise<void> {
    this.filter = { ...this.filter, ...filter };
    await this.arrange("");
  }

  /** Opens the layers around an item and goes there. */
  async goTo(item: number): Promise<void> {
    const open = new Set(this.fold.open);
    for (const layer of around(this.tree, item)) open.add(layer.id);
    if (open.size !== this.fold.open.size) {
      this.fold = { ...this.fold, open };
      this.#byHand = true;
      await this.arrange("");
    }
    const at = this.scene?.visible.of[item] ?? -1;
    if (at > 0) this.focusOn(at, true);
  }

  /** What a thing is called in links. */
  nameOf(at: number): string | null {
    return this.scene && nameOf(this.scene, this.drawing, at);
  }

  /** Stands on what a link names, and opens the layers around it. Returns a sentence when there is none. */
  async standOn(name: string): Promise<string | null> {
    const found = named(this.drawing, this.tree, name);
    if (typeof found === "string") return found;
    const at =
      (found.kind === "layer" ? this.scene?.byKey.get(found.key) : this.scene?.visible.of[found.item]) ?? -1;
    if (found.kind === "layer") {
      if (at > 0) this.focusOn(at, false);
    } else if (this.scene?.visible.shown[at]?.kind === "node") this.focusOn(at, false);
    else await this.goTo(found.item);
    return null;
  }

  /** What `next` goes through: what is found, else lit, else changed. */
  readonly #marked = $derived.by(() => {
    const changed = this.drawing.items.filter((item) => item.change !== null && item.change !== "kept");
    return this.found ?? this.lit ?? new Set(changed.map((item) => item.index));
  });

  /** The next found, lit or changed thing after where one stands. */
  next(way: 1 | -1): void {
    const items = this.#marked;
    const { scene } = this;
    if (!scene || items.size === 0) return;
    const counts = tally(scene.visible, items);
    const size = counts.length;
    for (let i = 1; i <= size; i++) {
      const at = (((Math.max(0, this.focus) + way * i) % size) + size) % size;
      if (counts[at]! > 0) {
        this.focusOn(at, true);
        return;
      }
    }
  }

  focusOn(at: number, reveal: boolean): void {
    this.focus = at;
    this.#came = null;
    if (reveal && at > 0) this.#stage.reveal(at);
  }

  move(way: Step): void {
    if (!this.scene) return;
    const from = this.focus;
    const at = step(this.scene, from, way);
    if (at === from) return;
    this.focusOn(at, true);
    if (way === "reader" || way === "input") this.#came = { from, at, way };
  }

  /** To another reader or input of what one came from. */
  moveBeside(): void {
    const came = this.#came;
    if (!this.scene || !came || came.at !== this.focus) return;
    const at = beside(this.scene, came.from, came.at, came.way);
    this.focusOn(at, true);
    this.#came = { ...came, at };
  }

  #look(): Look | null {
    const { scene } = this;
    if (!scene) return null;
    const last = scene.boxes.length - 1;
    const hover = this.hover <= last ? this.hover : -1;
    const focus = this.focus <= last ? this.focus : -1;
    const looked = hover > 0 && scene.visible.shown[hover]!.kind !== "open" ? hover : focus;
    return {
      shares: this.#shares,
      marks: this.#marks,
      found: this.found ? tally(scene.visible, this.found) : null,
      lit: this.lit ? tally(scene.visible, this.lit) : null,
      hover,
      focus,
      ring: this.ring,
      near: looked > 0 ? near(scene, looked) : null,
    };
  }

  #room(layer: Layer): boolean {
    const leaves = this.scene?.visible.leaves ?? 0;
    if (leaves + layer.children.length <= MOST) return true;
    this.#say(`${count(leaves)} boxes are shown, which is the most: fold some layers first.`, true);
    return false;
  }

  #say(words: string, seen = false): void {
    this.said = { words, seen };
  }
}

function nearest(scene: Scene, layer: Layer | undefined): number {
  for (let at: Layer | null | undefined = layer; at?.parent; at = at.parent) {
    const found = scene.byKey.get(at.key);
    if (found !== undefined) return found;
  }
  return scene.boxes.length > 1 ? 1 : -1;
}
