// `[s*, 256]`, `[..., >=64]`, `4096`: a test of types as texts, such as `f32[s72, 256]`.

import { glob, type TextTest } from "./glob";

const COMPARED = /^(>=|<=|>|<)(\d{1,18})$/;
const REST = ["...", "…"];

/** A test of one shape: sizes as texts, without blanks. */
type ShapeTest = (sizes: string[]) => boolean;

/** A test of the types of a node's values, as they are written. */
export function shapeTest(value: string): TextTest {
  const test = testOf(value);
  return (text) => shapesOf(text).some(test);
}

/** The shapes in a text of types: `f32[2, 3], i64[s0]` are two. Strides are none. */
export function shapesOf(text: string): string[][] {
  const found: string[][] = [];
  for (let at = text.indexOf("["); at >= 0; at = text.indexOf("[", at + 1)) {
    const end = text.indexOf("]", at);
    if (end < 0) break;
    if (!text.slice(0, at).endsWith("strides "))
      found.push(sizesOf(text.slice(at + 1, end).replace(/\s/g, "")));
    at = end;
  }
  return found;
}

function testOf(value: string): ShapeTest {
  const text = value.replace(/\s/g, "");
  if (!text.startsWith("[")) {
    const test = sizeTest(text);
    return (sizes) => sizes.some(test);
  }
  const parts = sizesOf(text.slice(1).replace(/\]$/, ""));
  const rest = parts.findIndex((part) => REST.includes(part));
  const first = (rest < 0 ? parts : parts.slice(0, rest)).map(sizeTest);
  const last = rest < 0 ? [] : parts.slice(rest + 1).map(sizeTest);
  return (sizes) => {
    const fewest = first.length + last.length;
    if (sizes.length < fewest || (rest < 0 && sizes.length > fewest)) return false;
    const end = sizes.length - last.length;
    return first.every((test, at) => test(sizes[at]!)) && last.every((test, at) => test(sizes[end + at]!));
  };
}

function sizeTest(text: string): TextTest {
  const compared = COMPARED.exec(text);
  if (!compared) return glob(text);
  const limit = Number(compared[2]);
  const compare = {
    ">=": (size: number) => size >= limit,
    "<=": (size: number) => size <= limit,
    ">": (size: number) => size > limit,
    "<": (size: number) => size < limit,
  }[compared[1] as ">="];
  return (size) => /^-?\d+$/.test(size) && compare(Number(size));
}

/** The sizes between commas, but not those within an expression: `Max(1,s72),256` are two. */
function sizesOf(text: string): string[] {
  const parts = [""];
  let depth = 0;
  for (const char of text) {
    depth = Math.max(0, depth + Number(char === "(") - Number(char === ")"));
    if (char === "," && !depth) parts.push("");
    else parts[parts.length - 1] += char;
  }
  return parts.length === 1 && parts[0] === "" ? [] : parts;
}
