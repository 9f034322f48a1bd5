import { describe, expect, it } from "vitest";
import { blocks, difference } from "../src/pipeline/lines";

/** What `b` is by the changes alone. */
function applied(a: string, b: string): string {
  let text = "";
  let at = 0;
  for (const change of difference(a, b)) {
    expect(change.fromA).toBeGreaterThanOrEqual(at);
    text += a.slice(at, change.fromA) + b.slice(change.fromB, change.toB);
    at = change.toA;
  }
  return text + a.slice(at);
}

/** Numbers that look random and are the same each time. */
function random(seed: number): (below: number) => number {
  return (below) => {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff;
    return (seed >> 8) % below;
  };
}

describe("a difference by lines", () => {
  it.each([
    ["", ""],
    ["", "a\n"],
    ["a\n", ""],
    ["a", "a\n"],
    ["a\nb\nc\n", "a\nc\n"],
    ["x\nx\nx\n", "x\nx\n"],
    ["a\nb\n", "b\na\n"],
    ["é\n模型\n", "模型\nü\n"],
  ])("leads from one text to the other: %j %j", (a, b) => expect(applied(a, b)).toBe(b));

  it("does so for texts that share many lines", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const next = random(seed);
      const lines = () => Array.from({ length: next(40) }, () => `line ${next(12)}`);
      const a = lines();
      const b = next(2)
        ? lines()
        : a.filter(() => next(4) > 0).flatMap((line) => (next(5) ? [line] : [line, "new"]));
      expect(applied(a.join("\n"), b.join("\n"))).toBe(b.join("\n"));
    }
  });

  it("holds fast what is unique", () => {
    const a = ["head", "p = 1", "}", "q = 2", "}", "tail"];
    const b = ["head", "p = 1", "}", "new = 3", "}", "q = 2", "}", "tail"];
    const found = blocks(a, b);
    expect(found.map((block) => [block.toA - block.fromA, block.toB - block.fromB])).toEqual([[0, 2]]);
  });

  it("of 20,000 lines of which every tenth was renamed is not everything", () => {
    const lines = Array.from(
      { length: 20_000 },
      (_, i) => `    mul_${i} = torch.ops.aten.mul.Tensor(add_${i}, 2)`,
    );
    const other = lines.map((line, i) => (i % 10 ? line : line.replace("mul", "product")));
    const found = difference(lines.join("\n"), other.join("\n"));
    expect(found.length).toBeGreaterThanOrEqual(2000);
    expect(found.reduce((sum, change) => sum + change.toA - change.fromA, 0)).toBeLessThan(40_000);
  });
});
