"""What is exported, and in which format."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from cutaway.dump import Code, Snapshot
from cutaway.dump.select import matching, unknown
from cutaway.errors import CutawayError, SelectorError, UsageError
from cutaway.web.data import Library, Process
from cutaway.web.export.chrome_trace import chrome_trace
from cutaway.web.export.dot import dot
from cutaway.web.export.drawn import Drawn
from cutaway.web.export.model_explorer import model_explorer


def export(
    path: str | os.PathLike[str],
    form: str,
    selectors: Sequence[str] = (),
    run: str | None = None,
    rank: str | None = None,
) -> str:
    """A dump, or graphs of it, as the text of another format.

    Args:
        path: a dump's root, one of its runs or one of its processes.
        form: one of `FORMATS`.
        selectors: which graphs; none for each graph that differs (a timeline has no graphs, dot just one).
        run, rank: which run and process; None for the newest run and the first process.

    Raises:
        DumpError, SelectorError: the dump cannot be read, or has nothing of that name.
        UsageError: there is no such format, or it cannot hold what was asked for.
    """
    make = FORMATS.get(form)
    if make is None:
        raise UsageError(f"there is no format {form!r}", "", f"the formats are {', '.join(FORMATS)}")
    return make(Library(path, run, rank), selectors)


def chosen(process: Process, selectors: Sequence[str]) -> list[Drawn]:
    """The graphs that selectors name; without any, the first snapshot of each graph that can be read.

    Raises:
        SelectorError: one names no graph.
        DumpError: one that was asked for cannot be read.
    """
    if selectors:
        return [Drawn(process, snapshot) for selector in selectors for snapshot in _named(process, selector)]
    found: list[Drawn] = []
    for snapshots in process.graphs.values():
        try:
            found.append(Drawn(process, snapshots[0]))
        except CutawayError:
            continue  # the others are worth having
    return found


def _named(process: Process, selector: str) -> list[Snapshot]:
    """The graphs that a selector fits, each once."""
    known = [*process.dump.snapshots, *process.dump.codes]
    names = matching(selector, known)
    if not names:
        raise unknown(selector, known)
    found: dict[str, Snapshot] = {}
    for name in names:
        step = process.find(name)
        if isinstance(step, Snapshot):
            found.setdefault(step.graph, step)
        elif isinstance(step, Code) and len(names) == 1:
            raise SelectorError(f"{name!r} is code, no graph", "", "`cutaway show --code` prints it")
    return list(found.values())


def _first(library: Library) -> Process:
    index = library.index()
    return library.process(index.run, index.process)


def _model_explorer(library: Library, selectors: Sequence[str]) -> str:
    return _json(model_explorer(library.index().title, chosen(_first(library), selectors)))


def _dot(library: Library, selectors: Sequence[str]) -> str:
    found = chosen(_first(library), selectors)
    if len(found) != 1:
        names = ", ".join(each.snapshot.selector for each in found[:4])
        raise UsageError(
            f"{len(found)} graphs cannot be drawn in one", "a dot file is one picture", f"name one, such as {names}"
        )
    return dot(found[0])


def _chrome_trace(library: Library, selectors: Sequence[str]) -> str:
    if selectors:
        raise UsageError("a timeline takes no selector", "it is of the whole compile", "leave it out")
    index = library.index()
    names = next(run.processes for run in library.index().runs if run.name == index.run)
    return _json(chrome_trace({each.name: library.process(index.run, each.name).dump for each in names}))


def _graphs(library: Library, selectors: Sequence[str]) -> str:
    found = chosen(_first(library), selectors)
    graphs = [{"selector": each.snapshot.selector, "snapshot": each.own, "graph": each.graph} for each in found]
    return _json({"schema": 1, "graphs": graphs})


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode() + "\n"


FORMATS: dict[str, Callable[[Library, Sequence[str]], str]] = {
    "model-explorer": _model_explorer,
    "dot": _dot,
    "chrome-trace": _chrome_trace,
    "json": _graphs,
}
"""Name -> what makes it."""
