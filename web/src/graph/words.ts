// Text of a dump as it is drawn: one line, nothing that moves the cursor or the reading direction, cut at length.

// eslint-disable-next-line no-control-regex
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** At most `length` characters of it; the rest is said in numbers. */
export function plain(text: string, length = 48): string {
  const short = text.length > length ? text.slice(0, length) : text;
  const clean = short.replace(UNSEEN, "\u00b7");
  if (text.length <= length) return clean;
  return text.length > length * 20 ? `${clean}… (${count(text.length)} characters)` : `${clean}…`;
}

/** 7131 as `7,131`. */
export function count(number: number): string {
  return number.toLocaleString("en-GB");
}

export function nodes(number: number): string {
  return number === 1 ? "1 node" : `${count(number)} nodes`;
}
