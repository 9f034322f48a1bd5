import { describe, expect, it } from "vitest";
import type { Graph, PieceWays, SnapshotWays, Ways } from "../src/data/types";
import { linesByRoot, sourceRows, type SourceLine } from "../src/lineage/lines";
import { callsOf, crumbs, litNodes, rootsOfNodes, stageAt, stagesOf } from "../src/lineage/way";

const source = (line: number, fn = "forward", file = "models/qwen3.py") => ({
  file,
  line,
  function: fn,
  code: `x = ${line}`,
});

const FIRST = {
  sources: [source(120), source(121), source(140), source(30, "norm", "layers/norm.py"), source(99, "rope")],
} as Graph;

const snapshot = (
  selector: string,
  graph: string,
  range: string | null,
  roots: number[],
  sets: number[][],
): SnapshotWays => ({
  selector,
  graph,
  range,
  roots,
  sets,
});

const WAYS: Ways = {
  compilation: "backbone",
  first: "backbone/captured",
  lines: { 0: [1, 0], 1: [2], 2: [3], 3: [4] },
  pieces: {},
  snapshots: [
    snapshot("backbone/captured", "a", null, [0, 1, 2, 3, 4], [[0], [1], [2], [3], [4]]),
    snapshot("backbone/before_split", "a", null, [0, 1, 2, 3, 4], [[0], [1], [2], [3], [4]]),
    snapshot("backbone/after_split", "s", null, [0], [[]]),
  ],
  calls: [],
  coverage: { nodes: 5, known: 4 },
};

const PIECE: PieceWays = {
  compilation: "backbone",
  piece: "piece_02",
  compiled_with: null,
  layer_map: {},
  snapshots: [
    snapshot("backbone/piece_02/piece", "p", null, [0, 1, 1], [[0, 1], [2]]),
    snapshot("backbone/piece_02/range_1_16/before_pre_grad", "p", "1_16", [0, 1, 1], [[0, 1], [2]]),
    snapshot("backbone/piece_02/range_1_16/post_grad", "q", "1_16", [0, 1, 2], [[2, 3], [], [1]]),
    snapshot("backbone/piece_02/range_8_8/post_grad", "r", "8_8", [0], [[0]]),
  ],
  calls: [
    {
      range: "1_16",
      phase: null,
      kernel: "cpp_fused_0",
      code: "backbone/piece_02/range_1_16/output_code",
      lines: [88],
      kernel_code: null,
      nodes: [0, 2],
    },
    {
      range: "8_8",
      phase: null,
      kernel: "cpp_fused_1",
      code: "backbone/piece_02/range_8_8/output_code",
      lines: [8],
      kernel_code: null,
      nodes: [0],
    },
  ],
};

const ROWS = sourceRows(FIRST, WAYS);

describe("source lines", () => {
  it("stand by file and function, by number, with gaps", () => {
    const told = ROWS.map((row) =>
      row.kind === "file"
        ? row.name
        : row.kind === "function"
          ? row.name
          : row.kind === "gap"
            ? `… ${row.lines}`
            : `${row.line} ×${row.roots.length}`,
    );
    expect(told).toEqual([
      "models/qwen3.py",
      "rope",
      "99 ×0",
      "forward",
      "120 ×2",
      "121 ×1",
      "… 18",
      "140 ×1",
      "layers/norm.py",
      "norm",
      "30 ×1",
    ]);
  });

  it("have colours of which neighbours differ", () => {
    const lines = ROWS.filter((row): row is SourceLine => row.kind === "line");
    lines.slice(1).forEach((line, at) => expect(line.hue).not.toBe(lines[at]!.hue));
    expect(linesByRoot(ROWS).get(1)!.line).toBe(120);
  });
});

describe("ways", () => {
  it("light a node when its roots meet those that are lit", () => {
    expect(litNodes(PIECE.snapshots[0]!, new Set([1]))).toEqual([0]);
    expect(litNodes(PIECE.snapshots[0]!, new Set([2]))).toEqual([1, 2]);
    expect(litNodes(PIECE.snapshots[2]!, new Set([2]))).toEqual([0]);
    expect(litNodes(PIECE.snapshots[2]!, new Set())).toEqual([]);
    expect([...rootsOfNodes(PIECE.snapshots[2]!, [0, 1, 2, 99])]).toEqual([2, 3, 1]);
  });

  it("go through the stages of one range, each graph once", () => {
    const stages = stagesOf(WAYS, PIECE, "1_16");
    expect(stages.map((stage) => stage.selector)).toEqual([
      "backbone/captured",
      "backbone/piece_02/piece",
      "backbone/piece_02/range_1_16/post_grad",
    ]);
    expect(stageAt(stages, PIECE.snapshots[1]!)).toBe(1);
    expect(stageAt(stages, null)).toBe(-1);
    expect(stagesOf(WAYS, null, null).map((stage) => stage.name)).toEqual(["captured", "after_split"]);
  });

  it("end at calls of kernels", () => {
    const [call, ...more] = callsOf(PIECE, "1_16", linesByRoot(ROWS));
    expect(more).toEqual([]);
    expect([...call!.roots]).toEqual([2, 3, 1]);
    expect(call!.hues).toHaveLength(3);
  });
});

describe("the trail", () => {
  const lines = ROWS.filter((row): row is SourceLine => row.kind === "line" && row.line === 120);

  it("leads from the line to the kernel", () => {
    const calls = callsOf(PIECE, "1_16", linesByRoot(ROWS));
    const trail = {
      lines,
      layers: "layers.0.mlp",
      ops: ["silu"],
      piece: "piece_02",
      stage: { name: "post_grad", ops: ["silu_and_mul", "mul"] },
      calls,
      line: 88,
    };
    expect(
      crumbs(trail)
        .map((crumb) => crumb.text)
        .join(" → "),
    ).toBe(
      "qwen3.py:120 → layers.0.mlp → silu → piece_02 → post_grad: silu_and_mul +1 → cpp_fused_0 line 88",
    );
  });

  it("says what is not known", () => {
    const trail = {
      lines: [],
      layers: "",
      ops: [],
      piece: "piece_02",
      stage: { name: "post_grad", ops: [] },
      calls: [],
      line: null,
    };
    expect(crumbs(trail).map((crumb) => [crumb.text, crumb.known])).toEqual([
      ["source unknown", false],
      ["layer unknown", false],
      ["operator unknown", false],
      ["piece_02", true],
      ["post_grad: nothing stems from it", false],
      ["no kernel known", false],
    ]);
  });
});
