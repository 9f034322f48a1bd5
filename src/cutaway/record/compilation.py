"""One compilation while it goes on: its scopes (whole graph, piece, range) and the last snapshot in each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import fx

from cutaway.record.changes import Changes
from cutaway.record.frozen import Frozen
from cutaway.record.nodes import Table
from cutaway.record.origins import Remembered
from cutaway.torch_internals import KernelNodes

PHASE_FOLDERS = {"forward": "forward", "backward": "backward"}
_BEFORE: dict[str | None, tuple[str | None, ...]] = {
    "split": (None,),
    "joint": ("joint", None),
    "forward": ("forward", "joint", None),
    "backward": ("backward", "joint"),
    "inference": ("inference", "joint", None),
}
_UNSAFE = re.compile(r"[^A-Za-z0-9_.=+@~-]+")


def safe_name(name: str) -> str:
    """A name as a folder: no separators, no spaces, never hidden, at most 100 characters."""
    return _UNSAFE.sub("_", name.replace("<locals>.", "").replace("<lambda>", "lambda")).strip(".")[:100] or "unnamed"


def safe_path(name: str) -> str:
    """:func:`safe_name` for each part of a path with slashes."""
    return "/".join(map(safe_name, name.split("/")))


@dataclass
class Track:
    """The last snapshot of one graph on its way through the stages."""

    remembered: Remembered
    fingerprint: str
    counts: dict[str, int]
    facts: dict[str, Any]


@dataclass
class Scope:
    """A whole graph, one of its pieces, or a piece at one compile range: one folder of the dump.

    Attributes:
        name: the folder's name without its number; also the last part of the selector.
        number: whether the folder is numbered among its parent's files (pieces are, ranges are not).
        phase: how far the graph is: None before AOTAutograd, then ``inference``, or ``joint`` and ``forward`` or
            ``backward``.
        part: Inductor's round of passes that is on: ``pre_grad``, ``joint`` or ``post_grad``.
        generating: whether the last graph was seen and its code is still to come (else the code is a cache's).
        graph_module: the graph that goes through the stages now; graphs nested in it are told apart by it.
        graphs: how many graphs Inductor has begun with here; from the second on each is a scope of its own, ``newest``.
        kernels: kernel -> what each of its calls computes, while the code is being generated.
        changes: what passes have done to a graph since its last snapshot.
        aot_key: the key under which AOTAutograd's cache will keep what is being compiled, once it missed.
    """

    name: str
    parent: Scope | None = None
    number: bool = False
    phase: str | None = None
    part: str | None = None
    generating: bool = False
    aot_key: str | None = None
    graph_module: Any = None
    graphs: int = 0
    newest: Scope | None = None
    tracks: dict[str | None, Track] = field(default_factory=dict)
    children: dict[str, Scope] = field(default_factory=dict)
    hook_seconds: float = 0.0
    render_seconds: float = 0.0
    snapshots: int = 0
    kernels: dict[str, list[KernelNodes]] = field(default_factory=dict)
    changes: Changes | None = None
    pass_numbers: Counter[str] = field(default_factory=Counter)
    _files: Counter[str] = field(default_factory=Counter)
    _folder: str | None = None

    @property
    def selector(self) -> str:
        return f"{self.parent.selector}/{self.name}" if self.parent else self.name

    def path(self, leaf: str = "") -> str:
        """The selector of what is called ``leaf`` here in the phase that goes on; of all that is here, without one."""
        return "/".join(filter(None, (self.selector, self.subfolder, safe_path(leaf) if leaf else "")))

    @property
    def folder(self) -> str:
        """The folder, relative to the process folder; a piece gets its number when it is first asked for."""
        if self._folder is None:
            if self.parent is None:
                self._folder = self.name
            else:
                number = f"{self.parent.next_number()}." if self.number else ""
                self._folder = f"{self.parent.folder}/{number}{self.name}"
        return self._folder

    @property
    def subfolder(self) -> str:
        """``forward`` or ``backward`` when training, where two graphs go through the same stages."""
        return PHASE_FOLDERS.get(self.phase or "", "")

    @property
    def file_folder(self) -> str:
        """Where the files of the current phase go, relative to the process folder."""
        return f"{self.folder}/{self.subfolder}" if self.subfolder else self.folder

    @property
    def place(self) -> tuple[str | None, str | None]:
        """Piece and range."""
        names = self.selector.split("/")[1:]
        spans = [name.removeprefix("range_") for name in names if name.startswith("range_")]
        pieces = [name for name in names if not name.startswith(("range_", "graph_"))]
        return pieces[0] if pieces else None, spans[0] if spans else None

    def cost(self) -> dict[str, Any]:
        """What recording it has cost, as an event says it."""
        return {
            "scope": self.selector,
            "hook_ms": round(1e3 * self.hook_seconds, 3),
            "render_ms": round(1e3 * self.render_seconds, 3),
            "snapshots": self.snapshots,
        }

    def next_number(self) -> str:
        """The next two-digit number of a file in this folder; 90 to 99 are kept for generated code."""
        number = self._files[self.subfolder]
        self._files[self.subfolder] += 1
        return f"{number:02d}" if number < 90 else f"{number + 10}"

    def previous(self, phase: str | None) -> Track | None:
        """The snapshot that the next one of this phase comes after."""
        for key in _BEFORE.get(phase, (None,)):
            if key in self.tracks:
                return self.tracks[key]
        if self.parent is None or self.name.startswith("graph_"):  # a further graph comes after no other
            return None
        return self.parent.previous(None)

    def child(self, name: str, number: bool) -> Scope:
        if name not in self.children:
            self.children[name] = Scope(name, self, number)
        return self.children[name]

    def walk(self) -> Iterator[Scope]:
        yield self
        for child in self.children.values():
            yield from child.walk()

    def nested(self, gm: Any) -> str | None:
        """The name of a graph inside of the one that goes through the stages; None for that one itself."""
        whole = self.graph_module
        if whole is None or gm is whole or getattr(gm, "graph", None) is getattr(whole, "graph", None):
            return None
        return next((name for name, module in whole.named_modules() if module is gm and name), None)

    def changes_of(self, gm: fx.GraphModule) -> Changes:
        """What passes do to this graph; what they did to another one is forgotten."""
        if self.changes is None or self.changes.gm is not gm:
            self.changes = Changes(gm)
        return self.changes

    def forget(self) -> None:
        """Drop every graph held by reference (the compile is over; a backward may still come after it)."""
        for scope in self.walk():
            scope.graph_module = scope.changes = None
            for phase, track in scope.tracks.items():
                track.remembered = track.remembered.without_graph() if phase == "backward" else Remembered()


@dataclass
class Compilation:
    """A function that was captured once: Dynamo's frame and compile numbers, and the root of its scopes.

    Attributes:
        rows: its snapshots, passes, code and metrics so far: their facts, ``event`` and ``scope``.
        read_back: for what a cache served, who recorded it -> the places (a piece and range; "" for the whole).
        findings: what somebody should look at, as the events of that kind have it, with piece and range.
        missing: for what a cache served, why nothing recorded of it can be shown -> the places.
    """

    name: str
    function: str | None = None
    file: str | None = None
    line: int | None = None
    model: str | None = None
    root_class: str | None = None
    compile_id: str | None = None
    recompile: int = 0
    reasons: tuple[str, ...] = ()
    shape_env: Any = None
    guards_text: str | None = None
    finished: bool = False
    failed: str | None = None
    restarted_as: str | None = None
    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    equal_pieces: dict[str, list[str]] = field(default_factory=dict)
    piece_layers: dict[str, str] = field(default_factory=dict)
    read_back: dict[str, list[str]] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    root: Scope = field(init=False)

    def __post_init__(self) -> None:
        self.root = Scope(self.name)

    def facts(self) -> dict[str, Any]:
        """What the event of its beginning says."""
        return {
            "function": self.function,
            "file": self.file,
            "line": self.line,
            "model": self.model,
            "compile_id": self.compile_id,
            "recompile": self.recompile,
            "reason": list(self.reasons),
            "folder": self.root.folder,
        }

    def steps(self) -> list[dict[str, Any]]:
        """Its snapshots, passes and code."""
        return [row for row in self.rows if row["event"] != "metric"]

    def scope(self, piece: str | None, compile_range: str | None) -> Scope:
        """The scope of a piece and range of this compilation (the whole graph when both are None)."""
        scope = self.root
        if piece is not None:
            scope = scope.child(piece, number=True)
        if compile_range is not None:
            scope = scope.child(f"range_{compile_range}", number=False)
        return scope.newest or scope

    def next_graph(self, piece: str | None, compile_range: str | None) -> Scope:
        """The scope of one more graph for Inductor: a folder of its own when it is not the first of its place.

        One captured graph becomes several where a back end cuts it (torch's DDPOptimizer).
        """
        scope = self.scope(piece, compile_range)
        place = scope.parent if scope.parent is not None and scope.parent.newest is scope else scope
        place.graphs += 1
        if place.graphs > 1:
            place.newest = place.child(f"graph_{place.graphs}", number=False)
        return place.newest or place


def remember(
    gm: Any, frozen: Frozen, table: Table, fingerprint: str, counts: dict[str, int], facts: dict[str, Any]
) -> Track:
    """The track that a snapshot leaves behind."""
    return Track(Remembered.of(gm, table, frozen), fingerprint, counts, facts)
