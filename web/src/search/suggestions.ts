// Values to choose from while a term is typed.

import type { Engine } from "./columns";
import { shortSource } from "./labels";
import { knownOf } from "./misses";
import { FIELDS, quoted } from "./parse";

export interface Suggestion {
  value: string;
  /** The query with it. */
  query: string;
}

const MOST = 8;
const LONGEST = 120;

/** For the term at the end of a query, when it names a field. */
export function suggestionsOf(engine: Engine, query: string): Suggestion[] {
  const match = /(?:^|\s)(-?)(\w+):("?)([^\s"|]*)$/.exec(query);
  const field = match?.[2]?.toLowerCase();
  if (!match || !field || !(field in FIELDS)) return [];
  const typed = match[4]!.toLowerCase().replaceAll("*", "");
  const begin = query.slice(0, query.length - match[3]!.length - match[4]!.length);
  const known = knownOf(engine, field as keyof typeof FIELDS).filter((value) => value.length < LONGEST);
  const fits = [...new Set(known)].filter(
    (value) => value.toLowerCase().includes(typed) && value.toLowerCase() !== typed,
  );
  return fits
    .slice(0, MOST)
    .map((value) => ({ value: shown(field, value), query: begin + quoted(shown(field, value)) }));
}

/** A value of a field as it is written in a query. */
export function shown(field: string, value: string): string {
  return field === "source" ? shortSource(value) : value;
}
