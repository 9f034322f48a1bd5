import { describe, expect, it } from "vitest";
import { missingNodes, missingProcess, missingSelector } from "../src/app/missing";
import { nearest } from "../src/app/near";
import { parse } from "../src/app/state";
import type { Index, Overview, Step } from "../src/data/types";

const piece = (name: string, ranges: { name: string; same: string[] }[] = []) => ({ name, ranges });
const overview = {
  compilations: [
    {
      name: "backbone",
      pieces: [
        piece("piece_00"),
        piece("piece_02", [{ name: "1_16", same: ["17_4096"] }]),
        piece("piece_04", [{ name: "1_16", same: [] }]),
      ],
    },
    { name: "small", pieces: [] },
  ],
} as unknown as Overview;
const step = (selector: string, nodes: number | null = 12) => {
  const [, piece = null, range] = selector.split("/");
  return { selector, nodes, piece, range: range?.replace("range_", "") ?? null } as unknown as Step;
};
const steps = [
  { ...step("backbone/captured"), piece: null, range: null },
  step("backbone/piece_02/range_1_16/post_grad"),
  step("backbone/piece_02/range_1_16/post_grad.2.Lowering"),
  step("backbone/piece_02/range_17_4096/post_grad"),
];
const index = {
  runs: [{ name: "run_001", processes: [{ name: "rank_0", same: [] }] }],
} as unknown as Index;

describe("what a link names", () => {
  it.each([
    "",
    "backbone",
    "backbone/captured",
    "backbone/piece_00",
    "backbone/piece_02/range_1_16",
    "backbone/piece_02/range_1_16/post_grad",
    "backbone/piece_04/range_1_16",
  ])("is there: %s", (selector) => {
    expect(missingSelector(selector, overview, steps)).toBeNull();
  });

  it.each([
    ["backbones/captured", "There is no compilation called backbones here.", ["backbone"]],
    ["backbone/piece_77/range_1_16/post_grad", "backbone has no piece_77: it has 3 pieces.", null],
    ["backbone/piece_02/range_8_8", "piece_02 was not compiled for 8–8.", null],
    [
      "backbone/piece_02/range_1_16/post_grad.2.Lowring",
      "piece_02/range_1_16 has no stage called post_grad.2.Lowring.",
      ["backbone/piece_02/range_1_16/post_grad.2.Lowering", "backbone/piece_02/range_1_16/post_grad"],
    ],
    ["backbone/capture", "backbone has no stage called capture.", ["backbone/captured"]],
    ["small/piece_01", "small has no piece_01: it has no pieces.", []],
  ])("is not there, and what comes near is named: %s", (selector, what, near) => {
    const found = missingSelector(selector, overview, steps);
    expect(found?.what).toBe(what);
    if (near) expect(found?.near).toEqual(near);
    else expect(found?.near.length).toBeGreaterThan(0);
  });

  it("is not judged before the stages are read", () => {
    expect(missingSelector("backbone/piece_02/range_1_16/nothing", overview, null)).toBeNull();
  });

  it("may be a run or a process of another dump", () => {
    expect(missingProcess(parse("#/run_001/rank_0/graph"), index)).toBeNull();
    expect(missingProcess(parse("#/run_002/rank_0/graph"), index)).toEqual({
      what: "There is no run called run_002 here.",
      near: ["run_001/rank_0"],
    });
    expect(missingProcess(parse("#/run_001/rank_1/graph"), index)?.what).toContain(
      "no process called rank_1",
    );
  });

  it("may be a node beyond those of its graph", () => {
    const sel = (nodes: string) => `backbone|piece_02||backbone/piece_02/range_1_16/post_grad|${nodes}`;
    expect(missingNodes(sel("3,11"), steps)).toBeNull();
    expect(missingNodes(sel("3,12-14"), steps)?.what).toContain("there is no node 12");
    expect(missingNodes("", steps)).toBeNull();
  });
});

it("names come near by their letters, whatever they are", () => {
  expect(nearest(["add_tensor"], ["mul_tensor", "add_tensor_1", "x"])).toEqual([
    "add_tensor_1",
    "mul_tensor",
  ]);
  expect(nearest(["", "a"], ["", "b"])).toEqual([]);
});
