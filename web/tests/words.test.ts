import { describe, expect, it } from "vitest";
import { bytes, count, cut, duration, plural, signed } from "../src/app/words";

describe("texts", () => {
  it("are cut, with their length", () => {
    expect(cut("abc", 3)).toBe("abc");
    expect(cut("x".repeat(1_048_576), 4)).toBe("xxxx… (1\u202f048\u202f576 characters)");
  });

  it("show what cannot be seen or turns what follows", () => {
    expect(cut("a\u0000\u0007b\u001b[31m")).toBe("a␀␇b␛[31m");
    expect(cut("mul\u202eevil\u200b")).toBe("mul⟨U+202E⟩evil⟨U+200B⟩");
    expect(cut("two\n\tlines é 模型 +1 −1")).toBe("two\n\tlines é 模型 +1 −1");
  });

  it("leave what looks like HTML as it is: it is set as text", () => {
    expect(cut("<script>alert(1)</script>")).toBe("<script>alert(1)</script>");
  });
});

describe("numbers", () => {
  it.each([
    [0, "0 ms"],
    [0.0000123, "0.012 ms"],
    [0.0031, "3.1 ms"],
    [0.0421, "42 ms"],
    [0.9949, "995 ms"],
    [0.996, "1.00 s"],
    [7.283, "7.28 s"],
    [18.94, "18.9 s"],
    [125.4, "2 min 5 s"],
    [179.9, "3 min 0 s"],
  ])("of seconds: %d", (seconds, words) => expect(duration(seconds)).toBe(words));

  it("of bytes, nodes and changes", () => {
    expect(bytes(900)).toBe("900 B");
    expect(bytes(2_400_000)).toBe("2.3 MiB");
    expect(count(7131)).toBe("7\u202f131");
    expect(plural(1, "node")).toBe("1 node");
    expect(plural(2, "node")).toBe("2 nodes");
    expect([signed(3), signed(-2)]).toEqual(["+3", "−2"]);
  });
});
