// What the selection lights in two graphs that are set side by side, and how a row of them is selected.

import type { App } from "../app/context.svelte";
import { meets } from "../app/selection.svelte";
import { parts } from "../app/selectors";
import { pick, waysPath } from "../app/ways";
import { resource } from "../data/store.svelte";
import type { Difference, DifferenceRow, PieceWays, Ways } from "../data/types";

/** To be called while a component is set up. `after`: the selector of the graph after, or of the only one. */
export function useLit(app: App, difference: () => Difference | null, after: () => string) {
  const { selection, store } = app;
  const before = $derived(difference()?.before.selector ?? "");
  const lit = $derived(selection.lit?.compilation === parts(after()).compilation ? selection.lit : null);
  /** Two processes may be compared: each side has its own ways. */
  const baseAfter = $derived(baseOf(difference()?.after));
  const baseBefore = $derived(baseOf(difference()?.before));
  const waysAfter = resource<Ways | PieceWays>(store, () =>
    lit && after() ? waysPath(baseAfter, after()) : null,
  );
  const waysBefore = resource<Ways | PieceWays>(store, () =>
    lit && before ? waysPath(baseBefore, before) : null,
  );
  const litAfter = $derived(litNodes(waysAfter.value, after()));
  const litBefore = $derived(litNodes(waysBefore.value, before));

  function baseOf(side: Difference["after"] | undefined): string {
    return side ? `${side.run}/${side.process}` : app.base;
  }

  /** Nodes of a snapshot that share a root with the selection. */
  function litNodes(ways: Ways | PieceWays | undefined, selector: string): ReadonlySet<number> {
    const found = new Set<number>();
    if (!lit) return found;
    if (lit.selector === selector) for (const node of lit.nodes) found.add(node);
    const snapshot = ways?.snapshots.find((each) => each.selector === selector);
    if (!snapshot || lit.roots.size === 0) return found;
    const sets = snapshot.sets.map((set) => meets(set, lit.roots));
    snapshot.roots.forEach((set, node) => sets[set] && found.add(node));
    return found;
  }

  /** Lights what a row stands for, everywhere. */
  async function light(row: DifferenceRow | undefined): Promise<void> {
    // The selection is of the process that is looked at: of two, that is the first.
    const second = baseAfter === app.base || !row?.before?.nodes.length;
    const side = second && row?.after?.nodes.length ? row.after : row?.before;
    if (!row || !side?.nodes.length) return;
    const isAfter = side === row.after;
    selection.set(
      await pick(store, isAfter ? baseAfter : baseBefore, isAfter ? after() : before, side.nodes),
    );
  }

  return {
    get after() {
      return litAfter;
    },
    get before() {
      return litBefore;
    },
    light,
  };
}
