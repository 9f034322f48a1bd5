// Nodes that were found, folded over identical layers, pieces, stages and ranges.

import type { Fingerprint, SearchTable, Selector } from "../data/types";
import type { Around } from "./around";
import type { Engine } from "./columns";
import { label, pattern } from "./labels";
import type { View } from "./places";
import type { Local } from "./rows";

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
  /** At how many stages there are its layers. */
  of: number;
  /** 0 is best: an operator of that very name. */
  rank: number;
}

/** The hits of one form. */
export class Group implements Form {
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
  #of: number | null = null;

  constructor(
    readonly engine: Engine,
    readonly key: string,
    readonly compilation: string,
    readonly row: number,
    readonly around: Around,
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

  get of(): number {
    return (this.#of ??= this.around.count(this.compilation, this.names));
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

export function collect(
  engine: Engine,
  groups: Map<string, Group>,
  view: View,
  places: View["places"],
  local: Local,
  graph: number,
  around: Around,
): void {
  const { table } = engine.tested;
  const { strings, columns } = table;
  const compilation = places[0]!.compilation;
  const fingerprint = table.graphs[graph]!.graph;
  for (const [number, { count, row, layers, inputs }] of local.forms) {
    const key = `${compilation} ${number}`;
    let group = groups.get(key);
    if (!group) groups.set(key, (group = new Group(engine, key, compilation, row, around)));
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
