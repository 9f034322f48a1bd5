// Where graphs stand: stages in order, and the pieces under whose layers a graph is seen.

import type { Overview, SearchTable, Selector, Step, Steps } from "../data/types";
import { pattern } from "./labels";

/** One snapshot of a graph. */
export interface Place {
  selector: Selector;
  compilation: string;
  piece: string | null;
  range: string | null;
  /** The last part of the selector, which a stage and a pass have in common over pieces and ranges. */
  stage: string;
  /** What it can be asked for by: that, the stage alone, the pass alone. */
  names: readonly string[];
  /** Index into `Places.stages`. */
  order: number;
}

/** A graph under one piece's layers. A piece that repeats another was compiled with it: it has no graphs itself. */
export interface View {
  piece: string | null;
  /** Layers in the graph's table -> those that are meant; null when they are the same. */
  change: Map<string, string> | null;
  places: Place[];
}

export interface Places {
  /** Stages in the order in which a graph goes through them. */
  stages: string[];
  /** For each graph of the table, its views. */
  views: View[][];
}

/** Find where each graph of a table stands. `steps` give the order of stages; without them the selectors do. */
export function placesOf(table: SearchTable, overview: Overview | null, steps: Steps[]): Places {
  const stages = stagesOf(table, steps);
  const order = new Map(stages.map((stage, at) => [stage, at]));
  const together = overview ? compiledTogether(overview) : new Map<string, Equal[]>();
  const known = new Map(steps.flatMap((each) => each.steps.map((step) => [step.selector, step] as const)));
  const places = table.graphs.map(({ selectors }) =>
    selectors.map((selector) => placeOf(selector, order, known.get(selector))),
  );
  const own = new Set(places.flat().map(rangeKey));
  const views = places.map((each) => viewsOf(each, together, own));
  return { stages, views };
}

/** A piece and a range for which it has graphs itself. */
function rangeKey({ compilation, piece, range }: Pick<Place, "compilation" | "piece" | "range">): string {
  return `${compilation}/${piece}/${range}`;
}

function placeOf(selector: Selector, order: Map<string, number>, step: Step | undefined): Place {
  const parts = selector.split("/");
  const stage = parts.at(-1) ?? "";
  const range = parts.find((part) => part.startsWith("range_"))?.slice("range_".length) ?? null;
  const piece = parts.slice(1, -1).find((part) => part.startsWith("piece_")) ?? null;
  const names = [stage, ...(step ? [step.stage, step.pass] : namesOf(stage))].filter((name) => name !== null);
  const compilation = parts[0] ?? "";
  return { selector, compilation, piece, range, stage, names, order: order.get(stage) ?? order.size };
}

/** Of a stage whose step is not known: `post_grad.2.Name` is a pass called `Name`. */
function namesOf(stage: string): string[] {
  const numbered = /^[^.]+\.(?:\d+\.)?(.+)$/.exec(stage);
  return numbered ? [numbered[1]!] : [];
}

/**
 * Stages in order: each comes after the one that was recorded before it for the same piece and range. Pieces differ in
 * the passes that changed something, so that one list alone does not have them all.
 */
export function stagesOf(table: SearchTable, steps: Steps[]): string[] {
  const inTable = new Set(table.graphs.flatMap((graph) => graph.selectors));
  const recorded = steps.flatMap((each) => each.steps.filter((step) => inTable.has(step.selector)));
  const selectors = recorded.sort((a, b) => a.seq - b.seq).map((step) => step.selector);
  const order: string[] = [];
  const last = new Map<string, string>();
  for (const selector of selectors.length ? selectors : inTable) {
    const cut = selector.lastIndexOf("/");
    const [folder, stage] = [selector.slice(0, Math.max(0, cut)), selector.slice(cut + 1)];
    if (!order.includes(stage)) {
      const before = order.indexOf(last.get(folder) ?? "");
      order.splice(before < 0 ? order.length : before + 1, 0, stage);
    }
    last.set(folder, stage);
  }
  return order;
}

interface Equal {
  piece: string;
  change: Map<string, string>;
}

/** Compilation and piece, as `backbone/piece_02` -> the equal pieces, with their layers. */
function compiledTogether(overview: Overview): Map<string, Equal[]> {
  const found = new Map<string, Equal[]>();
  for (const compilation of overview.compilations) {
    const layers = new Map(compilation.pieces.map((piece) => [piece.name, piece.layers]));
    for (const piece of compilation.pieces) {
      if (piece.same_as === null) continue;
      const change = correspondence(layers.get(piece.same_as) ?? [], piece.layers);
      if (!change) continue;
      const key = `${compilation.name}/${piece.same_as}`;
      found.set(key, [...(found.get(key) ?? []), { piece: piece.name, change }]);
    }
  }
  return found;
}

/** Layers of one piece -> those of an equal one; null when they do not correspond one to one up to numbers. */
export function correspondence(ours: string[], theirs: string[]): Map<string, string> | null {
  if (ours.length !== theirs.length) return null;
  if (ours.some((layer, at) => pattern(layer) !== pattern(theirs[at]!))) return null;
  return new Map(ours.map((layer, at) => [layer, theirs[at]!]));
}

/** The views of one graph: as it is, and under the layers of each equal piece that has none for that range itself. */
function viewsOf(places: Place[], together: Map<string, Equal[]>, has: ReadonlySet<string>): View[] {
  const pieces = new Map<string | null, Place[]>();
  for (const place of places) pieces.set(place.piece, [...(pieces.get(place.piece) ?? []), place]);
  const views: View[] = [];
  for (const [piece, own] of pieces) {
    const first = own[0]!;
    const equal = piece === null ? [] : (together.get(`${first.compilation}/${piece}`) ?? []);
    views.push({ piece, change: null, places: own });
    for (const each of equal) {
      const rest = own.filter((place) => !has.has(rangeKey({ ...place, piece: each.piece })));
      if (rest.length) views.push({ piece: each.piece, change: each.change, places: rest });
    }
  }
  return owned(views, together, places);
}

/** A repeated piece's own snapshot has the table of the piece that it repeats: its layers have to be renamed, too. */
function owned(views: View[], together: Map<string, Equal[]>, places: Place[]): View[] {
  const owner = places[0];
  const equal = together.get(`${owner?.compilation}/${owner?.piece}`) ?? [];
  const changes = new Map(equal.map((each) => [each.piece, each.change]));
  return views.map((view) =>
    view.change || view.piece === null ? view : { ...view, change: changes.get(view.piece) ?? null },
  );
}
