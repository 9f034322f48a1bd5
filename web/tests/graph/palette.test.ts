import palette from "../../src/graph/palette.css?raw";
import { describe, expect, test } from "vitest";

// Machado, Oliveira, Fernandes 2009, severity 1; OKLab after Ottosson 2020.
const EYES = {
  normal: [1, 0, 0, 0, 1, 0, 0, 0, 1],
  protanopia: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
  deuteranopia: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
  tritanopia: [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
};
const LMS = [0.4122214708, 0.5363325363, 0.0514459929, 0.2119034982, 0.6806995451, 0.1073969566];
const TO_LMS = [...LMS, 0.0883024619, 0.2817188376, 0.6299787005];
const LAB = [0.2104542553, 0.793617785, -0.0040720468, 1.9779984951, -2.428592205, 0.4505937099];
const TO_LAB = [...LAB, 0.0259040371, 0.7827717662, -0.808675766];

function times(matrix: number[], v: number[]): number[] {
  return [0, 3, 6].map((row) => v.reduce((sum, one, i) => sum + matrix[row + i]! * one, 0));
}

function oklab(colour: string, eye: number[]): number[] {
  const linear = [1, 3, 5]
    .map((at) => parseInt(colour.slice(at, at + 2), 16) / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  const seen = times(eye, linear).map((v) => Math.min(1, Math.max(0, v)));
  return times(TO_LAB, times(TO_LMS, seen).map(Math.cbrt));
}

describe.each(["light", "dark"])("colours of the %s theme", (theme) => {
  const part = palette.split('[data-theme="dark"]')[theme === "dark" ? 1 : 0]!;
  const found = [...part.matchAll(/--graph-(?:\d|none|input): (#[0-9a-f]{6})/g)].map((match) => match[1]!);

  test.each(Object.entries(EYES))("can be told apart: %s", (_, eye) => {
    expect(found).toHaveLength(11);
    const seen = found.map((colour) => oklab(colour, eye));
    seen.forEach((a, i) => {
      for (const [j, b] of seen.entries()) {
        if (j <= i) continue;
        const distance = Math.hypot(...a.map((v, at) => v - b[at]!));
        expect(distance, `${found[i]} and ${found[j]}`).toBeGreaterThan(0.08);
      }
    });
  });
});
