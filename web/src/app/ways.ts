import type { Store } from "../data/store.svelte";
import type { PieceWays, Selector, SnapshotWays, Ways } from "../data/types";
import { parts } from "./selectors";
import type { Lit } from "./selection.svelte";

/** The path of the ways that a snapshot's are in. */
export function waysPath(base: string, selector: Selector): string {
  const { compilation, piece } = parts(selector);
  return `${base}/lineage/${compilation}${piece ? `/${piece}` : ""}`;
}

/** The ways of one snapshot; null when none are known. */
export async function waysOf(store: Store, base: string, selector: Selector): Promise<SnapshotWays | null> {
  const ways = await store.get<Ways | PieceWays>(waysPath(base, selector));
  return ways.snapshots.find((each) => each.selector === selector) ?? null;
}

/** The roots of a node of a snapshot; empty: unknown. */
export function rootsOf(ways: SnapshotWays, node: number): readonly number[] {
  return ways.sets[ways.roots[node] ?? -1] ?? [];
}

/** What is lit after a click on nodes of a snapshot: all that shares a root with them. */
export async function pick(
  store: Store,
  base: string,
  selector: Selector,
  nodes: readonly number[],
): Promise<Lit> {
  const { compilation, piece } = parts(selector);
  const ways = await waysOf(store, base, selector).catch(() => null);
  const roots = new Set<number>();
  if (ways) for (const node of nodes) for (const root of rootsOf(ways, node)) roots.add(root);
  return {
    compilation,
    piece,
    roots,
    selector,
    graph: ways?.graph ?? null,
    nodes: [...nodes].sort((a, b) => a - b),
  };
}
