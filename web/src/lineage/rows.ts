// Rows of the structured form as the graph pane shows them: under the piece's own layers, with colours.

import type { Graph, LayerRow, Layers } from "../data/types";
import { pattern } from "../search/labels";
import type { SourceLine } from "./lines";
import { huesOfSets, type Stage } from "./way";

export interface ShownRow {
  row: LayerRow;
  text: string;
  hues: readonly number[];
  /** Nodes that light it: its own, and of identical layers those that are not shown. */
  nodes: readonly number[];
  /** None of its nodes' origins are known. */
  unknown: boolean;
}

const NONE: readonly number[] = [];

/** `layerMap`: layers of the piece that this one was compiled with -> its own. */
export function shownRows(
  layers: Layers,
  graph: Graph,
  stage: Stage,
  layerMap: Record<string, string>,
  lines: Map<number, SourceLine>,
): ShownRow[] {
  const hues = huesOfSets(stage.ways, lines);
  const alike = layers.rows.some((row) => row.times > 1) ? counterparts(layers, graph) : null;
  return layers.rows.map((row) => {
    const nodes = alike ? row.nodes.flatMap((node) => alike.get(node) ?? [node]) : row.nodes;
    const isNode = row.kind === "node" && row.nodes.length === 1;
    const set = isNode ? (stage.ways.roots[row.nodes[0]!] ?? -1) : -1;
    return {
      row,
      text: renamed(row.text, layerMap),
      hues: isNode ? (hues[set] ?? NONE) : NONE,
      nodes,
      // What comes in is computed elsewhere: only what is computed here stems from somewhere.
      unknown: isNode && isCall(graph, row.nodes[0]!) && (stage.ways.sets[set]?.length ?? 0) === 0,
    };
  });
}

function isCall(graph: Graph, node: number): boolean {
  return graph.nodes[node]?.op.startsWith("call_") ?? false;
}

/** A row's text under the piece's own layers: `layers.1: LlamaDecoderLayer` becomes `layers.5: …`. */
export function renamed(text: string, layerMap: Record<string, string>): string {
  const cut = text.indexOf(": ");
  const name = cut < 0 ? text : text.slice(0, cut);
  const own = layerMap[name];
  return own === undefined ? text : own + text.slice(name.length);
}

/** Node that is shown -> it and its like in identical layers that are folded into the one shown. */
function counterparts(layers: Layers, graph: Graph): Map<number, number[]> {
  const shown = new Set(layers.rows.flatMap((row) => (row.kind === "node" ? row.nodes : [])));
  // Nodes of identical layers stand in the same order: the n-th of one operator is the n-th of all.
  const counts = new Map<string, number>();
  const groups = new Map<string, { shown: number[]; hidden: number[] }>();
  for (const node of graph.nodes) {
    if (node.layer === null) continue;
    const fqn = graph.layers[node.layer]?.at(-1) ?? "";
    const place = `${fqn} ${node.target}`;
    const at = counts.get(place) ?? 0;
    counts.set(place, at + 1);
    const key = `${pattern(fqn)} ${node.target} ${at}`;
    let group = groups.get(key);
    if (!group) groups.set(key, (group = { shown: [], hidden: [] }));
    (shown.has(node.id) ? group.shown : group.hidden).push(node.id);
  }
  const found = new Map<number, number[]>();
  for (const { shown, hidden } of groups.values()) {
    const last = shown.at(-1);
    if (last !== undefined && hidden.length) found.set(last, [last, ...hidden]);
  }
  return found;
}
