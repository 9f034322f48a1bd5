import { describe, expect, test } from "vitest";
import { colours } from "../../src/graph/colour";
import { drawDifference, drawGraph } from "../../src/graph/items";
import { find, litItems } from "../../src/graph/match";
import { plain } from "../../src/graph/words";
import { differenceOf, graphOf, stackOf } from "./made";

describe("two graphs in one picture", () => {
  const before = graphOf([
    { op: "placeholder", input: "x", name: "x" },
    { short: "pow", inputs: [0] },
    { short: "mean", inputs: [1] },
    { short: "mm", inputs: [2, 0] },
    { op: "output", inputs: [3] },
  ]);
  const after = graphOf([
    { op: "placeholder", input: "x", name: "x" },
    { short: "rms_norm", inputs: [0] },
    { short: "mm", inputs: [1, 0] },
    { op: "output", inputs: [2] },
  ]);
  const difference = differenceOf(
    before,
    after,
    [
      [0, 0],
      [4, 3],
    ],
    [[3, 2]],
  );
  const drawing = drawDifference(before, after, difference);

  test("what was removed stands where it stood", () => {
    expect(drawing.items.map((item) => [item.node.short, item.change])).toEqual([
      ["add", "kept"],
      ["rms_norm", "added"],
      ["pow", "removed"],
      ["mean", "removed"],
      ["mm", "changed"],
      ["add", "kept"],
    ]);
  });

  test("edges know when they were there", () => {
    const product = drawing.items[4]!;
    expect([...product.gained]).toEqual([1]);
    expect([...product.lost]).toEqual([3]);
    expect(product.inputs).toEqual([1, 0, 3]);
  });

  test("colours by change count each once", () => {
    const { classes } = colours(drawing, "change", null);
    expect(classes.map((each) => [each.words, each.count])).toEqual([
      ["kept", 2],
      ["added", 1],
      ["removed", 2],
      ["changed", 1],
    ]);
  });
});

describe("what is found and lit", () => {
  const graph = stackOf(4);
  const drawing = drawGraph(graph);
  const names = (query: string) => {
    const found = find(drawing, query, null, graph);
    return found && [...found].map((index) => drawing.items[index]!.node.short);
  };

  test("queries are those of the search view", () => {
    expect(names("op:rms_norm layer:layers.2")).toEqual(["rms_norm"]);
    expect(names("op:mm layer:layers.1-2")).toEqual(["mm", "mm"]);
    expect(names("rms")).toHaveLength(4);
    expect(names("layer:*.norm -layer:layers.0")).toHaveLength(3);
    expect(names("source:model.py")).toHaveLength(graph.nodes.length);
    expect(names("op:none_such")).toEqual([]);
    expect(names("  ")).toBeNull();
    expect(names("stage:captured")).toBeNull();
  });

  test("roots light the nodes that stem from them", () => {
    const roots = graph.nodes.map((node) => node.id % 3);
    const ways = { selector: "s", graph: "g", range: null, roots, sets: [[5], [7, 9], []] };
    const lit = litItems(drawing, "after", ways, new Set([9]));
    expect([...lit]).toEqual(graph.nodes.map((node) => node.id).filter((id) => id % 3 === 1));
    expect(litItems(drawing, "after", ways, new Set([1])).size).toBe(0);
  });
});

describe("colours by kind of operator", () => {
  test.each([
    ["aten.mm", "matrix product"],
    ["_C.onednn_mm", "matrix product"],
    ["vllm.unified_attention_with_output", "attention"],
    ["vllm_ir.fused_add_rms_norm", "norm, reduction"],
    ["operator.mul", "elementwise"],
    ["operator.getitem", "view"],
    ["aten.silu", "activation"],
    ["vllm.all_reduce", "communication"],
    ["torch.nn.functional.embedding", "gather, copy"],
    ["my_lib.unheard_of", "other"],
  ])("%s is %s", (target, words) => {
    const graph = graphOf([{}]);
    graph.nodes[0]!.target = target;
    const { classes, of } = colours(drawGraph(graph), "op", null);
    expect(classes[of[0]!]!.words).toBe(words);
  });
});

describe("text of a dump", () => {
  test("is one line, of known length, in one direction", () => {
    expect(plain("a\u0000b\n\u202ec")).toBe("a·b··c");
    expect(plain("x".repeat(60), 10)).toBe("xxxxxxxxxx…");
    expect(plain("x".repeat(1_048_576), 10)).toBe("xxxxxxxxxx… (1,048,576 characters)");
    expect(plain("<script>alert(1)</script>")).toBe("<script>alert(1)</script>");
  });
});
