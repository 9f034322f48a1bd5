// What the lineage is shown of: a compilation, a piece of it, a range, a stage; and the graphs and calls of these.

import type { App } from "../app/context.svelte";
import { parts } from "../app/selectors";
import type { Place } from "../app/state";
import { resource } from "../data/store.svelte";
import type { Graph, Layers, Overview, PieceWays, Ways } from "../data/types";
import { linesByRoot, sourceRows } from "./lines";
import { shownRows } from "./rows";
import { callsOf, lastOf, rangesOf, stageAt, stagesOf, type Unit } from "./way";

/** To be called while a component is set up. */
export function useShown(app: App, place: () => Place) {
  const overview = resource<Overview>(app.store, () => `${app.base}/overview`);
  const asked = $derived(parts(place().at));
  const compilation = $derived(
    overview.value?.compilations.find((each) => each.name === asked.compilation) ??
      overview.value?.compilations.find((each) => each.pieces.length > 0) ??
      overview.value?.compilations[0],
  );
  const pieceName = $derived(asked.piece ?? (asked.step === null ? firstPiece() : null));
  const ways = resource<Ways>(app.store, () =>
    compilation ? `${app.base}/lineage/${compilation.name}` : null,
  );
  const pieceWays = resource<PieceWays>(app.store, () =>
    compilation && pieceName ? `${app.base}/lineage/${compilation.name}/${pieceName}` : null,
  );
  const whole = $derived(ways.value?.compilation === compilation?.name ? ways.value : undefined);
  const piece = $derived(pieceWays.value?.piece === pieceName ? pieceWays.value : undefined);
  const ranges = $derived(piece ? rangesOf(piece) : []);
  const range = $derived.by(() => {
    const wanted = place().params.range ?? asked.range?.replace(/^range_/, "");
    return ranges.find((each) => each === wanted) ?? ranges[0] ?? null;
  });
  const ready = $derived(whole !== undefined && (pieceName === null || piece !== undefined));
  const stages = $derived(whole && ready ? stagesOf(whole, piece ?? null, range) : []);
  const step = $derived.by(() => {
    const wanted = place().params.stage ?? (asked.step === null ? null : place().at);
    const all = [...(piece?.snapshots ?? []), ...(whole?.snapshots ?? [])];
    const found = stageAt(stages, all.find((each) => each.selector === wanted) ?? null);
    return found >= 0 ? found : stages.length - 1;
  });
  const stage = $derived(stages[step]);

  // The graphs themselves.
  const first = $derived(whole?.snapshots.find((each) => each.selector === whole.first));
  const firstGraph = resource<Graph>(app.store, () => (first ? `${app.base}/graph/${first.graph}` : null));
  const graph = resource<Graph>(app.store, () => (stage ? `${app.base}/graph/${stage.ways.graph}` : null));
  const layers = resource<Layers>(app.store, () => (stage ? `${app.base}/layers/${stage.selector}` : null));
  const source = $derived(whole && firstGraph.value ? sourceRows(firstGraph.value, whole) : []);
  const lines = $derived(linesByRoot(source));
  /** Of graphs of the piece that this one was compiled with: layers there -> layers here. */
  const layerMap = $derived(
    stage && !stage.whole && parts(stage.selector).piece !== pieceName ? (piece?.layer_map ?? {}) : {},
  );
  const rows = $derived(
    stage && layers.value?.selector === stage.selector && graph.value?.fingerprint === stage.ways.graph
      ? shownRows(layers.value, graph.value, stage, layerMap, lines)
      : null,
  );
  /** What was compiled by itself: the piece, or the whole graph when that was not split. */
  const unit = $derived<Unit | null>(piece ?? (compilation?.pieces.length ? null : whole) ?? null);
  const calls = $derived(unit ? callsOf(unit, range, lines) : []);
  const last = $derived(unit ? lastOf(unit, range, null) : null);
  const lastGraph = resource<Graph>(app.store, () => (last ? `${app.base}/graph/${last.graph}` : null));
  const problem = $derived(
    overview.problem ?? ways.problem ?? pieceWays.problem ?? layers.problem ?? graph.problem,
  );

  function firstPiece(): string | null {
    const pieces = compilation?.pieces ?? [];
    const lit = app.selection.lit?.piece;
    if (lit && pieces.some((each) => each.name === lit && each.compiled)) return lit;
    const compiled = pieces.filter((each) => each.compiled && each.same_as === null);
    const repeated = compiled.find((each) => pieces.some((other) => other.same_as === each.name));
    return (repeated ?? compiled[0] ?? pieces[0])?.name ?? null;
  }

  return {
    firstGraph,
    lastGraph,
    get overview() {
      return overview.value;
    },
    get compilation() {
      return compilation;
    },
    get pieceName() {
      return pieceName;
    },
    get whole() {
      return whole;
    },
    get piece() {
      return piece;
    },
    get ranges() {
      return ranges;
    },
    get range() {
      return range;
    },
    get stages() {
      return stages;
    },
    get step() {
      return step;
    },
    /** The first snapshot of the whole graph: its nodes are the roots. */
    get first() {
      return first;
    },
    get source() {
      return source;
    },
    get lines() {
      return lines;
    },
    get rows() {
      return rows;
    },
    get unit() {
      return unit;
    },
    get calls() {
      return calls;
    },
    get last() {
      return last;
    },
    get problem() {
      return problem;
    },
  };
}
