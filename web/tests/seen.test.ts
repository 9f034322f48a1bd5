import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { parseSeen, printSeen, Seen } from "../src/app/seen.svelte";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("what is seen, in a link", () => {
  it("restores what was printed", () => {
    const values = new Map([
      ["rows", 12.5],
      ["steps-width", 0.31],
      ["x", -7.25],
    ]);
    expect(printSeen(values)).toBe("rows:12.5,steps-width:0.31,x:-7.25");
    expect(parseSeen(printSeen(values))).toEqual(values);
  });

  it.each([
    "",
    ",",
    "rows",
    "rows:",
    "rows:1e99",
    "rows:NaN",
    "__proto__:1",
    "rows:1:2",
    "Rows:1",
    "rows:99999999999",
  ])("takes nothing from what makes no sense: %s", (text) => expect(parseSeen(text).size).toBe(0));

  it("takes no more than a page has", () => {
    const many = Array.from({ length: 5000 }, (_, at) => `a${at}:1`).join(",");
    expect(parseSeen(many).size).toBeLessThan(100);
  });

  it("holds as long as nobody does anything, and then changes with what is done", () => {
    let written: string | null = null;
    const seen = new Seen("rows:12.5", (text) => (written = text));
    expect(seen.wanted("rows")).toBe(12.5);
    seen.note("rows", 12.5);
    seen.note("steps", 3);
    vi.runAllTimers();
    expect(written).toBeNull();
    seen.note("steps", 4, true);
    vi.runAllTimers();
    expect(written).toBe("rows:12.5,steps:4");
  });

  it("is told at once before a place is left, and then forgotten", () => {
    let written: string | null = null;
    const seen = new Seen("", (text) => (written = text));
    seen.note("rows", 2, true);
    seen.flush();
    expect(written).toBe("rows:2");
    seen.leave();
    seen.forget("rows");
    vi.runAllTimers();
    expect(written).toBe("");
  });
});
