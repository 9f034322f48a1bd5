// Colours for the canvas, read from the page's CSS variables.

export interface Theme {
  dark: boolean;
  background: string;
  layer: [string, string];
  line: string;
  strong: string;
  wire: string;
  text: string;
  faint: string;
  accent: string;
  input: string;
  output: string;
  lit: string;
  found: string;
  shadow: string;
  added: string;
  removed: string;
  changed: string;
  sans: string;
  mono: string;
  /** Of a class's variable: fill, border and the strong colour. */
  tone(variable: string): Tone;
}

export interface Tone {
  fill: string;
  edge: string;
  full: string;
}

export function readTheme(element: HTMLElement, dark: boolean): Theme {
  const style = getComputedStyle(element);
  const variable = (name: string): string => style.getPropertyValue(name).trim() || "#808080";
  const background = variable("--bg");
  const tones = new Map<string, Tone>();
  const tone = (name: string): Tone => {
    let found = tones.get(name);
    if (!found) {
      const full = variable(name);
      found = {
        full,
        fill: mix(full, background, dark ? 0.2 : 0.13),
        edge: mix(full, background, dark ? 0.62 : 0.55),
      };
      tones.set(name, found);
    }
    return found;
  };
  return {
    dark,
    background,
    layer: [variable("--bg-1"), mix(variable("--bg-2"), background, dark ? 0.62 : 0.6)],
    line: variable("--line"),
    strong: variable("--line-2"),
    wire: variable("--graph-wire"),
    text: variable("--text"),
    faint: variable("--text-2"),
    accent: variable("--accent"),
    input: variable("--graph-into"),
    output: variable("--graph-out"),
    lit: variable("--lit-line"),
    found: variable("--accent"),
    shadow: dark ? "#00000070" : "#1b202720",
    added: variable("--added"),
    removed: variable("--removed"),
    changed: variable("--changed"),
    sans: variable("--sans"),
    mono: variable("--mono"),
    tone,
  };
}

/** `share` of a colour on another; both as #rrggbb. */
export function mix(colour: string, ground: string, share: number): string {
  const a = channels(colour);
  const b = channels(ground);
  return `#${a.map((v, i) => toHex(Math.round(v * share + b[i]! * (1 - share)))).join("")}`;
}

function channels(colour: string): number[] {
  // The build shortens #ffffff to #fff.
  const short = /^#([0-9a-f]{3})$/i.exec(colour)?.[1]?.replace(/./g, "$&$&");
  const hex = short ?? /^#([0-9a-f]{6})/i.exec(colour)?.[1] ?? "808080";
  return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function toHex(value: number): string {
  return value.toString(16).padStart(2, "0");
}
