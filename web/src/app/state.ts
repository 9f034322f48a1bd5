// What is looked at, as the fragment of the URL: #/<run>/<process>/<view>/<selector>?<parameters>
// A link restores what one sees, so whatever is worth keeping stands in here and nowhere else.

export const VIEWS = ["overview", "pipeline", "graph", "lineage", "code", "compare", "search"] as const;
export type View = (typeof VIEWS)[number];

export interface Place {
  run: string;
  process: string;
  view: View;
  /** A selector, or its first part (a compilation); empty: the view chooses. */
  at: string;
  /** form, diff, fold, sel, q, colour, other …: each view's own. */
  params: Record<string, string>;
}

export function isView(text: string): text is View {
  return (VIEWS as readonly string[]).includes(text);
}

/** Reads a fragment; what is missing or unknown is empty or the overview. */
export function parse(fragment: string): Place {
  const text = fragment.replace(/^#/, "");
  const cut = text.indexOf("?");
  const path = cut < 0 ? text : text.slice(0, cut);
  const [run = "", process = "", view = "", ...at] = path.split("/").slice(1).map(decode);
  const params: Record<string, string> = {};
  for (const [name, value] of new URLSearchParams(cut < 0 ? "" : text.slice(cut + 1))) {
    if (name && value) params[name] = value;
  }
  return { run, process, view: isView(view) ? view : "overview", at: at.join("/"), params };
}

/** Prints a fragment, `#` included. Parameters that are empty are left out; the rest is sorted. */
export function print(place: Place): string {
  const parts = [place.run, place.process, place.view];
  if (place.at) parts.push(...place.at.split("/"));
  const query = Object.keys(place.params)
    .filter((name) => place.params[name] !== "")
    .sort()
    .map(
      (name) =>
        `${encode(name)}=${encode(place.params[name] as string).replace(/%(2F|7C)/g, decodeURIComponent)}`,
    )
    .join("&");
  return `#/${parts.map(encode).join("/")}${query ? `?${query}` : ""}`;
}

/** Percent-encodes what a fragment cannot hold, and leaves the rest readable. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/%(3A|2C|40|24|3B|5B|5D)/g, decodeURIComponent);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray % that somebody typed
  }
}
