// What is marked in generated text: the pieces in stitching code, the calls of kernels in output code.

import { meets } from "../app/selection.svelte";
import { cut, plural } from "../app/words";
import type { PieceSummary, Text } from "../data/types";
import type { Call } from "../lineage/way";
import type { LineMark } from "./code";

export type Mark = Omit<LineMark, "current"> & { name: string };

/** Whether a text calls pieces: stitching code. */
export function callsPieces(text: Text | undefined): boolean {
  return text?.marks.some((mark) => mark.kind === "piece") ?? false;
}

/** The calls of pieces. `over`: the piece that the pointer is over. */
export function pieceMarks(
  text: Text,
  pieces: Map<string, PieceSummary>,
  colours: Map<string, string>,
  lit: ReadonlySet<string>,
  over: string | null,
): Mark[] {
  return text.marks.map((mark) => {
    const found = pieces.get(mark.name);
    const what =
      found?.compiled === false ? "runs as it is" : plural(found?.ranges.length ?? 0, "compile range");
    return {
      line: mark.line,
      end: mark.end,
      hues: [colours.get(mark.name) ?? "var(--kind-none)"],
      title: `${mark.name}: ${found?.label ?? ""}, ${what}`,
      lit: lit.has(mark.name),
      soft: over === mark.name,
      name: mark.name,
    };
  });
}

/** The calls of kernels. `over`: the kernel that the pointer is over. */
export function callMarks(
  text: Text,
  calls: readonly Call[],
  roots: ReadonlySet<number>,
  over: string | null,
): Mark[] {
  return calls.flatMap((call) =>
    call.call.code === text.selector || text.marks.length
      ? call.call.lines.map((line) => ({
          line,
          end: line,
          hues: call.hues,
          title: `${cut(call.call.kernel, 300)}: computes ${call.call.nodes.length} nodes of the last graph`,
          lit: meets(call.roots, roots),
          soft: over === call.call.kernel,
          name: call.call.kernel,
        }))
      : [],
  );
}
