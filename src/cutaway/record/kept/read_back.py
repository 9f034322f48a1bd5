"""Writes again what was kept of an entry that a cache has served, or says why it cannot."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from cutaway.record import output_code, texts
from cutaway.record.compilation import Compilation, Scope
from cutaway.record.context import Where, where
from cutaway.record.kept import file
from cutaway.record.kept.collect import Row, graph_before, rows_of_artifact
from cutaway.record.kept.file import Kept, RefusedError
from cutaway.record.kept.place import Place
from cutaway.record.kept.replay import Replay, check
from cutaway.record.output_code import Generated
from cutaway.record.recorder import Recorder
from cutaway.record.warning import warn

NOT_KEPT = "nothing was recorded when it was compiled"


def read_compilation(recorder: Recorder, place: Place, loaded: Collection[str]) -> str | None:
    """A whole compilation was loaded: write again what was kept of it.

    Args:
        recorder: where to; the compilation is the one on this thread, which nothing was said of yet.
        place: of what was kept.
        loaded: digests of the code that was loaded.

    Returns:
        Why nothing was written; None when it was.
    """
    try:
        kept = _read(place, "compilation")
        codes = {_digest(kept, row) for row in kept.rows if row["facts"].get("kind") == "output_code"}
        if not codes.issuperset(loaded):
            raise RefusedError("the cache has other code now")
        facts = kept.head["compilation"]
        said = _said(recorder, place, kept)
        compilation = recorder.begin_again(facts["name"], facts, **said)
    except RefusedError as error:
        return _refused(recorder, place, error)
    Replay(recorder, kept, compilation, compilation.root, said).write(kept.rows)
    _note(compilation.read_back, _origin(kept), "")
    return None


def read_artifact(
    recorder: Recorder, compilation: Compilation, scope: Scope, generated: Generated, places: Iterable[Place]
) -> str | None:
    """An artifact of Inductor was loaded: write again what led to it, but for what was recorded now.

    Args:
        recorder: where to.
        compilation, scope: what it is a part of.
        generated: what was loaded.
        places: where something may be kept of it; the first that fits is taken.

    Returns:
        Why nothing was written; None when it was.
    """
    done, before = rows_of_artifact(compilation.rows, scope), graph_before(compilation.rows, scope)
    reason = NOT_KEPT
    for place in places:
        try:
            kept = _read(place, "artifact")
            rest = _rest(kept, done, before, generated)
            layers = _layers(kept, before)
        except RefusedError as error:
            if isinstance(error, _OtherGraphError) and place == where().kept:
                _warn_of_other_graph(recorder, place)
            reason = _refused(recorder, place, error) if reason == NOT_KEPT else reason
            continue
        here = where()
        said = _said(recorder, place, kept)
        Replay(recorder, kept, compilation, scope, said, here, layers).write(rest)
        _note(compilation.read_back, _origin(kept), _name(here))
        return None
    return reason


def _warn_of_other_graph(recorder: Recorder, place: Place) -> None:
    """An engine took an entry of its own cache for a graph that it was not made of."""
    name = _name(where()) or "a graph"
    recorder.cache("stale", "warning", place.name, {"reason": f"the artifact of {name} was made of another graph"})
    warn(
        f"the cache served {name} with an artifact that was made of another graph: it is stale, or its key "
        f"lacks a factor. Compare a start with an empty cache. (Recorded beside it: {place.name})"
    )


def note_missing(recorder: Recorder, reason: str) -> None:
    """Say, also on the compilation's page, what is not there of what a cache has served here, why, and the cure."""
    _note(recorder.current().missing, reason, _name(where()))
    cure = f"record one start {recorder.host.cold_start}"
    recorder.cache("recording", "miss", None, {"reason": reason, "cure": cure})


def _note(places: dict[str, list[str]], why: str, name: str) -> None:
    known = places.setdefault(why, [])
    known += [] if name in known else [name]


def _name(place: Where) -> str:
    return " for ".join(part for part in (place.piece, texts.range_text(place.range)) if part)


class _NothingKeptError(RefusedError):
    pass


class _OtherGraphError(RefusedError):
    pass


def _read(place: Place, of: str) -> Kept:
    kept = file.read(place.path)
    if kept is None:
        raise _NothingKeptError(NOT_KEPT)
    if kept.head.get("of") != of or not isinstance(kept.head.get("run"), str):
        raise RefusedError(f"it is of {kept.head.get('of')!r}")
    try:
        if kept.head.get("entry") != place.digest():
            raise RefusedError("the cache's entry is another one now")
    except OSError as error:
        raise RefusedError(f"the cache's entry cannot be read ({error.strerror})") from error
    check(kept)
    return kept


def _refused(recorder: Recorder, place: Place, error: RefusedError) -> str:
    if isinstance(error, _NothingKeptError):
        return NOT_KEPT
    recorder.cache("recording", "refused", place.name, {"reason": str(error)})
    return f"what was kept of it cannot be used: {error}"


def _said(recorder: Recorder, place: Place, kept: Kept) -> dict[str, Any]:
    """What every event says that is read back; the event of the cache says where from."""
    factors = {name: kept.head.get(name) for name in ("run", "time", "cutaway", "torch")}
    return {"cached": True, "cached_from": recorder.cache("recording", "load", place.name, factors)}


def _origin(kept: Kept) -> str:
    return f"{kept.head['run']} on {time.strftime('%Y-%m-%d', time.localtime(float(kept.head['time'])))}"


def _digest(kept: Kept, row: Row) -> str:
    return output_code.digest(texts.code_body(kept.texts[row["files"]["code"]].decode()))


def _rest(kept: Kept, done: Sequence[Row], before: Row | None, generated: Generated) -> list[Row]:
    """The kept rows that come after those that were recorded now; RefusedError when they are of something else."""
    codes = [_digest(kept, row) for row in kept.rows if row["facts"].get("kind") == "output_code"]
    if codes != [generated.digest]:
        raise RefusedError("the cache has other code now")
    steps = [row for row in done if row["event"] != "metric"]
    made = {_key(row["event"], row["selector"].removeprefix(row["scope"]), row): row for row in steps}
    keys = [_key(row["event"], f"/{row.get('leaf')}", row["facts"]) for row in kept.rows]
    common = [index for index, key in enumerate(keys) if key in made]
    graphs = [index for index in common if kept.rows[index]["event"] == "snapshot"]
    if graphs:
        last = graphs[-1]
        is_same = made[keys[last]]["graph"] == kept.rows[last]["facts"]["graph"]
    else:
        is_same = before is None or kept.head.get("before") in (None, before["graph"])
    if not is_same:
        raise _OtherGraphError("it is of another graph")
    return kept.rows[common[-1] + 1 :] if common else kept.rows


def _key(event: str, leaf: str, facts: Mapping[str, Any]) -> tuple[str, str, Any]:
    return event, leaf, facts.get("phase")


def _layers(kept: Kept, before: Row | None) -> dict[str, str]:
    """Layers of the graph that it was recorded for -> those of the equal graph that it is for now, one to one."""
    theirs, ours = kept.head.get("layers") or [], before["layers"] if before is not None else []
    return dict(zip(theirs, ours, strict=True)) if len(theirs) == len(ours) else {}
