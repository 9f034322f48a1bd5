"""What a recording holds of a compilation, or of one artifact of Inductor, in a form that can be written again.

A kept row has the ``event``, its ``facts`` as they stand in the manifest, the ``scope`` that it belongs to (names
below the compilation; none for an artifact), the ``leaf`` of its selector, and, of a graph or text, ``files`` (kind ->
digest, also where the dump has an earlier one instead), the selector that these files are ``titled`` with and, of a
text, the ``file`` that it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from cutaway.record.compilation import Compilation, Scope
from cutaway.record.environment import versions
from cutaway.record.filters import Filters
from cutaway.record.kept.file import Kept, RefusedError, digest
from cutaway.record.pages import is_made
from cutaway.record.run import SCHEMA
from cutaway.record.session import Session

Row = dict[str, Any]

_EVENTS = ("snapshot", "pass", "code", "metric")
_OF_THE_WHOLE = ("captured", "before_split", "after_split", "piece")
_OF_AN_ARTIFACT = ("output_code", "kernel")
_OF_A_PASS = ("finding", "pass_failed")  # metrics
_COSTS = ("compile_time",)  # of the run, not of what was compiled
_OF_THE_DUMP = ("event", "scope", "files", "same_as", "cached", "cached_from")


def compilation_rows(session: Session, compilation: Compilation) -> Kept:
    """Everything that was recorded of a compilation that is over. Raises RefusedError when something is missing."""
    rows = [row for row in compilation.rows if row["event"] in _EVENTS]
    rows = [row for row in rows if row["event"] != "metric" or row["kind"] not in _COSTS]
    _check_whole(session, compilation)
    if compilation.failed or compilation.missing or not any(row.get("stage") == "captured" for row in rows):
        raise RefusedError("the recording does not have all of the compile")
    facts = {
        "name": compilation.name,
        "function": compilation.function,
        "file": compilation.file,
        "line": compilation.line,
        "model": compilation.model,
        "root_class": compilation.root_class,
        "recompile": compilation.recompile,
        "reason": list(compilation.reasons),
    }
    return _kept(session, rows, compilation.name, {"of": "compilation", "compilation": facts})


def artifact_rows(session: Session, compilation: Compilation, scope: Scope) -> Kept:
    """What was recorded while Inductor made the artifact of a scope. Raises RefusedError when something is missing."""
    rows = rows_of_artifact(compilation.rows, scope)
    _check_whole(session, compilation)
    codes = [row for row in rows if row.get("kind") == "output_code"]
    if len(codes) != 1 or not is_made(codes[0]) or not any(row.get("stage") == "post_grad" for row in rows):
        raise RefusedError("the recording does not have all of the compile")
    before = graph_before(compilation.rows, scope) or {}
    head = {"of": "artifact", "before": before.get("graph"), "layers": before.get("layers", [])}
    return _kept(session, rows, scope.selector, head)


def rows_of_artifact(rows: Iterable[Row], scope: Scope) -> list[Row]:
    """The rows of what Inductor compiles in a scope now: the backward graph alone, or all before it."""
    backward = f"{scope.selector}/backward"
    if scope.phase == "backward":
        return [row for row in rows if row.get("scope") == backward]
    found: list[Row] = []
    here = scope.place
    for row in rows:
        if row["event"] == "metric":
            found += [row] if row["kind"] in _OF_A_PASS and (row["piece"], row["range"]) == here else []
            continue
        if row["event"] not in _EVENTS or row["scope"] not in (scope.selector, f"{scope.selector}/forward"):
            continue
        if row.get("stage") == "before_pre_grad":
            found = []  # an earlier one in the same place
        if row.get("stage") not in _OF_THE_WHOLE and (row["event"] != "code" or row["kind"] in _OF_AN_ARTIFACT):
            found.append(row)
    return found


def graph_before(rows: Iterable[Row], scope: Scope) -> Row | None:
    """The snapshot that the first of an artifact comes after; None when it comes after no other."""
    if scope.name.startswith("graph_"):
        return None
    places = {scope.selector, scope.parent.selector if scope.parent is not None else None}
    found = [row for row in rows if row.get("stage") in _OF_THE_WHOLE and row["scope"] in places]
    found = [row for row in found if row["stage"] != "after_split"]
    return found[-1] if found else None


def _check_whole(session: Session, compilation: Compilation) -> None:
    writer = session.writer
    if session.settings.filters != Filters():
        raise RefusedError("not everything was recorded")
    if writer is None or writer.files_left_out or session.failed_in & {None, compilation.name}:
        raise RefusedError("not everything could be recorded")


def _kept(session: Session, rows: list[Row], base: str, head: Mapping[str, Any]) -> Kept:
    folder = session.open().folder
    stored = _files_by_selector(session, {row["same_as"] for row in rows if row.get("same_as")})
    kept: list[Row] = []
    texts: dict[str, bytes] = {}
    for row in rows:
        owner = stored.get(row.get("same_as") or "", row)
        for entry in owner.get("files", ()):
            if entry["digest"] not in texts:
                content = (folder / entry["path"]).read_bytes()
                if digest(content) != entry["digest"]:
                    raise RefusedError(f"{entry['path']} was changed since it was written")
                texts[entry["digest"]] = content
        kept.append(_kept_row(row, owner, base))
    head = {
        "schema": SCHEMA,
        **{name: text for name, text in versions().items() if name in ("cutaway", "torch")},
        "run": f"{folder.parent.name}/{folder.name}",
        "time": round(time.time(), 3),
        **head,
    }
    return Kept(head, kept, texts)


def _files_by_selector(session: Session, selectors: set[str]) -> dict[str, Row]:
    every = (row for compilation in session.compilations for row in compilation.rows)
    return {row["selector"]: row for row in every if row.get("files") and row["selector"] in selectors}


def _kept_row(row: Row, owner: Row, base: str) -> Row:
    facts = {key: value for key, value in row.items() if key not in _OF_THE_DUMP}
    if row["event"] == "metric":
        return {"event": "metric", "facts": facts}
    scope = row["scope"].removeprefix(base).removesuffix("/" + (row["phase"] or "")).strip("/")
    kept: Row = {
        "event": row["event"],
        "scope": scope.split("/") if scope else [],
        "leaf": row["selector"].removeprefix(row["scope"]).lstrip("/"),
        "facts": facts,
    }
    if row["event"] != "pass":
        if not owner["files"]:
            raise RefusedError(f"the dump has no file of {row['selector']}")
        kept["files"] = {entry["kind"]: entry["digest"] for entry in owner["files"]}
        kept["titled"] = owner["selector"]
    if row["event"] == "code":
        depth = owner["scope"].count("/") + 1
        kept["file"] = "/".join(owner["files"][0]["path"].split("/")[depth:])
    return kept
