// Many layers in one name: `layers.0–3.mlp`.

/** A name without its numbers: what the names of identical layers have in common. */
export function pattern(fqn: string): string {
  return fqn.replace(/\d+/g, "#");
}

/** Names that are equal but for their numbers, as one; those of several patterns are joined by commas. */
export function label(fqns: Iterable<string>): string {
  const shapes = new Map<string, string[][]>();
  for (const fqn of new Set(fqns)) {
    const parts = fqn.split(/(\d+)/);
    const shape = pattern(fqn);
    const known = shapes.get(shape);
    if (known) known.push(parts);
    else shapes.set(shape, [parts]);
  }
  return [...shapes.values()].flatMap((names) => folded(names).map((parts) => parts.join(""))).join(", ");
}

/** Names of one pattern, split at their numbers, folded number by number. */
function folded(names: string[][]): string[][] {
  for (let at = 1; at < (names[0]?.length ?? 0); at += 2) {
    const groups = new Map<string, { rest: string[]; numbers: number[] }>();
    for (const name of names) {
      const rest = name.with(at, "");
      const key = rest.join("\0");
      const group = groups.get(key);
      if (group) group.numbers.push(Number(name[at]));
      else groups.set(key, { rest, numbers: [Number(name[at])] });
    }
    names = [...groups.values()].map(({ rest, numbers }) => rest.with(at, spans(numbers)));
  }
  return names;
}

/** `0–2,5`; numbers in even steps as `1,3…79`. */
export function spans(some: number[]): string {
  const numbers = [...new Set(some)].sort((a, b) => a - b);
  const step = numbers.length > 3 ? numbers[1]! - numbers[0]! : 1;
  if (step > 1 && numbers.every((number, at) => number === numbers[0]! + at * step)) {
    return `${numbers[0]},${numbers[1]}…${numbers.at(-1)}`;
  }
  const parts: string[] = [];
  for (let from = 0; from < numbers.length;) {
    let to = from;
    while (numbers[to + 1] === numbers[to]! + 1) to++;
    parts.push(to === from ? `${numbers[from]}` : `${numbers[from]}–${numbers[to]}`);
    from = to + 1;
  }
  return parts.join(",");
}

/** `/…/layernorm.py:81 forward` as `layernorm.py:81`. */
export function shortSource(source: string): string {
  return source.split(/[/\\]/).at(-1)!.split(" ")[0]!;
}
