import { getContext, setContext, untrack } from "svelte";
import type { Store } from "../data/store.svelte";
import type { Index } from "../data/types";
import type { Binding, Keys } from "./keys.svelte";
import type { Router } from "./router.svelte";
import type { Selection } from "./selection.svelte";
import type { Theme } from "./theme.svelte";

/** What every component may ask for. */
export interface App {
  readonly store: Store;
  readonly router: Router;
  readonly selection: Selection;
  readonly keys: Keys;
  readonly theme: Theme;
  /** `run_001/rank_0_dp_0`: what most paths of resources begin with. */
  readonly base: string;
  readonly index: Index;
}

const KEY = Symbol("cutaway");

export function provide(app: App): void {
  setContext(KEY, app);
}

export function useApp(): App {
  return getContext<App>(KEY);
}

/** Keys that hold while the component is there. */
export function useKeys(name: string, bindings: Binding[]): void {
  const { keys } = useApp();
  $effect(() => untrack(() => keys.register(name, bindings)));
}
