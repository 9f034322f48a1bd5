// Rows of the structured form as the graph pane shows them: under the piece's own layers, with colours.

import type { Graph, LayerRow, Layers } from "../data/types";
import type { SourceLine } from "./lines";
import { huesOfSets, type Stage } from "./way";

export interface ShownRow {
  row: LayerRow;
  text: string;
  hues: readonly number[];
  /** It is not known what it stems from. */
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
  return layers.rows.map((row) => {
    // Of identical layers the first one tells for all.
    const isNode = row.kind === "node" && row.nodes.length > 0;
    const set = isNode ? (stage.ways.roots[row.nodes[0]!] ?? -1) : -1;
    return {
      row,
      text: renamed(row.text, layerMap),
      hues: isNode ? (hues[set] ?? NONE) : NONE,
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
