// Every key of the page. A view registers those that it adds; `?` lists what holds now.

export interface Binding {
  /** As `KeyboardEvent.key` has it: `j`, `ArrowDown`, `?`; several do the same. */
  keys: string[];
  /** What it does, for the list. */
  words: string;
  action: (event: KeyboardEvent) => void;
}

interface Group {
  name: string;
  bindings: Binding[];
}

export class Keys {
  groups = $state.raw<Group[]>([]);
  /** Whether the list is shown. */
  shown = $state(false);

  /** Adds keys; the newest group is asked first. Returns what removes them. */
  register(name: string, bindings: Binding[]): () => void {
    const group = { name, bindings };
    this.groups = [...this.groups, group];
    return () => {
      this.groups = this.groups.filter((each) => each !== group);
    };
  }

  listen(): () => void {
    const press = (event: KeyboardEvent) => this.#press(event);
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }

  #press(event: KeyboardEvent): void {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (writes(event.target) && event.key !== "Escape") return;
    if (moves(event.target, event.key)) return;
    if (this.shown && event.key !== "?" && event.key !== "Escape") return;
    for (const group of this.groups.toReversed()) {
      const found = group.bindings.find((each) => each.keys.includes(event.key));
      if (!found) continue;
      event.preventDefault();
      found.action(event);
      return;
    }
  }
}

/** Whether a letter belongs to what has the focus. */
function writes(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable) return true;
  return target.matches("textarea, input:not([type=checkbox], [type=radio], [type=button])");
}

/** Whether what has the focus does something with this key itself. */
function moves(target: EventTarget | null, key: string): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (key === "Enter" || key === " ")
    return target.matches("a, button, select, summary, [role=button], [role=tab]");
  return target.matches("select") && key.startsWith("Arrow");
}
