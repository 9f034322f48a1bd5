// What one sees beside what one chose: how far panes are scrolled, how wide they are, where a drawing is looked at.
// It stands in the URL as `see=rows:12.5,steps:3`: numbers, by names that the panes give themselves.

/** Milliseconds after which what has changed stands in the URL; browsers refuse to change it all the time. */
const SOON = 200;
/** Anybody can write a URL. */
const MOST = 60;
const DIGITS = 5;
const DOING = ["pointerdown", "wheel", "keydown", "click", "input", "change"] as const;

/**
 * What a link says holds until somebody does something: panes whose data come late, or come again, go back to it.
 * What panes do by themselves meanwhile is kept for the next link, and does not change this one.
 */
export class Seen {
  /** Counts the links that were read; a pane that stays looks again. */
  turn = $state(0);
  /** Whether nobody has done anything since the link was opened. */
  still = true;
  #wanted = new Map<string, number>();
  readonly #met = new Set<string>();
  readonly #now = new Map<string, number>();
  readonly #write: (text: string) => void;
  #timer: ReturnType<typeof setTimeout> | null = null;

  /** `write` puts the text into the URL. */
  constructor(text: string, write: (text: string) => void) {
    this.#wanted = parseSeen(text);
    this.#write = write;
  }

  listen(): () => void {
    // What the page clicks by itself is nobody's doing.
    const touch = (event: Event) => event.isTrusted && this.#touched();
    for (const kind of DOING) addEventListener(kind, touch, { capture: true, passive: true });
    return () => {
      for (const kind of DOING) removeEventListener(kind, touch, { capture: true });
    };
  }

  /** Another link, or the back key. */
  read(text: string): void {
    this.#stop();
    this.#wanted = parseSeen(text);
    this.#met.clear();
    this.still = true;
    this.turn += 1;
  }

  /** What the link says of a pane, as long as that holds. */
  wanted(name: string): number | null {
    void this.turn;
    const value = this.#wanted.get(name);
    if (value === undefined) return null;
    this.#met.add(name);
    return value;
  }

  holds(name: string): boolean {
    return this.#wanted.has(name);
  }

  /** How a pane is now; null: as it is by itself. `byHand`: somebody wanted it so. */
  note(name: string, value: number | null, byHand = false): void {
    if (byHand) {
      this.#wanted.delete(name);
      this.still = false;
    }
    const rounded = value === null ? null : Number(value.toFixed(DIGITS));
    if (rounded === null) this.#now.delete(name);
    else this.#now.set(name, rounded);
    this.later();
  }

  /** The pane is gone. */
  forget(name: string): void {
    this.#now.delete(name);
    this.later();
  }

  /** The place that the link named is left. */
  leave(): void {
    this.#wanted.clear();
    this.still = false;
  }

  later(): void {
    if (!this.still) this.#timer ??= setTimeout(() => this.flush(), SOON);
  }

  /** At once: before the place changes. */
  flush(): void {
    if (this.#timer === null) return;
    this.#stop();
    this.#write(printSeen(new Map([...this.#now, ...this.#wanted])));
  }

  #touched(): void {
    for (const name of this.#met) this.#wanted.delete(name);
    this.#met.clear();
    if (!this.still) return;
    this.still = false;
    this.later();
  }

  #stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

export function printSeen(values: ReadonlyMap<string, number>): string {
  return [...values]
    .filter(([, value]) => value !== 0)
    .map(([name, value]) => `${name}:${value}`)
    .sort()
    .join(",");
}

export function parseSeen(text: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const part of text.split(",").slice(0, MOST)) {
    const match = /^([a-z][a-z0-9_-]{0,40}):(-?\d{1,9}(?:\.\d{1,5})?)$/.exec(part);
    if (match) found.set(match[1]!, Number(match[2]));
  }
  return found;
}

/** A number that links keep as long as a component is there; `start` is what it is by itself. */
export function kept(seen: Seen, name: string, start: number): { value: number } {
  let value = $state(seen.wanted(name) ?? start);
  $effect(() => {
    const said = seen.wanted(name);
    if (said === null) return;
    value = said;
    seen.note(name, said === start ? null : said);
  });
  $effect(() => () => seen.forget(name));
  return {
    get value() {
      return value;
    },
    set value(next: number) {
      value = next;
      seen.note(name, next === start ? null : next, true);
    },
  };
}

/** Whether something is unfolded: `<details {@attach unfolded(seen, "finding-3")}>`. */
export function unfolded(seen: Seen, name: string): (box: HTMLDetailsElement) => () => void {
  return (box) => {
    if (seen.wanted(name) === 1) box.open = true;
    const note = () => seen.note(name, box.open ? 1 : null);
    box.addEventListener("toggle", note);
    return () => {
      box.removeEventListener("toggle", note);
      seen.forget(name);
    };
  };
}

/** A length that a pane can be scrolled by: what a link says is rounded. */
export function onPixel(length: number): number {
  const ratio = devicePixelRatio || 1;
  return Math.round(length * ratio) / ratio;
}

/** How far an element is scrolled: `<div {@attach scrolled(seen, "overview")}>`. In rem, so that text size does not matter. */
export function scrolled(seen: Seen, name: string): (box: HTMLElement) => () => void {
  return (box) => {
    const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize) || 13;
    const restore = () => {
      const wanted = seen.wanted(name);
      if (wanted !== null) box.scrollTop = onPixel(wanted * rem());
    };
    const note = () => seen.note(name, box.scrollTop / rem());
    // What is in it may come later than the element.
    const observer = new MutationObserver(restore);
    observer.observe(box, { childList: true, subtree: true });
    box.addEventListener("scroll", note, { passive: true });
    restore();
    return () => {
      observer.disconnect();
      box.removeEventListener("scroll", note);
      seen.forget(name);
    };
  };
}
