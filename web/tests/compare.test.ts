import { describe, expect, it } from "vitest";
import { merged, pairsOf, rangePair, rowsOf } from "../src/compare/pairs";
import type { Comparison, Step } from "../src/data/types";

const step = (name: string, same: boolean, a: string | null = name, b: string | null = name) => ({
  name,
  a,
  b,
  same,
});

const COMPARISON = {
  compilations: [
    {
      name: "backbone",
      a: "backbone",
      b: "backbone",
      same: false,
      text: "1 piece differs",
      pieces: [
        {
          a: "piece_00",
          b: "piece_01",
          range: "1_16",
          same: false,
          parts_at: { text: "aot_forward: 2 nodes changed", a: "aot_forward", b: "aot_forward" },
          steps: [
            step("piece", true),
            step("a pass", true, "piece", "piece"),
            step("aot_forward", false),
            step("post_grad", false, null),
          ],
        },
        {
          a: "piece_02",
          b: "piece_02",
          range: null,
          same: true,
          parts_at: null,
          steps: [step("piece", true)],
        },
      ],
    },
  ],
} as unknown as Comparison;

describe("two processes", () => {
  const pairs = pairsOf(COMPARISON);

  it("are set side by side, without passes that changed nothing", () => {
    expect(pairs[0]!.steps.map((each) => each.name)).toEqual(["piece", "aot_forward", "post_grad"]);
    expect(pairs.map((pair) => [pair.piece, pair.other, pair.parts])).toEqual([
      ["piece_00", "piece_01", 1],
      ["piece_02", null, -1],
    ]);
  });

  it("show what differs, and how much does not", () => {
    const kinds = (open: string[]) => rowsOf(COMPARISON, pairs, new Set(open)).map((row) => row.kind);
    expect(kinds([])).toEqual(["compilation", "pair", "same"]);
    expect(kinds(["backbone"])).toEqual(["compilation", "pair", "pair", "same"]);
  });
});

describe("two ranges", () => {
  const snapshot = (range: string, name: string, graph: string) =>
    ({
      kind: "snapshot",
      piece: "piece_02",
      range,
      name,
      graph,
      selector: `backbone/piece_02/range_${range}/${name}`,
    }) as Step;

  it("are set side by side by stage", () => {
    const steps = [
      snapshot("8_8", "aot_forward", "a"),
      snapshot("8_8", "post_grad.2.Fuse", "b"),
      snapshot("8_8", "post_grad", "b"),
      snapshot("1_16", "aot_forward", "a"),
      snapshot("1_16", "post_grad", "c"),
    ];
    const pair = rangePair(steps, "piece_02", "8_8", "1_16");
    expect(pair.steps.map(({ name, same, b }) => [name, same, b !== null])).toEqual([
      ["aot_forward", true, true],
      ["post_grad.2.Fuse", false, false],
      ["post_grad", false, true],
    ]);
    expect(pair.parts).toBe(1);
    expect(pair.compilation).toBe("backbone");
  });

  it("have their stages in an order that fits both", () => {
    expect(merged(["a", "c", "d"], ["a", "b", "c", "e"])).toEqual(["a", "b", "c", "e", "d"]);
    expect(merged([], ["x", "y"])).toEqual(["x", "y"]);
  });
});
