// Nodes that a query finds in all graphs of a dump, folded over identical layers, pieces, stages and ranges.
//
//   query ─parse─► terms ─testOf─► tests of strings ─► rows ─► forms: what is the same in layers and stages, once

import type { Fingerprint, Overview, SearchTable, Selector, Steps } from "../data/types";
import { label, pattern } from "./labels";
import { parse, type Query } from "./parse";
import { placesOf, type Places, type View } from "./places";
import { testedOf, testOf, type Test, type Tested } from "./terms";

/** Where a form is at one stage: its first node there. */
export interface Spot {
  stage: string;
  order: number;
  selector: Selector;
  graph: Fingerprint;
  node: number;
  name: string;
  piece: string | null;
  /** How many nodes, over all layers, for the range that has most. */
  count: number;
}

/** Nodes that are equal up to their number of the layer: one operator of one line of Python. */
export interface Form {
  key: string;
  compilation: string;
  op: string;
  /** The layers as one name (for inputs their names); empty when unknown. */
  where: string;
  names: string[];
  /** Layers of the same pattern that have none. */
  lacking: string[];
  cls: string;
  source: string;
  code: string;
  types: string[];
  providers: string[];
  kernels: string[];
  ranges: string[];
  count: number;
  /** In the order of stages; never empty. */
  spots: Spot[];
  /** 0 is best: an operator of that very name. */
  rank: number;
}

export interface Found {
  query: Query;
  forms: Form[];
  nodes: number;
  /** Milliseconds that it took. */
  took: number;
  /** When nothing was found: what each term finds by itself, and what comes near. */
  misses: { text: string; nodes: number; near: string[] }[];
}

/** What a search is made from, once for a process. */
export interface Engine {
  tested: Tested;
  places: Places;
  /** First row of each graph, and one more: rows are sorted by graph. */
  starts: Int32Array;
  order: Int32Array;
  /** For each row, the number of its form. */
  forms: Int32Array;
  /** Fqns by pattern, in model order. */
  siblings: Map<string, string[]>;
  graphs: Map<Fingerprint, number>;
}

export function engineOf(table: SearchTable, overview: Overview | null, steps: Steps[]): Engine {
  const tested = testedOf(table);
  const places = placesOf(table, overview, steps);
  const { starts, order } = byGraph(table);
  const graphs = new Map(table.graphs.map((each, at) => [each.graph, at]));
  return {
    tested,
    places,
    starts,
    order,
    forms: formsOf(table),
    siblings: siblingsOf(table, places),
    graphs,
  };
}

/** Rows of each graph side by side. */
function byGraph({ graphs, columns }: SearchTable): { starts: Int32Array; order: Int32Array } {
  const starts = new Int32Array(graphs.length + 1);
  for (const graph of columns.graph) starts[graph + 1]!++;
  for (let at = 0; at < graphs.length; at++) starts[at + 1]! += starts[at]!;
  const next = starts.slice();
  const order = new Int32Array(columns.graph.length);
  columns.graph.forEach((graph, row) => (order[next[graph]!++] = row));
  return { starts, order };
}

/** Rows of one form have the same number: operator, pattern of the layer, class, source and dtype. */
function formsOf({ strings, columns }: SearchTable): Int32Array {
  const patterns = new Map<number, number>();
  const numbers = new Map<string, number>();
  const patternOf = (at: number): number => {
    let known = patterns.get(at);
    if (known === undefined) patterns.set(at, (known = numberOf(numbers, pattern(strings[at] ?? ""))));
    return known;
  };
  const keys = new Map<string, number>();
  const forms = new Int32Array(columns.graph.length);
  for (let row = 0; row < forms.length; row++) {
    const named =
      columns.layer[row]! >= 0
        ? columns.layer[row]!
        : isInput(strings[columns.op[row]!])
          ? columns.name[row]!
          : -1;
    const key = [columns.op, columns.cls, columns.source, columns.dtype].map((each) => each[row]);
    forms[row] = numberOf(keys, `${key.join()},${patternOf(named)}`);
  }
  return forms;
}

function numberOf(known: Map<string, number>, key: string): number {
  let number = known.get(key);
  if (number === undefined) known.set(key, (number = known.size));
  return number;
}

function isInput(op: string | undefined): boolean {
  return op === "placeholder" || op === "get_attr";
}

function siblingsOf({ strings, columns }: SearchTable, { views }: Places): Map<string, string[]> {
  const names = new Set<string>();
  for (const at of new Set(columns.layer)) if (at >= 0) names.add(strings[at]!);
  for (const view of views.flat()) for (const name of view.change?.values() ?? []) names.add(name);
  const siblings = new Map<string, string[]>();
  for (const name of names) siblings.set(pattern(name), [...(siblings.get(pattern(name)) ?? []), name]);
  return siblings;
}

/** Search. Takes a few milliseconds for the graphs of eighty layers. */
export function search(engine: Engine, text: string): Found {
  const began = performance.now();
  const query = parse(text);
  const tests = query.terms.map((term) => testOf(term, engine.tested));
  const groups = new Map<string, Group>();
  if (tests.length) each(engine, tests, (view, rows, graph) => collect(engine, groups, view, rows, graph));
  const forms = [...groups.values()].map((group) => group.form(engine));
  for (const form of forms) {
    if (query.terms.some((term) => asksWhere(term, form))) form.lacking = [];
    form.rank = rankOf(query, form);
  }
  forms.sort((a, b) => a.spots[0]!.order - b.spots[0]!.order || a.rank - b.rank);
  const misses = forms.length || query.terms.length === 0 ? [] : missesOf(engine, query);
  const nodes = forms.reduce((sum, form) => sum + form.count, 0);
  return { query, forms, nodes, took: performance.now() - began, misses };
}

/** Whether a term asks for layers: then it is no news that others have none. */
function asksWhere({ field, values }: Query["terms"][number], form: Form): boolean {
  if (field === "layer" || field === "piece") return true;
  return (
    field === "word" &&
    values.some((value) => form.names.some((name) => name.toLowerCase().includes(value.toLowerCase())))
  );
}

/** Ids of the nodes of a graph that a query finds; `change`: layers of the table -> those that are meant. */
export function highlighted(engine: Engine, text: string, graph: Fingerprint): Set<number> {
  const found = new Set<number>();
  const at = engine.graphs.get(graph);
  const terms = parse(text).terms;
  if (at === undefined || !terms.length) return found;
  const { node } = engine.tested.table.columns;
  const tests = terms.map((term) => testOf(term, engine.tested));
  for (const view of engine.places.views[at]!) {
    if (passing(view, tests).length) for (const row of rowsOf(engine, tests, at, view)) found.add(node[row]!);
  }
  return found;
}

type Collect = (view: View, rows: number[], graph: number) => void;

function each(engine: Engine, tests: Test[], collect: Collect): void {
  engine.places.views.forEach((views, graph) => {
    for (const view of views) {
      const places = passing(view, tests);
      if (!places.length) continue;
      const rows = rowsOf(engine, tests, graph, view);
      if (rows.length) collect(places === view.places ? view : { ...view, places }, rows, graph);
    }
  });
}

/** The places of a view that pass; its own list when all do. */
function passing(view: View, tests: Test[]): View["places"] {
  const asked = tests.filter((test) => test.place);
  if (!asked.length) return view.places;
  return view.places.filter((place) =>
    asked.every((test) => test.place!(place, view.piece) !== test.negated),
  );
}

/** The rows of a graph that pass under a view's layers. */
function rowsOf(engine: Engine, tests: Test[], graph: number, view: View): number[] {
  const { strings, columns } = engine.tested.table;
  const asked = tests.filter((test) => !test.place);
  const found: number[] = [];
  for (let at = engine.starts[graph]!; at < engine.starts[graph + 1]!; at++) {
    const row = engine.order[at]!;
    let passes = true;
    for (const { rows, layer, negated } of asked) {
      let holds = rows !== null && rows[row] === 1;
      if (!holds && layer && columns.layer[row]! >= 0) {
        const name = strings[columns.layer[row]!]!;
        holds = layer(view.change?.get(name) ?? name);
      }
      if (holds === negated) {
        passes = false;
        break;
      }
    }
    if (passes) found.push(row);
  }
  return found;
}

/** The hits of one form. */
class Group {
  readonly names = new Set<string>();
  readonly types = new Map<number, number>();
  readonly providers = new Set<number>();
  readonly kernels = new Set<number>();
  readonly ranges = new Set<string>();
  /** By stage: the first hit, and counts by range. */
  readonly stages = new Map<string, { spot: Spot; counts: Map<string | null, number> }>();

  constructor(
    readonly key: string,
    readonly compilation: string,
    readonly row: number,
  ) {}

  form({ tested: { table }, siblings }: Engine): Form {
    const { strings, columns } = table;
    const of = (column: keyof typeof columns): string => strings[columns[column][this.row]!] ?? "";
    const spots = [...this.stages.values()].map(({ spot, counts }) => ({
      ...spot,
      count: Math.max(...counts.values()),
    }));
    const names = [...this.names].filter((name) => name);
    const all = new Set(names.map(pattern));
    return {
      key: this.key,
      compilation: this.compilation,
      op: of("op"),
      where: label(names),
      names,
      lacking: [...all].flatMap((each) => siblings.get(each) ?? []).filter((name) => !this.names.has(name)),
      cls: of("cls"),
      source: of("source"),
      code: of("code"),
      types: [...this.types].sort((a, b) => b[1] - a[1]).map(([at]) => strings[at]!),
      providers: [...this.providers].map((at) => strings[at]!),
      kernels: [...this.kernels].map((at) => strings[at]!),
      ranges: [...this.ranges],
      count: Math.max(...spots.map((spot) => spot.count)),
      spots: spots.sort((a, b) => a.order - b.order),
      rank: 0,
    };
  }
}

function collect(
  engine: Engine,
  groups: Map<string, Group>,
  view: View,
  rows: number[],
  graph: number,
): void {
  const { table } = engine.tested;
  const { strings, columns } = table;
  const compilation = view.places[0]!.compilation;
  const local = new Map<Group, { count: number; row: number }>();
  for (const row of rows) {
    const key = `${compilation} ${engine.forms[row]}`;
    let group = groups.get(key);
    if (!group) groups.set(key, (group = new Group(key, compilation, row)));
    const known = local.get(group);
    if (known) known.count++;
    else local.set(group, { count: 1, row });
    note(group, row, view, columns, strings);
  }
  const fingerprint = table.graphs[graph]!.graph;
  for (const [group, { count, row }] of local) {
    for (const place of view.places) {
      let known = group.stages.get(place.stage);
      if (!known) {
        const { stage, order, selector } = place;
        const [node, name] = [columns.node[row]!, strings[columns.name[row]!] ?? ""];
        const spot = { stage, order, selector, graph: fingerprint, node, name, piece: view.piece, count: 0 };
        group.stages.set(stage, (known = { spot, counts: new Map() }));
      }
      known.counts.set(place.range, (known.counts.get(place.range) ?? 0) + count);
      if (place.range !== null) group.ranges.add(place.range);
    }
  }
}

function note(
  group: Group,
  row: number,
  view: View,
  columns: SearchTable["columns"],
  strings: string[],
): void {
  const layer = strings[columns.layer[row]!] ?? "";
  if (layer) group.names.add(view.change?.get(layer) ?? layer);
  else if (isInput(strings[columns.op[row]!])) group.names.add(strings[columns.name[row]!] ?? "");
  const [type, provider, kernel] = [columns.type[row]!, columns.provider[row]!, columns.kernel[row]!];
  if (type >= 0) group.types.set(type, (group.types.get(type) ?? 0) + 1);
  if (provider >= 0) group.providers.add(provider);
  if (kernel >= 0) group.kernels.add(kernel);
}

/** How near a form is to what was typed: the operator itself, a part of it, its layer, anything else. */
function rankOf(query: Query, form: Form): number {
  const words = query.terms
    .filter((term) => term.field === "word" && !term.negated)
    .flatMap((term) => term.values);
  if (!words.length) return 0;
  const op = form.op.toLowerCase();
  return Math.min(
    ...words.map((word) => {
      const lower = word.toLowerCase();
      if (op === lower || `.${op}.`.includes(`.${lower}.`)) return 0;
      if (op.includes(lower)) return 1;
      return form.where.toLowerCase().includes(lower) ? 2 : 3;
    }),
  );
}

function missesOf(engine: Engine, query: Query): Found["misses"] {
  return query.terms.map((term) => {
    const test = testOf({ ...term, negated: false }, engine.tested);
    let nodes = 0;
    each(engine, [test], (_, rows) => (nodes += rows.length));
    return { text: term.text, nodes, near: nodes ? [] : nearest(engine, term.field, term.values) };
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
