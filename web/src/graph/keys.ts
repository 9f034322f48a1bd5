// The keys of a drawing; those for walking it are in Tree.svelte.

import type { Binding } from "../app/keys.svelte";
import type { Step } from "./move";
import type { Session } from "./session.svelte";
import type { Stage } from "./stage";

/** What the keys act on, as it is then. */
export interface Hands {
  readonly session: Session | undefined;
  readonly stage: Stage | undefined;
  /** Puts the keys into the tree, where the drawing is walked. */
  walk(): void;
  openAll(): void;
}

const PAN = 80;
const NEARER = 1.3;

/** @param alone whether the view is this drawing: inside of another one its keys stay what they are. */
export function keysOf(hands: Hands, alone: boolean): Binding[] {
  const pan = (dx: number, dy: number) => () => hands.stage?.pan(dx, dy);
  /** Starts to walk the drawing where it is not walked yet. */
  const walk = (way: Step) => () => {
    hands.walk();
    hands.session?.move(way);
  };
  const own: Binding[] = [
    { keys: ["."], words: "Along an edge to what reads it", action: walk("reader") },
    { keys: [","], words: "Along an edge to what it reads", action: walk("input") },
    { keys: ["ArrowLeft"], words: "Pan left; walking: fold, or out", action: pan(PAN, 0) },
    { keys: ["ArrowRight"], words: "Pan right; walking: open, or in", action: pan(-PAN, 0) },
    { keys: ["ArrowUp"], words: "Pan up; walking: back", action: pan(0, PAN) },
    { keys: ["ArrowDown"], words: "Pan down; walking: on", action: pan(0, -PAN) },
  ];
  return [
    { keys: alone ? ["f", "z"] : ["z"], words: "All of it in the window", action: () => hands.stage?.fit() },
    { keys: ["+", "="], words: "Nearer", action: () => hands.stage?.zoom(NEARER) },
    { keys: ["-"], words: "Farther", action: () => hands.stage?.zoom(1 / NEARER) },
    { keys: ["0"], words: "Life size", action: () => hands.stage?.lifeSize() },
    {
      keys: ["e"],
      words: "Open all layers (walking: all in this one), as far as there is room",
      action: () => hands.openAll(),
    },
    { keys: ["c"], words: "Fold all", action: () => void hands.session?.foldAll() },
    {
      keys: ["n"],
      words: "The next that is found, lit or changed",
      action: () => hands.session?.next(1),
    },
    { keys: ["p"], words: "The one before", action: () => hands.session?.next(-1) },
    {
      keys: ["g"],
      words:
        "Walk: arrows, . and , along edges, ; another edge, s alike layers one by one, Shift and arrows pan",
      action: () => hands.walk(),
    },
    ...(alone ? own : []),
  ];
}
