"""What a graph is run with: inputs that were recorded, sizes, and what has to be made anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cutaway.dump.diff import diff
from cutaway.dump.reader import Dump
from cutaway.dump.schema import InputsKept, KeptInput, Node, NodeTable, Size
from cutaway.dump.snapshot import Snapshot
from cutaway.errors import ReplayError, UsageError
from cutaway.replay.job import Saved
from cutaway.replay.sizes import agree, choose_sizes
from cutaway.replay.subject import Subject, inputs_of

Inputs = Literal["seeded", "recorded"]


@dataclass(frozen=True)
class Chosen:
    """What a graph is run with.

    Attributes:
        sizes: symbol -> size; `sizes_of_other` those of a second graph.
        saved: recorded inputs.
        recorded: names of these.
        notes: what is to be known of them, in words.
    """

    sizes: dict[str, int]
    sizes_of_other: dict[str, int] = field(default_factory=dict[str, int])
    saved: list[Saved] = field(default_factory=list[Saved])
    recorded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def choose_inputs(
    subject: Subject,
    inputs: Inputs,
    asked: Mapping[str, int],
    other: Subject | None = None,
    pairs: Iterable[tuple[Size, Size]] = (),
) -> Chosen:
    """Choose sizes and inputs for a graph, and sizes for another that gets the same inputs.

    Args:
        subject: the graph.
        inputs: whether to take recorded ones.
        asked: sizes that are wanted.
        other: the other graph.
        pairs: what sizes of the first graph are in the other.

    Raises:
        UsageError: sizes that neither fit the other graph nor the recorded inputs.
        ReplayError: no inputs were recorded.
    """
    recorded = _Recorded(subject, other) if inputs == "recorded" else None
    if recorded is not None and asked:
        raise UsageError("recorded inputs have the sizes that they have", "", "leave --size out, or --inputs recorded")
    wanted = {name: size for name, size in asked.items() if name in subject.raw.sizes}
    sizes = choose_sizes(subject, wanted if recorded is None else recorded.sizes)
    others: dict[str, int] = {}
    if other is not None:
        sizes, others = agree(sizes, other, pairs, asked if recorded is None else {})
    if recorded is None:
        return Chosen(sizes, others)
    return Chosen(sizes, others, recorded.saved, tuple(recorded.names), tuple(recorded.notes))


class _Recorded:
    """The recorded inputs of a graph.

    Attributes:
        saved: those that the graph can be given.
        names: of these.
        sizes: the sizes that they have.
        notes: what is to be known of them.
    """

    def __init__(self, subject: Subject, other: Subject | None) -> None:
        self.subject = subject
        self.saved: list[Saved] = []
        self.names: list[str] = []
        self.sizes: dict[str, int] = {}
        self.notes: list[str] = []
        snapshot, dump, table = subject.snapshot, subject.dump, subject.table
        if snapshot is None or dump is None or table is None:
            raise ReplayError(
                f"no inputs were recorded for {subject.name}",
                "the file lies in no dump, or was changed since it was recorded",
                "give the dump and a selector, or leave --inputs out",
            )
        kept = _find(dump, [each.snapshot for each in (other, subject) if each is not None and each.snapshot])
        if kept.trial:
            self.notes.append("the recorded inputs are those that the engine made up to measure or to warm up")
        self._take(dump, kept, _places(dump, kept, snapshot, table), inputs_of(table))

    def _take(self, dump: Dump, kept: InputsKept, places: Mapping[int, int], nodes: list[Node]) -> None:
        files = {file.path: file for file in kept.files}
        lacking: dict[str, list[str]] = {}
        for index, node in enumerate(nodes):
            one = kept.inputs[places[index]] if index in places else KeptInput(left_out="it is not among the recorded")
            if node.name in self.subject.raw.made:
                lacking.setdefault("they mean something only in the process that compiled", []).append(node.name)
            elif one.file is not None and one.file in files:
                self.saved.append(Saved(index, str(dump.file(one.file)), files[one.file].digest))
                self.names.append(node.name)
                self._note_sizes(node, one)
            elif one.value is not None:
                self.saved.append(Saved(index, number=one.value))
                self.names.append(node.name)
                if isinstance(node.value, str) and node.value in self.subject.raw.sizes:
                    self.sizes[node.value] = int(one.value)
            else:
                self._note_sizes(node, one)
                lacking.setdefault(one.left_out or "they were not recorded", []).append(node.name)
        self.notes += [f"made with the seed: {', '.join(names)} ({why})" for why, names in lacking.items()]

    def _note_sizes(self, node: Node, one: KeptInput) -> None:
        """What the symbols of an input's sizes were."""
        for symbol, size in zip(node.shape or (), one.shape or (), strict=False):
            if isinstance(symbol, str) and symbol in self.subject.raw.sizes:
                self.sizes[symbol] = size


def _find(dump: Dump, snapshots: list[Snapshot]) -> InputsKept:
    """The inputs that were kept of what these graphs became; real ones before made-up ones. Raises ReplayError."""
    found: list[InputsKept] = []
    for snapshot in snapshots:
        pieces = {snapshot.piece, snapshot.owner_piece}
        found += [
            kept
            for kept in dump.inputs
            if kept.compilation == snapshot.compilation
            and kept.piece in pieces
            and snapshot.range in (None, kept.range)
            and (snapshot.phase not in ("forward", "backward") or kept.phase == snapshot.phase)
            and (snapshot.phase is not None or kept.phase != "backward")
        ]
    found.sort(key=lambda kept: kept.trial)
    if found:
        return found[0]
    places = ", ".join(dict.fromkeys(kept.selector for kept in dump.inputs))
    raise ReplayError(
        f"no inputs were recorded for {snapshots[0].selector}",
        f"there are {places}" if places else "the recording was not to keep them, or the graph was never called",
        "record with save_inputs='256MB' (CUTAWAY_SAVE_INPUTS=256MB, cutaway run --save-inputs 256MB), "
        "or leave --inputs out",
    )


def _places(dump: Dump, kept: InputsKept, snapshot: Snapshot, table: NodeTable) -> dict[int, int]:
    """Which of the kept inputs each input of a graph is: as the graph that was compiled takes them."""
    mine = inputs_of(table)
    last = _last(dump, kept)
    if last is None:  # a cache served it, and nothing is known of its graph
        names = {one.name: place for place, one in enumerate(kept.inputs) if one.name is not None}
        return {place: names[node.name] for place, node in enumerate(mine) if node.name in names}
    theirs = inputs_of(last.table)
    if len(theirs) != len(kept.inputs):
        return {}
    (part,) = diff(snapshot, last).parts
    place_of = {node.id: place for place, node in enumerate(theirs)}
    pairs = ((place, part.matching.after.get(node.id)) for place, node in enumerate(mine))
    return {place: place_of[other] for place, other in pairs if other in place_of}


def _last(dump: Dump, kept: InputsKept) -> Snapshot | None:
    """The last graph of what was compiled; None when there is none of it."""
    found = [
        snapshot
        for snapshot in dump.snapshots.values()
        if (snapshot.compilation, snapshot.piece, snapshot.range) == (kept.compilation, kept.piece, kept.range)
        and snapshot.phase == kept.phase
    ]
    return found[-1] if found else None
