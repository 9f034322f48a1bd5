// Which items a query finds, and which the selection lights; counted for what is folded.

import type { Graph, Snapshot, SnapshotWays } from "../data/types";
import { glob, type TextTest } from "../search/glob";
import { parse, type Term } from "../search/parse";
import { shortDtype, shortTarget } from "../search/terms";
import { shapeTest } from "../search/shape";
import type { Drawing, Item } from "./items";
import type { Visible } from "./fold";

/** Items that a query finds; null for a query that asks nothing. Fields that are not of nodes hold for all. */
export function find(
  drawing: Drawing,
  query: string,
  snapshot: Snapshot | null,
  graph: Graph,
): Set<number> | null {
  const tests = parse(query)
    .terms.map((term) => ({ test: testOf(term, snapshot, graph), negated: term.negated }))
    .filter((one): one is { test: (item: Item) => boolean; negated: boolean } => one.test !== null);
  if (tests.length === 0) return null;
  const found = new Set<number>();
  for (const item of drawing.items) {
    if (tests.every(({ test, negated }) => test(item) !== negated)) found.add(item.index);
  }
  return found;
}

function testOf(term: Term, snapshot: Snapshot | null, graph: Graph): ((item: Item) => boolean) | null {
  const some = (tests: TextTest[]) => (texts: string[]) =>
    texts.some((text) => tests.some((test) => test(text)));
  const globs = some(term.values.map((value) => glob(value, true)));
  const holds = some(term.values.map((value) => (text) => text.toLowerCase().includes(value.toLowerCase())));
  const wild = some(term.values.map((value) => glob(value.includes("*") ? `*${value}*` : value)));
  const providerOf = (item: Item) => snapshot?.providers[item.node.name] ?? item.node.provider ?? "";
  const kernelsOf = (item: Item) => snapshot?.kernels[String(item.node.id)] ?? [];
  const sourceOf = (item: Item) => (item.node.source === null ? undefined : graph.sources[item.node.source]);
  switch (term.field) {
    case "op":
      return ({ node }) =>
        globs([node.short, node.target, shortTarget(node.target), node.op]) || ops(term, node.target);
    case "layer":
      return (item) => globs(item.path.flatMap((step) => step.split(": ")));
    case "dtype":
      return ({ node }) => node.dtype !== null && globs([node.dtype, shortDtype(node.dtype)]);
    case "shape": {
      const tests = term.values.map(shapeTest);
      return ({ node }) => node.type !== "" && tests.some((test) => test(node.type));
    }
    case "source":
      return (item) => {
        const source = sourceOf(item);
        if (!source) return false;
        return globs([item.source, source.file, source.function]) || holds([item.source, source.code]);
      };
    case "provider":
      return (item) => globs([providerOf(item)]);
    case "kernel":
      return (item) => globs(kernelsOf(item).flatMap((name) => [name, name.split("#")[0]!]));
    case "name":
      return ({ node }) => globs([node.name, node.input ?? ""]);
    case "word":
      return (item) => {
        const { node } = item;
        const texts = [
          node.short,
          node.target,
          node.name,
          node.type,
          node.input ?? "",
          item.source,
          providerOf(item),
        ];
        const all = [...texts, ...item.path, ...kernelsOf(item), sourceOf(item)?.code ?? ""];
        return holds(all) || (term.text.includes("*") && wild(all));
      };
    default:
      return null;
  }
}

/** `mm` finds `aten.mm.default`. */
function ops(term: Term, target: string): boolean {
  const parts = target.toLowerCase().split(".");
  return term.values.some((value) => parts.includes(value.toLowerCase()));
}

/** Items whose roots meet those that are lit. */
export function litItems(
  drawing: Drawing,
  side: "before" | "after",
  ways: SnapshotWays | null,
  roots: ReadonlySet<number>,
): Set<number> {
  const found = new Set<number>();
  if (!ways || roots.size === 0) return found;
  const lit = ways.sets.map((set) => set.some((root) => roots.has(root)));
  ways.roots.forEach((set, node) => {
    if (!lit[set]) return;
    const index = drawing[side].get(node);
    if (index !== undefined) found.add(index);
  });
  return found;
}

/** How many of the items stand in each shown thing; in open layers none, since they are seen there. */
export function tally(visible: Visible, items: ReadonlySet<number>): Int32Array {
  const counts = new Int32Array(visible.shown.length);
  for (const item of items) {
    const at = visible.of[item] ?? -1;
    if (at >= 0) counts[at]!++;
  }
  visible.shown.forEach((shown, at) => {
    for (const item of shown.tucked) if (items.has(item) && shown.kind === "node") counts[at]!++;
  });
  return counts;
}
