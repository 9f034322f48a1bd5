import { describe, expect, it } from "vitest";
import { numbers, parseLit, printLit, ranges } from "../src/app/selection.svelte";
import { parse, print, type Place } from "../src/app/state";

const PLACE: Place = {
  run: "run_001",
  process: "rank_0_dp_0",
  view: "pipeline",
  at: "backbone/piece_02/range_1_4096/post_grad.2.VllmIRLoweringPass",
  params: { form: "raw", q: "op:rms_norm layer:*.mlp & <b>" },
};

describe("the fragment", () => {
  it("restores what was printed", () => {
    expect(parse(print(PLACE))).toEqual(PLACE);
  });

  it("is readable", () => {
    expect(print({ ...PLACE, params: { diff: "a:b,c" } })).toBe(
      "#/run_001/rank_0_dp_0/pipeline/backbone/piece_02/range_1_4096/post_grad.2.VllmIRLoweringPass?diff=a:b,c",
    );
  });

  it.each(["", "#", "#/", "#/run_001", "#//", "#/a/b/nonsense/c", "#/%E0%A4%A/b", "#/a/b/graph/x%2Fy?=&a"])(
    "takes whatever somebody typed: %s",
    (fragment) => {
      const place = parse(fragment);
      expect(parse(print(place))).toEqual(place);
    },
  );

  it("keeps names that hold what separates parts", () => {
    const place = { ...PLACE, run: "a?b#c/d", process: "%41", at: "fn.2/x y" };
    expect(parse(print(place))).toEqual(place);
  });
});

describe("the selection in the fragment", () => {
  it("restores what was printed", () => {
    const lit = {
      compilation: "backbone",
      piece: "piece_02",
      roots: new Set([3, 1, 2, 9]),
      selector: "backbone/piece_02/x",
      graph: null,
      nodes: [4],
    };
    expect(printLit(lit)).toBe("backbone|piece_02|1-3,9|backbone/piece_02/x|4");
    expect(parseLit(printLit(lit))).toEqual({ ...lit, roots: new Set([1, 2, 3, 9]) });
  });

  it("is nothing when it is no selection", () => {
    expect(parseLit("")).toBeNull();
    expect(parseLit("||||")).toBeNull();
    expect(parseLit("a|b")).toBeNull();
  });

  it("folds numbers that follow each other", () => {
    expect(ranges([1, 2, 3, 5, 7, 8])).toBe("1-3,5,7-8");
    expect(numbers("1-3,5,7-8")).toEqual([1, 2, 3, 5, 7, 8]);
  });

  it("does not fill the memory at a forged range", () => {
    expect(numbers("0-999999999").length).toBe(100_000);
  });
});
