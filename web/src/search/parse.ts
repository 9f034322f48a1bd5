// A query as terms, as `cutaway find` reads it (docs/find.md), but kinder: this one is read while somebody types,
// so that a quote or bracket left open closes at the end and a term without a value is left out.

/** What can be asked of a node here. `word` is a term that names no field. */
export const FIELDS = {
  op: "operator: rms_norm, aten.mm, ir.*; or placeholder, get_attr, output",
  layer: "layer of the model and all below it, or its class: layers.3, *.mlp, RMSNorm",
  dtype: "dtype: bf16, float8*",
  shape: "[s*, 256], [..., 64], [>=1024, *]; without brackets one of the sizes",
  source: "file, file:line, function, or text of the line of Python",
  provider: "who implements the operator, or will",
  kernel: "kernel that it became a part of",
  stage: "stage, or pass after which the graph is seen: captured, post_grad, *Lowering*",
  piece: "piece of the split graph: piece_02 or 2",
  range: "compile range: 1_4096, 8_8",
  compilation: "compilation: backbone",
  name: "name of the node, or model path of a weight",
} as const;

export type Field = keyof typeof FIELDS | "word";

export interface Term {
  field: Field;
  /** Any of these. */
  values: string[];
  negated: boolean;
  /** As it was typed, and where it stands in the query. */
  text: string;
  start: number;
  end: number;
}

export interface Query {
  terms: Term[];
  /** What could not be read, for people. */
  problems: string[];
}

/** Characters of a query: what somebody may type, and no work without end for what nobody would. */
const LONGEST = 4000;

/** A character, where it stands, and whether it is only itself: quoted, or in brackets. */
interface Char {
  char: string;
  at: number;
  plain: boolean;
}

/** The terms of a query. Never throws: what it cannot read it leaves out and names. */
export function parse(text: string): Query {
  const problems: string[] = [];
  if (text.length > LONGEST) problems.push(`Only the first ${LONGEST} characters are read.`);
  const terms: Term[] = [];
  for (const token of tokens(text.slice(0, LONGEST))) {
    const term = termOf(token, text, problems);
    if (term) terms.push(term);
  }
  return { terms, problems };
}

function tokens(text: string): Char[][] {
  const found: Char[][] = [];
  let token: Char[] = [];
  let quote = "";
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (quote) {
      if (char === quote) quote = "";
      else token.push({ char, at, plain: true });
    } else if ((char === '"' || char === "'") && begins(token) && !depth) {
      quote = char;
      token.push({ char: "", at, plain: true });
    } else if (/\s/.test(char) && !depth) {
      if (token.length) found.push(token);
      token = [];
    } else {
      depth = Math.max(0, depth + Number(char === "[") - Number(char === "]"));
      token.push({ char, at, plain: depth > 0 && char !== "[" });
    }
  }
  if (token.length) found.push(token);
  return found;
}

/** Whether a quote here opens a value, and is not a character within one. */
function begins(token: Char[]): boolean {
  const last = token.at(-1);
  return last === undefined || (!last.plain && ":|-".includes(last.char));
}

function termOf(token: Char[], text: string, problems: string[]): Term | null {
  const first = token[0]!;
  const negated = first.char === "-" && !first.plain;
  const rest = negated ? token.slice(1) : token;
  const colon = rest.findIndex((part) => part.char === ":" && !part.plain);
  const start = first.at;
  const end = token.at(-1)!.at + 1;
  const written = text.slice(start, end);
  const name = rest
    .slice(0, Math.max(0, colon))
    .map((part) => part.char)
    .join("")
    .toLowerCase();
  if (colon >= 0 && !(name in FIELDS)) {
    problems.push(unknownField(name));
    return null;
  }
  const values = valuesOf(colon < 0 ? rest : rest.slice(colon + 1)).filter((value) => value !== "");
  if (!values.length) return null;
  return { field: colon < 0 ? "word" : (name as Field), values, negated, text: written, start, end };
}

function unknownField(name: string): string {
  if (name === "pass")
    return "“pass:” is answered by `cutaway find`; here, stage:*Name* finds the graph after a pass.";
  if (name === "device" || name === "phase") return `“${name}:” is answered by \`cutaway find\`.`;
  const near = Object.keys(FIELDS).find((field) => field.startsWith(name) || name.startsWith(field));
  const cure = near ? `Did you mean ${near}:? ` : "";
  return `Nothing can be asked of “${name}:”. ${cure}Put it in quotes to look for the text.`;
}

function valuesOf(part: Char[]): string[] {
  const values = [""];
  for (const { char, plain } of part) {
    if (char === "|" && !plain) values.push("");
    else values[values.length - 1] += char;
  }
  return values;
}

/** A value as one would type it. */
export function quoted(value: string): string {
  return /[\s|:"']/.test(value) ? `"${value.replaceAll('"', "")}"` : value;
}
