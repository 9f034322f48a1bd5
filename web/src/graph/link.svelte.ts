// Where a drawing is looked at, and what one stands on, stand in the link.

import { untrack } from "svelte";
import type { Router } from "../app/router.svelte";
import type { Camera, Window } from "./camera";
import type { Session } from "./session.svelte";
import type { Stage } from "./stage";

/** What is looked at, as it changes. */
export interface Looked {
  readonly session: Session | undefined;
  readonly stage: Stage | undefined;
  readonly camera: Camera;
  readonly view: Window;
}

/** To be called while a component is set up. Returns what is to be called when the camera has moved. */
export function followLink(router: Router, looked: Looked): () => void {
  const { seen } = router;

  $effect(() => {
    const { session, stage, view } = looked;
    if (!session?.scene || !stage || view.width === 0) return;
    const [x, y, zoom] = [seen.wanted("x"), seen.wanted("y"), seen.wanted("zoom")];
    // What is not said is nought.
    if (zoom !== null) untrack(() => stage.place(x ?? 0, y ?? 0, zoom));
  });
  $effect(() => () => ["x", "y", "zoom"].forEach((name) => seen.forget(name)));

  /** A session that has gone to what the link stands on; then the link follows. */
  let stood: Session | undefined;
  $effect(() => {
    const made = looked.session;
    const here = made?.scene;
    if (!made || !here) return;
    const focus = made.focus;
    untrack(() => {
      const named = router.place.params.node ?? null;
      if (stood !== made) {
        stood = made;
        if (named !== null && focus <= 0) {
          void made.standOn(named).then((missing) => missing && router.tell({ what: missing, near: [] }));
          return;
        }
      }
      const name = made.nameOf(focus);
      if (named !== name) router.adjust({ params: { node: name } });
    });
  });

  return () => {
    const { session, camera, view } = looked;
    if (!session?.scene || view.width === 0) return;
    seen.note("x", camera.x + view.width / 2 / camera.scale);
    seen.note("y", camera.y + view.height / 2 / camera.scale);
    seen.note("zoom", camera.scale);
  };
}
