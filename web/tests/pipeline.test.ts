import { describe, expect, it } from "vitest";
import type { CompilationSummary, DifferenceRow, LayerRow, Step } from "../src/data/types";
import { Outline, shown, unify } from "../src/pipeline/fold";
import { lines, listed, neighbour, resolve, within } from "../src/pipeline/steps";
import { marks } from "../src/pipeline/tokens";

describe("words that differ", () => {
  const plain = (spans: { text: string; marked: boolean }[]) =>
    spans.map(({ text, marked }) => (marked ? `[${text}]` : text)).join("");

  it("are marked on both sides", () => {
    const [left, right] = marks("q = x.view(size_19)", "q = x.view(sym_4, 256)");
    expect(plain(left)).toBe("q = x.view([size_19])");
    expect(plain(right)).toBe("q = x.view([sym_4, 256])");
  });

  it.each([
    ["", "a"],
    ["a b", ""],
    ["mul(x, y)", "mul(y, x)"],
    ["é = ü(1)", "é = ö(1)"],
    ["a".repeat(9), `${"b ".repeat(900)}`],
  ])("add up to the lines themselves: %#", (before, after) => {
    const [left, right] = marks(before, after);
    expect(left.map((span) => span.text).join("")).toBe(before);
    expect(right.map((span) => span.text).join("")).toBe(after);
    const kept = (spans: typeof left) => spans.filter((span) => !span.marked).map((span) => span.text);
    expect(kept(left).join("")).toBe(kept(right).join(""));
  });
});

/** `  =` same, `+` added, `-` removed, `L` layer; indentation is depth. */
function rows(text: string): DifferenceRow[] {
  const side = (name: string) => ({ text: name }) as LayerRow;
  return text
    .split("\n")
    .filter((line) => line.trim())
    .map((line) => {
      const depth = line.search(/\S/) / 2;
      const [sign = "", name = ""] = line.trim().split(" ");
      const kind =
        ({ "=": "same", "+": "added", "-": "removed", "~": "replaced", L: "layer" } as const)[sign] ?? "note";
      return {
        kind,
        depth,
        before: kind === "added" ? null : side(name),
        after: kind === "removed" ? null : side(name),
        rewrite: null,
      };
    });
}

const MANY = Array.from({ length: 12 }, (_, i) => `    = n${i}`).join("\n");
const TREE = rows(`L model\n  L a\n${MANY}\n    + new\n    = z\n  L b\n    L b.c\n      = x\n`);

function told(outline: Outline, all = false, flipped: number[] = []): string[] {
  return shown(outline, all, new Set(flipped)).map((each) =>
    each.kind === "gap"
      ? `gap ${each.from}-${each.to}`
      : `${each.closed ? "closed " : ""}${outline.rows[each.index]?.after?.text ?? "?"}`,
  );
}

describe("folding of a difference", () => {
  const outline = new Outline(TREE);

  it("knows what lies inside of a layer and what changed there", () => {
    expect([...outline.ends.slice(0, 2)]).toEqual([TREE.length, 16]);
    expect([...outline.changes.slice(0, 2)]).toEqual([1, 1]);
    expect(outline.around(14)).toBe(1);
    expect(outline.around(0)).toBe(-1);
    expect(outline.next(-1, 1)).toBe(14);
    expect(outline.next(14, 1)).toBe(-1);
  });

  it("closes layers without a change and long runs that stayed", () => {
    expect(told(outline)).toEqual(["model", "a", "gap 2-12", "n10", "n11", "new", "z", "closed b"]);
  });

  it("opens what somebody opened", () => {
    expect(told(outline, false, [2]).length).toBe(17);
    expect(told(outline, false, [16]).slice(-2)).toEqual(["b", "closed b.c"]);
  });

  it("shows all, and closes what somebody closed", () => {
    expect(told(outline, true).length).toBe(TREE.length);
    expect(told(outline, true, [1])).toEqual(["model", "closed a", "b", "b.c", "x"]);
  });

  it("puts what was before what is, in one column", () => {
    const block = new Outline(rows("= a\n~ b\n~ c\n+ d\n= e"));
    const list = unify(block, shown(block, true, new Set()));
    expect(list.map((each) => `${each.kind} ${each.shown.kind === "row" ? each.shown.index : ""}`)).toEqual([
      "shown 0",
      "before 1",
      "before 2",
      "after 1",
      "after 2",
      "after 3",
      "shown 4",
    ]);
  });

  it("takes 100,000 rows", () => {
    const large = new Outline(
      rows(Array.from({ length: 100_000 }, (_, i) => (i % 9 ? "  = x" : "L y")).join("\n")),
    );
    expect(shown(large, true, new Set()).length).toBe(100_000);
  });
});

function step(selector: string, over: Partial<Step> = {}): Step {
  const [, piece = null, range = null] = /^c\/(?:(piece_\d+)\/)?(?:range_([^/]+)\/)?/.exec(selector) ?? [];
  const name = selector.split("/").at(-1) as string;
  const base = { kind: "snapshot", selector, name, stage: name, piece: piece ?? null, range: range ?? null };
  return { changed: false, ops_delta: {}, ...base, ...over } as Step;
}

describe("the list of steps", () => {
  const piece = (name: string, kind: number, same: string | null, compiled = true) => ({
    name,
    kind,
    same_as: same,
    compiled,
  });
  const compilation = {
    name: "c",
    pieces: [
      piece("piece_00", 0, null),
      piece("piece_01", 1, null, false),
      piece("piece_02", 2, null),
      piece("piece_03", 1, "piece_01", false),
      piece("piece_04", 2, "piece_02"),
    ],
  } as CompilationSummary;
  const steps = [
    step("c/captured"),
    step("c/after_split"),
    ...["00", "01", "02", "03", "04"].map((name) => step(`c/piece_${name}/piece`)),
    step("c/piece_00/range_8_8/a"),
    step("c/piece_02/range_8_8/a", { kind: "pass" }),
    step("c/piece_02/range_8_8/b", { changed: true, ops_delta: { mul: 2 } }),
    step("c/piece_02/range_1_16/b", { changed: true }),
    step("c/execution_code", { kind: "code" }),
  ];
  const names = (list: readonly Step[]) => list.map((each) => each.selector.slice(2));

  it("goes from the whole graph to a piece and its range", () => {
    expect(names(listed(compilation, steps, "piece_02", "8_8"))).toEqual([
      "captured",
      "after_split",
      "piece_02/piece",
      "piece_02/range_8_8/a",
      "piece_02/range_8_8/b",
    ]);
  });

  it("shows the passes of the piece that an equal one was compiled with", () => {
    expect(names(listed(compilation, steps, "piece_04", "8_8")).slice(2)).toEqual([
      "piece_04/piece",
      "piece_02/range_8_8/a",
      "piece_02/range_8_8/b",
    ]);
  });

  it.each([
    ["", "piece_02", "8_8", "piece_02/range_8_8/b"],
    ["c", "piece_02", "8_8", "piece_02/range_8_8/b"],
    ["c/captured", null, null, "captured"],
    ["c/piece_04", "piece_04", "8_8", "piece_02/range_8_8/b"],
    ["c/piece_02/range_1_16", "piece_02", "1_16", "piece_02/range_1_16/b"],
    ["c/piece_02/range_8_8/a", "piece_02", "8_8", "piece_02/range_8_8/a"],
    ["c/piece_03", "piece_03", null, "piece_03/piece"],
    ["c/nonsense", null, null, "captured"],
  ])("is found for %s", (at, piece, range, selector) => {
    const here = resolve(at, compilation, steps);
    expect([here.piece, here.range, here.step?.selector.slice(2)]).toEqual([piece, range, selector]);
  });

  it.each([
    ["c/captured", "piece_02/1_16"],
    ["c/piece_02/range_8_8/b", "piece_04/8_8"],
    ["c/piece_02/range_1_16/b", undefined],
    ["c/captured", undefined],
  ])("is looked at in a list, which is found again: %s in %s", (at, list) => {
    const here = resolve(at, compilation, steps, list);
    expect(here.step?.selector).toBe(at);
    if (list) expect(`${here.piece}/${here.range}`).toBe(list);
    const printed = within(here.step as Step, here.piece, here.range, "8_8");
    expect(printed).toBe(list ?? null);
  });

  it("hides passes that changed nothing, save the one that is looked at", () => {
    const list = listed(compilation, steps, "piece_02", "8_8");
    const words = (current: Step | null) =>
      lines(list, true, current).map((line) =>
        line.kind === "part" ? line.words : `${line.kind} ${line.step.name}`,
      );
    expect(words(null)).toEqual([
      "Whole graph",
      "step captured",
      "step after_split",
      "Piece",
      "step piece",
      "b",
      "step b",
      "delta b",
    ]);
    expect(words(list[3] as Step)).toContain("step a");
  });

  it("stops at its ends", () => {
    const list = listed(compilation, steps, "piece_02", "8_8");
    expect(neighbour(list, list[4] as Step, 1)).toBe(list[4]);
    expect(neighbour(list, list[0] as Step, -1)).toBe(list[0]);
    expect(neighbour(list, null, 1)).toBe(list[0]);
  });
});
