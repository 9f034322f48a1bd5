// Nodes that a query finds in all graphs of a dump, folded over identical layers, pieces, stages and ranges.
//
//   query ─parse─► terms ─testOf─► tests of strings ─► rows ─► forms: what is the same in layers and stages, once

import type { Fingerprint, Overview, SearchTable, Selector, Steps } from "../data/types";
import { isGlob } from "./glob";
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
  readonly key: string;
  compilation: string;
  op: string;
  /** The layers as one name (for inputs their names); empty when unknown. */
  where: string;
  names: ReadonlySet<string>;
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
  /** The last term as it was read, when it finds nothing as it stands. */
  widened: string | null;
  /** Milliseconds that it took. */
  took: number;
}

/** What one term of a query that finds nothing finds by itself, and what there is that comes near. */
export interface Miss {
  term: Query["terms"][number];
  nodes: number;
  near: string[];
}

/** What a search is made from, once for a process. */
export interface Engine {
  tested: Tested;
  places: Places;
  /** First row of each graph, and one more: rows are sorted by graph. */
  starts: Int32Array;
  order: Int32Array;
  /** For each row, what says where it is, as a string. */
  named: Int32Array;
  /** For each row, the number of its form. */
  forms: Int32Array;
  /** For each graph its layers, as strings, and where each stands in that list. */
  layers: { names: number[]; local: Map<number, number> }[];
  /** Fqns by pattern, in model order. */
  siblings: Map<string, string[]>;
  graphs: Map<Fingerprint, number>;
}

export function engineOf(table: SearchTable, overview: Overview | null, steps: Steps[]): Engine {
  const tested = testedOf(table);
  const places = placesOf(table, overview, steps);
  const { starts, order } = byGraph(table);
  const graphs = new Map(table.graphs.map((each, at) => [each.graph, at]));
  const named = namedOf(table);
  return {
    tested,
    places,
    starts,
    order,
    named,
    forms: formsOf(table, named),
    layers: layersOf(table),
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

function layersOf({ graphs, columns }: SearchTable): Engine["layers"] {
  const found = graphs.map(() => ({ names: [] as number[], local: new Map<number, number>() }));
  columns.layer.forEach((layer, row) => {
    const { names, local } = found[columns.graph[row]!]!;
    if (layer < 0 || local.has(layer)) return;
    local.set(layer, names.length);
    names.push(layer);
  });
  return found;
}

/** Rows of one form have the same number: operator, pattern of the layer, class, source and dtype. */
function formsOf({ strings, columns }: SearchTable, named: Int32Array): Int32Array {
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
    const key = [columns.op, columns.cls, columns.source, columns.dtype].map((each) => each[row]);
    forms[row] = numberOf(keys, `${key.join()},${patternOf(named[row]!)}`);
  }
  return forms;
}

/** What says where a row is: its layer, for an input its model path, for a constant its attribute. */
function namedOf({ strings, columns }: SearchTable): Int32Array {
  return Int32Array.from(columns.layer, (layer, row) => {
    const target = columns.target[row]!;
    return isInput(strings[columns.op[row]!]) ? (target >= 0 ? target : columns.name[row]!) : layer;
  });
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
  let forms = formsFound(engine, query);
  let widened: string | null = null;
  const last = query.terms.at(-1);
  if (!forms.length && last && last.end === text.length && isUnfinished(last)) {
    // While a value is typed its end is missing.
    const wider = { ...last, values: last.values.map((value) => `${value}*`) };
    forms = formsFound(engine, { ...query, terms: query.terms.with(-1, wider) });
    if (forms.length) widened = `${last.text}*`;
  }
  const nodes = forms.reduce((sum, form) => sum + form.count, 0);
  return { query, forms, nodes, widened, took: performance.now() - began };
}

function isUnfinished({ field, values, text }: Query["terms"][number]): boolean {
  return field !== "word" && field !== "shape" && !values.some(isGlob) && !/["']$/.test(text);
}

function formsFound(engine: Engine, query: Query): Form[] {
  const tests = query.terms.map((term) => testOf(term, engine.tested));
  const groups = new Map<string, Group>();
  if (tests.length) {
    each(engine, tests, (view, places, local, graph) => collect(engine, groups, view, places, local, graph));
  }
  const forms: Form[] = [];
  for (const group of groups.values()) {
    const form = group.finish();
    form.asked = query.terms.some((term) => asksWhere(term, form));
    form.rank = rankOf(query, form);
    forms.push(form);
  }
  return forms.sort((a, b) => a.spots[0]!.order - b.spots[0]!.order || a.rank - b.rank);
}

/** Whether a term asks for layers: then it is no news that others have none. */
function asksWhere({ field, values }: Query["terms"][number], form: Form): boolean {
  if (field === "layer" || field === "piece") return true;
  return field === "word" && values.some((value) => within(form, value.toLowerCase()));
}

function within(form: Form, lower: string): boolean {
  for (const name of form.names) if (name.toLowerCase().includes(lower)) return true;
  return false;
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
    if (!passing(view, tests).length) continue;
    const layers = layersPassing(engine, tests, at, view);
    for (const row of rowsOf(engine, tests, at, layers)) found.add(node[row]!);
  }
  return found;
}

/** Rows of a graph that pass, by form: the same for all views under whose layers the same rows pass. */
interface Local {
  rows: readonly number[];
  forms: Map<number, { count: number; row: number; layers: Set<number>; inputs: Set<number> }>;
}

/** Calls `collect` for each graph under each piece's layers where anything passes. */
function each(
  engine: Engine,
  tests: Test[],
  collect: (view: View, places: View["places"], local: Local, graph: number) => void,
): void {
  engine.places.views.forEach((views, graph) => {
    const known = new Map<string, Local>();
    for (const view of views) {
      const places = passing(view, tests);
      if (!places.length) continue;
      const layers = layersPassing(engine, tests, graph, view);
      const key = layers.map((passes) => passes.join("")).join();
      let local = known.get(key);
      if (!local) known.set(key, (local = localOf(engine, rowsOf(engine, tests, graph, layers))));
      if (local.rows.length) collect(view, places, local, graph);
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

/** For each test of layers, 1 for the layers of a graph that pass under a view's names. */
function layersPassing(engine: Engine, tests: Test[], graph: number, view: View): Uint8Array[] {
  const { strings } = engine.tested.table;
  const { names } = engine.layers[graph]!;
  return tests.flatMap(({ layer }) => {
    if (!layer) return [];
    return [
      Uint8Array.from(names, (at) => {
        const name = strings[at]!;
        return layer(view.change?.get(name) ?? name) ? 1 : 0;
      }),
    ];
  });
}

/** The rows of a graph that pass, given for each test of layers which of them do. */
function rowsOf(engine: Engine, tests: Test[], graph: number, layers: Uint8Array[]): number[] {
  const { layer: column } = engine.tested.table.columns;
  const { local } = engine.layers[graph]!;
  let next = 0;
  const asked = tests
    .filter((test) => !test.place)
    .map((test) => ({ ...test, passes: test.layer ? layers[next++]! : null }));
  const found: number[] = [];
  for (let at = engine.starts[graph]!; at < engine.starts[graph + 1]!; at++) {
    const row = engine.order[at]!;
    let passes = true;
    for (const test of asked) {
      let holds = test.rows !== null && test.rows[row] === 1;
      if (!holds && test.passes && column[row]! >= 0) holds = test.passes[local.get(column[row]!)!] === 1;
      if (holds === test.negated) {
        passes = false;
        break;
      }
    }
    if (passes) found.push(row);
  }
  return found;
}

function localOf(engine: Engine, rows: readonly number[]): Local {
  const { strings, columns } = engine.tested.table;
  const forms: Local["forms"] = new Map();
  for (const row of rows) {
    const number = engine.forms[row]!;
    let form = forms.get(number);
    if (!form) forms.set(number, (form = { count: 0, row, layers: new Set(), inputs: new Set() }));
    form.count++;
    const named = engine.named[row]!;
    if (isInput(strings[columns.op[row]!])) form.inputs.add(named);
    else if (named >= 0) form.layers.add(named);
  }
  return { rows, forms };
}

/** The hits of one form. */
class Group implements Form {
  readonly names = new Set<string>();
  readonly typeCounts = new Map<number, number>();
  readonly providerSet = new Set<number>();
  readonly kernelSet = new Set<number>();
  readonly rangeSet = new Set<string>();
  /** By stage: the first hit, and counts by range. */
  readonly stages = new Map<string, { spot: Spot; counts: Map<string | null, number> }>();
  spots: Spot[] = [];
  count = 0;
  rank = 0;
  asked = false;
  #where: string | null = null;

  constructor(
    readonly engine: Engine,
    readonly key: string,
    readonly compilation: string,
    readonly row: number,
  ) {}

  /** To be called when all hits are there. */
  finish(): this {
    for (const { spot, counts } of this.stages.values()) {
      spot.count = Math.max(...counts.values());
      this.spots.push(spot);
    }
    this.spots.sort((a, b) => a.order - b.order);
    this.count = Math.max(...this.spots.map((spot) => spot.count));
    return this;
  }

  #text(column: keyof SearchTable["columns"]): string {
    const { strings, columns } = this.engine.tested.table;
    return strings[columns[column][this.row]!] ?? "";
  }

  #texts(some: Iterable<number>): string[] {
    return Array.from(some, (at) => this.engine.tested.table.strings[at]!);
  }

  get op(): string {
    return this.#text("op");
  }

  get cls(): string {
    return this.#text("cls");
  }

  get source(): string {
    return this.#text("source");
  }

  get code(): string {
    return this.#text("code");
  }

  get where(): string {
    return (this.#where ??= label(this.names));
  }

  get lacking(): string[] {
    if (this.asked) return [];
    const patterns = new Set(Array.from(this.names, pattern));
    const all = [...patterns].flatMap((each) => this.engine.siblings.get(each) ?? []);
    return all.filter((name) => !this.names.has(name));
  }

  get types(): string[] {
    return this.#texts([...this.typeCounts].sort((a, b) => b[1] - a[1]).map(([at]) => at));
  }

  get providers(): string[] {
    return this.#texts(this.providerSet);
  }

  get kernels(): string[] {
    return this.#texts(this.kernelSet);
  }

  get ranges(): string[] {
    return [...this.rangeSet];
  }
}

function collect(
  engine: Engine,
  groups: Map<string, Group>,
  view: View,
  places: View["places"],
  local: Local,
  graph: number,
): void {
  const { table } = engine.tested;
  const { strings, columns } = table;
  const compilation = places[0]!.compilation;
  const fingerprint = table.graphs[graph]!.graph;
  for (const [number, { count, row, layers, inputs }] of local.forms) {
    const key = `${compilation} ${number}`;
    let group = groups.get(key);
    if (!group) groups.set(key, (group = new Group(engine, key, compilation, row)));
    for (const at of layers) {
      const name = strings[at]!;
      group.names.add(view.change?.get(name) ?? name);
    }
    for (const at of inputs) group.names.add(renamedInput(strings[at] ?? "", view.change));
    for (const place of places) {
      let known = group.stages.get(place.stage);
      if (!known) {
        const { stage, order, selector } = place;
        const [node, name] = [columns.node[row]!, strings[columns.name[row]!] ?? ""];
        const spot = { stage, order, selector, graph: fingerprint, node, name, piece: view.piece, count: 0 };
        group.stages.set(stage, (known = { spot, counts: new Map() }));
      }
      known.counts.set(place.range, (known.counts.get(place.range) ?? 0) + count);
      if (place.range !== null) group.rangeSet.add(place.range);
    }
  }
  if (!view.change) note(engine, groups, compilation, local.rows);
}

/** A weight's model path with its layer renamed: by the innermost layer that is. */
function renamedInput(path: string, change: View["change"]): string {
  const own = path.startsWith("self.") ? "self." : "";
  let fqn = change ? path.slice(own.length) : "";
  while (fqn) {
    const meant = change?.get(fqn);
    if (meant !== undefined) return own + meant + path.slice(own.length + fqn.length);
    fqn = fqn.slice(0, Math.max(0, fqn.lastIndexOf(".")));
  }
  return path;
}

/** What nodes of a form are told apart by; the same for all layers that a graph stands for. */
function note(
  engine: Engine,
  groups: Map<string, Group>,
  compilation: string,
  rows: readonly number[],
): void {
  const { type, provider, kernel } = engine.tested.table.columns;
  for (const row of rows) {
    const group = groups.get(`${compilation} ${engine.forms[row]}`)!;
    if (type[row]! >= 0) group.typeCounts.set(type[row]!, (group.typeCounts.get(type[row]!) ?? 0) + 1);
    if (provider[row]! >= 0) group.providerSet.add(provider[row]!);
    if (kernel[row]! >= 0) group.kernelSet.add(kernel[row]!);
  }
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
      return within(form, lower) ? 2 : 3;
    }),
  );
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
