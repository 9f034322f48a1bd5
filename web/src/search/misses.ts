// What there is of a field, and why a query found nothing.

import type { Engine } from "./columns";
import type { Query } from "./parse";
import { each } from "./rows";
import { testOf } from "./terms";

/** What one term of a query that finds nothing finds by itself, and what there is that comes near. */
export interface Miss {
  term: Query["terms"][number];
  nodes: number;
  near: string[];
}

/** Why a query found nothing: a term that no node fits, or terms that no node fits together. */
export function missesOf(engine: Engine, query: Query): Miss[] {
  return query.terms.map((term) => {
    const test = testOf({ ...term, negated: false }, engine.tested);
    let nodes = 0;
    each(engine, [test], (_view, _places, local) => (nodes += local.rows.length));
    return { term, nodes, near: nodes ? [] : nearest(engine, term.field, term.values) };
  });
}

/** What there is of a field that comes nearest to what was typed. */
function nearest(engine: Engine, field: Query["terms"][number]["field"], values: string[]): string[] {
  const known = knownOf(engine, field);
  const scored = values.flatMap((value) =>
    known.map((name) => ({ name, score: likeness(value.toLowerCase(), name.toLowerCase()) })),
  );
  const best = scored.filter(({ score }) => score >= 0.4).sort((a, b) => b.score - a.score);
  return [...new Set(best.map(({ name }) => name))].slice(0, 3);
}

/** What there is of a field, each once: for what comes nearest, and to choose from while typing. */
export function knownOf(
  { tested, places, siblings }: Engine,
  field: Query["terms"][number]["field"],
): string[] {
  const { table, used } = tested;
  if (field === "stage") return places.stages;
  const all = places.views.flat();
  if (field === "piece") return [...new Set(all.flatMap((view) => view.piece ?? []))];
  if (field === "range")
    return [...new Set(all.flatMap((view) => view.places.flatMap((place) => place.range ?? [])))];
  if (field === "compilation")
    return [...new Set(all.flatMap((view) => view.places.map((place) => place.compilation)))];
  if (field === "layer") return [...siblings.values()].flat();
  const column = field === "word" ? "op" : field === "shape" ? "type" : field;
  return [...(used.get(column) ?? [])].map((at) => table.strings[at]!);
}

/** Share of pairs of letters that two texts have in common: 1 for equal ones. */
function likeness(a: string, b: string): number {
  const pairs = (text: string) =>
    new Set(Array.from({ length: Math.max(0, text.length - 1) }, (_, at) => text.slice(at, at + 2)));
  const [left, right] = [pairs(a), pairs(b.slice(0, 200))];
  if (!left.size || !right.size) return 0;
  let common = 0;
  for (const pair of left) if (right.has(pair)) common++;
  return (2 * common) / (left.size + right.size);
}
