// Graphs inside of a graph, such as the branches of a `cond`: their nodes stand in a group before the node that takes
// them, in the order of reading.

import type { Graph, GraphNode, SourceLine } from "../data/types";

export interface Entry {
  node: GraphNode;
  /** Index into `graph.inside` of the graph that it is in; null: the graph itself. */
  within: number | null;
  /** Its layers; of a graph inside, those around what takes it first. */
  path: readonly string[];
  source: SourceLine | undefined;
  /** What a value that comes into a graph inside is outside of it; what a graph inside yields, for what takes it. */
  from: { within: number | null; id: number }[];
}

export function entriesOf(graph: Graph): Entry[] {
  const found: Entry[] = [];
  const taken = new Map<string, number[]>();
  graph.inside.forEach((inner, at) => {
    const key = `${inner.around} ${inner.taken_by}`;
    taken.set(key, [...(taken.get(key) ?? []), at]);
  });
  const enter = (at: number, by: GraphNode | null, around: readonly string[]): Entry["from"] => {
    const inner = graph.inside[at]!;
    const group = `${inner.name}: graph${by ? ` of ${by.short}` : ""}`;
    visit(at, inner, [...around, group]);
    const output = inner.nodes.find((node) => node.op === "output");
    return output ? [{ within: at, id: output.id }] : [];
  };
  const visit = (
    within: number | null,
    one: Pick<Graph, "nodes" | "layers" | "sources">,
    prefix: readonly string[],
  ): void => {
    const operands = within === null ? [] : graph.inside[within]!.operands;
    const around = within === null ? null : graph.inside[within]!.around;
    let inputs = 0;
    let last: readonly string[] = prefix;
    for (const node of one.nodes) {
      const own = node.layer === null ? [] : (one.layers[node.layer] ?? []);
      const known = prefix.length === 0 ? own : [...prefix, ...own.filter((step) => !prefix.includes(step))];
      if (own.length > 0) last = known;
      const path = own.length > 0 || within === null ? known : node.op.startsWith("call_") ? last : prefix;
      const from: Entry["from"] = [];
      for (const at of taken.get(`${within} ${node.id}`) ?? []) from.push(...enter(at, node, last));
      if (within !== null && node.op === "placeholder") {
        const id = operands[inputs++];
        if (id !== undefined && id !== null) from.push({ within: around, id });
      }
      const source = node.source === null ? undefined : one.sources[node.source];
      found.push({ node, within, path, source, from });
    }
    for (const at of taken.get(`${within} null`) ?? []) enter(at, null, prefix);
  };
  visit(null, graph, []);
  return found;
}

/** A node of a graph inside under a name that no node around it has, and an id that none has. */
export function renamed(node: GraphNode, graph: string): GraphNode {
  return {
    ...node,
    id: -1,
    name: `${graph}/${node.name}`,
    input: node.op === "placeholder" ? node.input || node.name : node.input,
    layer: null,
    source: null,
  };
}
