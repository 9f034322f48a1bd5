// What a link names and this dump does not have: the page shows something else then, and must say so.

import type { CompilationSummary, Index, Overview, Selector, Step } from "../data/types";
import { nearest } from "./near";
import { numbers } from "./selection.svelte";
import { parts } from "./selectors";
import type { Place } from "./state";

export interface Missing {
  /** A sentence. */
  what: string;
  /** Selectors (or runs with their process) that come near; each can be gone to. */
  near: string[];
}

/** A run or a process. */
export function missingProcess(place: Place, index: Index): Missing | null {
  if (!place.run || !index.runs.length) return null;
  const run = index.runs.find((each) => each.name === place.run);
  const all = index.runs.flatMap((each) => each.processes.map((process) => `${each.name}/${process.name}`));
  const wanted = `${place.run}/${place.process}`;
  if (run?.processes.some((each) => each.name === place.process)) return null;
  if (run && !place.process) return null;
  const what = run
    ? `${place.run} has no process called ${place.process}.`
    : `There is no run called ${place.run} here.`;
  return { what, near: nearest([wanted], all) };
}

/** A compilation, a piece, a range or a stage; `steps`: of the compilation that is named, as far as they are read. */
export function missingSelector(
  selector: Selector,
  overview: Overview,
  steps: readonly Step[] | null,
): Missing | null {
  if (!selector) return null;
  const compilation = compilationOf(selector, overview);
  const names = overview.compilations.map((each) => each.name);
  if (!compilation) {
    const said = parts(selector).compilation;
    return { what: `There is no compilation called ${said} here.`, near: nearest([said], names) };
  }
  const { name } = compilation;
  if (selector === name) return null;
  const { piece, range, step } = parts(selector.slice(name.length + 1).replace(/^/, "-/"));
  const found = compilation.pieces.find((each) => each.name === piece);
  const near = (some: readonly string[]) => nearest([selector], some);
  if (piece !== null && !found) {
    const all = compilation.pieces.map((each) => `${name}/${each.name}`);
    return { what: `${name} has no ${piece}: it has ${pieceCount(all.length)}.`, near: near(all) };
  }
  if (piece !== null && selector === `${name}/${piece}`) return null;
  if (steps === null || steps.some((each) => each.selector === selector)) return null;
  const within = steps.filter((each) => each.selector.startsWith(`${selector}/`));
  if (within.length) return null;
  const ranges = new Set([
    ...(found?.ranges.flatMap((each) => [each.name, ...each.same]) ?? []),
    ...steps.flatMap((each) => (each.piece === piece && each.range !== null ? [each.range] : [])),
  ]);
  const isRange = range !== null && ranges.has(range.replace(/^range_/, ""));
  if (step === null && isRange) return null; // of an equal piece
  if (range !== null && !isRange) {
    const all = [...ranges].map((each) => `${name}/${piece}/range_${each}`);
    const what = `${piece} was not compiled for ${range.replace(/^range_/, "").replace("_", "–")}.`;
    return { what, near: near(all) };
  }
  const where = [piece, range].filter(Boolean).join("/");
  const siblings = steps.filter(
    (each) => each.piece === piece && (!range || `range_${each.range}` === range),
  );
  const known = (siblings.length ? siblings : steps).map((each) => each.selector);
  return { what: `${where || name} has no stage called ${step}.`, near: near(known) };
}

/** Nodes that are selected: `sel` names them by their numbers in a graph. */
export function missingNodes(sel: string, steps: readonly Step[]): Missing | null {
  const [, , , selector, nodes] = sel.split("|");
  const step = steps.find((each) => each.selector === selector);
  if (!selector || !nodes || !step || step.nodes === null) return null;
  const beyond = numbers(nodes).find((node) => node >= (step.nodes ?? Infinity));
  if (beyond === undefined) return null;
  return { what: `${selector} has ${step.nodes} nodes: there is no node ${beyond}.`, near: [selector] };
}

function compilationOf(selector: Selector, overview: Overview): CompilationSummary | undefined {
  const inside = (name: string) => selector === name || selector.startsWith(`${name}/`);
  return overview.compilations
    .filter((each) => inside(each.name))
    .sort((a, b) => b.name.length - a.name.length)[0];
}

function pieceCount(count: number): string {
  return count === 0 ? "no pieces" : count === 1 ? "one piece" : `${count} pieces`;
}
