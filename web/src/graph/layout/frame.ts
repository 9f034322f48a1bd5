// The border of an open layer: its title, and the ways from where values cross it to where its layout wants them.
// Values cross at the middle, so that layers that follow each other stand in a column instead of drifting aside.

import { HEADER, PAD, type Label, type Measure } from "../label";
import type { Solution } from "./level";

export interface Crossing {
  /** Where it crosses the border, from the layer's left edge; and where the layout inside has it. */
  x: number;
  inner: number;
  /** How far from the inner layout's edge the way between the two runs; 0 when there is none. */
  jog: number;
}

export interface Frame {
  width: number;
  height: number;
  /** Where the inner layout begins. */
  left: number;
  top: number;
  inputs: Crossing[];
  outputs: Crossing[];
}

const APART = 14;
const LANE = 7;
const LANES = 42;

export function frameOf(inner: Solution, label: Label, measure: Measure): Frame {
  const title = measure(label.title, "title") + measure(label.sub, "sub") + 60;
  const width = Math.ceil(Math.max(inner.width + 2 * PAD, title));
  const left = (width - inner.width) / 2;
  const places = inner.columns ? straight : cross;
  const inputs = places(inner.inputX, width, left);
  const outputs = places(inner.outputX, width, left);
  const top = HEADER + (inputs.length > 0 ? Math.max(...inputs.map((one) => one.jog)) - 4 : PAD - 8);
  const bottom = outputs.length > 0 ? Math.max(...outputs.map((one) => one.jog)) + 2 : PAD;
  return { width, height: Math.ceil(top + inner.height + bottom), left, top, inputs, outputs };
}

/** Over and under columns, far from the middle: what follows such a layer need not stand below its middle. */
function straight(places: number[], _: number, left: number): Crossing[] {
  return places.map((place) => ({ x: place + left, inner: place + left, jog: 0 }));
}

function cross(places: number[], width: number, left: number): Crossing[] {
  const order = places.map((_, at) => at).sort((a, b) => places[a]! - places[b]!);
  const apart = Math.min(APART, (width - 2 * PAD) / Math.max(1, places.length));
  const lane = Math.min(LANE, LANES / Math.max(1, places.length));
  const found: Crossing[] = [];
  // Those that stand near the middle stay where they are, if that leaves room for the others.
  const near = places.every((place) => Math.abs(place + left - width / 2) < apart * (places.length + 2));
  order.forEach((at, rank) => {
    const x = width / 2 + (rank - (places.length - 1) / 2) * apart;
    const inner = places[at]! + left;
    const straight = Math.abs(inner - x) < 1 || (near && Math.abs(inner - x) < apart * 2);
    // Those that go left run the farther from the border the more they stand to the right, the others the other way
    // round: then no two of them cross.
    const turn = inner < x ? places.length - rank : rank + 1;
    found[at] = { x: straight ? inner : x, inner, jog: straight ? 0 : turn * lane };
  });
  return found;
}
