import type { Missing } from "./missing";
import { Seen } from "./seen.svelte";
import { parse, print, type Place } from "./state";

export type Change = Partial<Omit<Place, "params">> & { params?: Record<string, string | null | undefined> };

/** The fragment of the URL, as state. Moving to another place makes an entry in the history; small changes replace it. */
export class Router {
  place = $state.raw<Place>(parse(""));

  /** The place that a link named; null once one has gone elsewhere. */
  asked = $state.raw<Place | null>(null);
  /** What a view could not find of it. */
  told = $state.raw<Missing | null>(null);
  /** How panes are scrolled, how wide they are: what stands in the link as `see`. */
  readonly seen: Seen;

  constructor() {
    this.place = parse(location.hash);
    this.asked = this.place;
    this.seen = new Seen(this.place.params.see ?? "", (text) =>
      this.#write(this.to({ params: { see: text } }), "replace"),
    );
  }

  /** Follows the back and forward keys and links. Returns what ends it. */
  listen(): () => void {
    const read = () => {
      if (print(this.place) === location.hash) return;
      this.place = parse(location.hash);
      this.asked = this.place;
      this.told = null;
      this.seen.read(this.place.params.see ?? "");
    };
    // Before a link is followed, what is left is told in full.
    const leave = (event: MouseEvent) => {
      if (event.target instanceof Element && event.target.closest("a[href]")) this.seen.flush();
    };
    addEventListener("click", leave, { capture: true });
    addEventListener("popstate", read);
    addEventListener("hashchange", read);
    const deaf = this.seen.listen();
    return () => {
      deaf();
      removeEventListener("click", leave, { capture: true });
      removeEventListener("popstate", read);
      removeEventListener("hashchange", read);
    };
  }

  /** Where `change` leads. Without `params` those of another view are dropped, save the selection. */
  to(change: Change): Place {
    const { place } = this;
    const stays = (change.view ?? place.view) === place.view;
    const sameProcess =
      (change.run ?? place.run) === place.run && (change.process ?? place.process) === place.process;
    const kept: Record<string, string> = {};
    if (stays) Object.assign(kept, place.params);
    else if (place.params.sel && sameProcess) kept.sel = place.params.sel;
    for (const [name, value] of Object.entries(change.params ?? {})) {
      if (value == null || value === "") delete kept[name];
      else kept[name] = value;
    }
    // How far something else was scrolled says nothing; a link that is being opened is only told in full.
    const sameThing = stays && sameProcess && (change.at ?? place.at) === place.at;
    if (!sameThing && !(stays && this.seen.still)) delete kept.see;
    return { ...place, ...change, params: kept };
  }

  /** What the link named is told no more. */
  forgetAsked(): void {
    this.asked = null;
    this.told = null;
  }

  /** A view has not found something that the link names. */
  tell(missing: Missing): void {
    if (this.asked) this.told = missing;
  }

  /** For links: `<a href={router.href({ view: "graph", at })}>`. */
  href(change: Change): string {
    return print(this.to(change));
  }

  /** Goes there: the back key returns. */
  go(change: Change): void {
    this.seen.flush();
    this.seen.leave();
    this.forgetAsked();
    this.#write(this.to(change), "push");
    this.seen.later();
  }

  /** Changes what is seen in place, without an entry in the history. */
  adjust(change: Change): void {
    this.#write(this.to(change), "replace");
    this.seen.later();
  }

  #write(place: Place, how: "push" | "replace"): void {
    const fragment = print(place);
    if (fragment === print(this.place) && fragment === location.hash) return;
    this.place = place;
    // The query holds the token: it stays.
    const url = location.search + fragment;
    if (how === "push") history.pushState(null, "", url);
    else history.replaceState(null, "", url);
  }
}
