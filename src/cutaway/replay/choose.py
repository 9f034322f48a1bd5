"""What a command line means: a selector of a dump, a raw file in a dump, or a copy of one anywhere."""

from __future__ import annotations

from pathlib import Path

from cutaway.dump.diff import predecessor
from cutaway.dump.locate import MANIFEST, Location
from cutaway.dump.reader import Dump
from cutaway.dump.select import choose, matching
from cutaway.dump.snapshot import Snapshot
from cutaway.errors import DumpError, ReplayError, UsageError
from cutaway.replay.raw import read_raw
from cutaway.replay.run import COMPILED, Compiled
from cutaway.replay.subject import Subject

EAGER = "eager"


def snapshot_of(dump: Dump, selector: str) -> Subject:
    """The graph that a selector names. Raises SelectorError, ReplayError."""
    found = dump.find(selector)
    if not isinstance(found, Snapshot):
        raise UsageError(
            f"{found.selector!r} is generated code, no graph",
            "graphs are replayed",
            "replay the graph that it was made of against `compiled`",
        )
    return Subject.of(found)


def seen_from(home: Snapshot, dump: Dump, selector: str) -> str:
    """A selector in full, where it names a graph of home's phase, range, piece or compilation: the nearest first.

    Raises:
        SelectorError: it names more than one graph in the nearest of these that has any.
    """
    own = [each for each in dump.snapshots.values() if each.compilation == home.compilation]
    groups = (
        [each for each in own if _place(each) == _place(home) and each.phase == home.phase],
        [each for each in own if _place(each) == _place(home)],
        [each for each in own if each.piece == home.piece and each.range is None],
        [each for each in own if each.piece is None],
        own,
    )
    for group in () if selector in dump.snapshots else groups:
        names = [each.selector for each in group]
        if matching(selector, names):
            return choose(selector, names)
    return selector


def _place(snapshot: Snapshot) -> tuple[str | None, str | None]:
    return snapshot.piece, snapshot.range


def file_of(path: Path) -> Subject:
    """The graph of a raw file: a snapshot's, when the file lies in a dump and is what was recorded.

    Raises:
        UsageError: it cannot be read.
        ReplayError: it is no raw file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read", error.strerror or str(error), "check the path") from error
    return _in_dump(path) or Subject(path.name, read_raw(content.decode("utf-8", "replace"), path.name))


def _in_dump(path: Path) -> Subject | None:
    """The snapshot whose file this is; None when it lies in no dump, or was changed since."""
    path = path.resolve()
    folder = next((parent for parent in path.parents if (parent / MANIFEST).is_file()), None)
    if folder is None:
        return None
    try:
        dump = Dump(Location(folder, folder.parent.name, folder.name, (folder.parent.name,), (folder.name,)))
    except DumpError:
        return None
    relative = path.relative_to(folder).as_posix()
    for snapshot in dump.snapshots.values():
        for file in snapshot.files:
            if file.kind == "raw" and file.path == relative and file.bytes == path.stat().st_size:
                return Subject.of(snapshot)
    return None


def eager_of(subject: Subject) -> Subject:
    """The graph as it was captured, before anything was done to it: the piece, or the whole graph.

    A backward graph was not captured; its beginning is the joint graph that it is a part of.

    Raises:
        ReplayError: it is that graph itself, or the dump does not have it.
    """
    if subject.snapshot is None:
        raise ReplayError(
            f"what {subject.name} was captured as is not known",
            "the file lies in no dump, or was changed since it was recorded",
            "give a second raw file, or `compiled`",
        )
    found = subject.snapshot
    before = predecessor(found)
    while before is not None and before.piece == found.piece:
        found, before = before, predecessor(before)
        if found.stage == "aot_joint" and subject.snapshot.phase == "backward":
            break
    if found is subject.snapshot:
        raise ReplayError(
            f"{subject.name} is the graph as it was captured",
            "there is nothing before it to compare it with",
            "compare it with a later stage, or with `compiled`",
        )
    return Subject.of(found)


def reference_of(subject: Subject, against: str | None) -> Subject | Compiled | None:
    """What a graph is to be compared with.

    Args:
        subject: the graph.
        against: "eager", "compiled", a selector of the same dump, of the graph's own compilation first, or a raw file;
            None for nothing.

    Returns:
        A graph, "compiled", or None.
    """
    if against is None:
        return None
    if against == COMPILED:
        return COMPILED
    if against == EAGER:
        return eager_of(subject)
    if subject.dump is None or subject.snapshot is None or (against.endswith(".py") and Path(against).is_file()):
        return file_of(Path(against))
    return snapshot_of(subject.dump, seen_from(subject.snapshot, subject.dump, against))
