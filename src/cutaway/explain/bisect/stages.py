"""Which stage of a piece's compile is the first whose graph computes something else, and at which node.

The graphs are in the dump, and the inputs were kept by the hands: so nothing of the engine is needed for this.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cutaway.dump.lineage.calls import Calls
from cutaway.dump.reader import Dump
from cutaway.dump.schema import File, InputsKept, KeptInput
from cutaway.dump.snapshot import Snapshot
from cutaway.errors import ReplayError
from cutaway.explain.bisect.seen import Event
from cutaway.replay.job import Answer, Graph, Job
from cutaway.replay.result import Replayed, Spot
from cutaway.replay.run import COMPILED, Options, choose_inputs, replay
from cutaway.replay.subject import Subject
from cutaway.replay.tell import Told


@dataclass(frozen=True)
class Stage:
    """A stage that computes something else than the piece that was captured.

    Attributes:
        snapshot: its graph.
        before: the last graph before it that is right.
        replayed: the two, one against the other.
    """

    snapshot: Snapshot
    before: Snapshot
    replayed: Replayed

    @property
    def spot(self) -> Spot | None:
        """Where they part."""
        return self.replayed.part


class Stages:
    """The graphs of one piece in one range.

    Args:
        dump: of a trial in which the piece was compiled.
        parted: what the hands told of the piece, with its inputs.
        limit: seconds for one replay.
        least: how many graphs there must be; one is enough where it is not compared with what is made of it.
    """

    def __init__(self, dump: Dump, parted: Event, limit: float = 120.0, least: int = 2) -> None:
        self.dump = dump
        self.parted = parted
        self.options = Options(inputs="recorded", limit=limit)
        self.compilation = _compilation(dump, parted)
        self.range = parted["range"] or None
        self.piece = _compiled_as(dump, self.compilation, parted["piece"], self.range)
        self.graphs = self._graphs(least)
        self._give_inputs()

    @property
    def captured(self) -> Snapshot:
        """The piece as it was captured: its eager graph."""
        return self.graphs[0]

    @property
    def last(self) -> Snapshot:
        """The last graph, of which Inductor makes code."""
        return self.graphs[-1]

    def name_of(self, number: int | None) -> str | None:
        """What the captured graph calls the node with that number; an equal piece has other names."""
        nodes = self.captured.nodes
        return nodes[number].name if number is not None and number < len(nodes) else None

    def _graphs(self, least: int) -> list[Snapshot]:
        """The graphs that differ, in the order of the compile."""
        found: dict[str, Snapshot] = {}
        for snapshot in self.dump.snapshots.values():
            mine = snapshot.compilation == self.compilation and snapshot.piece == self.piece
            is_whole = snapshot.range is None and snapshot.stage in ("piece", "captured")
            if mine and snapshot.phase != "backward" and (is_whole or snapshot.range == self.range):
                found.setdefault(snapshot.graph, snapshot)
        graphs = [one for one in found.values() if one.stage not in ("before_split", "after_split")]
        if len(graphs) < least:
            raise ReplayError(
                f"the graphs of {self.parted['piece']} are not in the dump",
                "its compile was not recorded: a cache gave the artifact, or Inductor is off",
                "run it again with an empty cache",
            )
        return graphs

    def _give_inputs(self) -> None:
        """Put the inputs that the hands kept where a replay looks for them."""
        inputs: list[KeptInput] = []
        files: list[File] = []
        for one in self.parted["inputs"]:
            kept = KeptInput(name=one.get("name"), left_out=one.get("left_out"), shape=one.get("shape"))
            if "number" in one:
                kept.value = one["number"]
            elif "path" in one:
                source = Path(one["path"])
                kept.file = f"inputs/{source.name}"
                target = self.dump.path / kept.file
                target.parent.mkdir(exist_ok=True)
                if not target.exists():
                    shutil.copyfile(source, target)
                files.append(File("inputs", kept.file, source.stat().st_size, one["digest"]))
            inputs.append(kept)
        self.dump.inputs[:] = [
            InputsKept(
                seq=0,
                time=0.0,
                compilation=self.compilation,
                selector=f"{self.compilation}/{self.piece}/inputs",
                phase=self.last.phase,
                piece=self.piece,
                range=self.range,
                inputs=inputs,
                files=files,
            )
        ]

    def is_wrong(self, snapshot: Snapshot, reference: Snapshot | None = None) -> Replayed | None:
        """Replay a graph against the captured one; None when it computes the same.

        Raises:
            ReplayError: it cannot be run.
        """
        found = replay(snapshot, reference or self.captured, self.options)
        return found if found.outcome == "apart" else None

    def first_wrong(self) -> Stage | None:
        """The first graph that computes something else; None when the last one is right.

        Found by halves: what was wrong once stays so. A graph that cannot be run is passed over.

        Raises:
            ReplayError: the last graph cannot be run.
        """
        whole = self.is_wrong(self.last)
        if whole is None:
            return None
        low, high, found = 0, len(self.graphs) - 1, whole
        skipped: set[int] = set()
        while True:
            between = [place for place in range(low + 1, high) if place not in skipped]
            if not between:
                break
            middle = between[len(between) // 2]
            try:
                wrong = self.is_wrong(self.graphs[middle])
            except ReplayError:
                skipped.add(middle)
                continue
            if wrong is not None:
                high, found = middle, wrong
            else:
                low = middle
        if low:  # the step alone: two graphs with nearly all nodes in common
            with suppress(ReplayError):
                found = self.is_wrong(self.graphs[high], self.graphs[low]) or found
        return Stage(self.graphs[high], self.graphs[low], found)

    def compiled(self) -> Replayed | None:
        """The last graph against what Inductor makes of it in a fresh process; None when that is the same.

        Raises:
            ReplayError: it cannot be compiled there.
        """
        found = replay(self.last, COMPILED, self.options)
        return found if found.outcome == "apart" else None

    def errand(self) -> Job:
        """The same, to be done within the process of a trial."""
        return Job(graphs=[self.graph_of(self.last)], compiled=True, memory=self.options.memory)

    def graph_of(self, snapshot: Snapshot) -> Graph:
        """A graph with the inputs that were kept, as a process that runs it takes it. Raises ReplayError."""
        subject = Subject.of(snapshot)
        chosen = choose_inputs(subject, "recorded", {})
        return Graph(subject.raw.text, subject.raw.title, chosen.sizes, chosen.saved)

    def told(self, job: Job, answer: Answer) -> Replayed:
        """What the answer to an errand says."""
        subject = Subject.of(self.last)
        known = [(name, name, one) for name, one in zip(answer.inside, answer.values, strict=False) if one is not None]
        return Told(subject, subject, answer, known).told(
            against=COMPILED,
            sizes=job.graphs[0].sizes,
            seed=job.seed,
            inputs=len(subject.raw.inputs),
            recorded=(),
            notes=(),
            results=list(enumerate(subject.raw.results)),
        )

    def output_code(self) -> str | None:
        """Inductor's code for the piece, as it was recorded; None where it was not."""
        place = (self.compilation, self.piece, self.range)
        codes = [one for one in self.dump.codes.values() if one.kind == "output_code"]
        return next((one.text for one in codes if (one.compilation, one.piece, one.range) == place), None)

    def kernels_of(self, node: str) -> tuple[str, ...]:
        """The kernels of Inductor's code that a node of the last graph is in."""
        place = (self.compilation, self.piece, self.range, self.last.phase)
        for snapshot in self.dump.snapshots.values():
            if (snapshot.compilation, snapshot.piece, snapshot.range, snapshot.phase) != place:
                continue
            found = [call.name for call in Calls(self.dump).of(snapshot) if node in call.nodes]
            if found:
                return tuple(dict.fromkeys(found))
        return ()


def _compilation(dump: Dump, parted: Event) -> str:
    names = list(dump.compilations)
    wanted = parted.get("compilation")
    if wanted in dump.compilations:
        return str(wanted)
    holders = [name for name in names if any(one.name == parted["piece"] for one in dump[name].pieces)]
    if len(holders) == 1 or len(names) == 1:
        return (holders or names)[0]
    raise ReplayError(f"the dump does not say which compilation {parted['piece']} is of", f"it has {', '.join(names)}")


def _compiled_as(dump: Dump, compilation: str, piece: str, span: str | None) -> str | None:
    """The piece whose compile this one's code is of: itself, or an equal one; None for a graph that was not split.

    Equal pieces need not be compiled once: an engine without caches compiles each.
    """
    for one in dump[compilation].pieces:
        if one.name == piece:
            own = any(snapshot.range == span for snapshot in one.snapshots)
            return one.name if own or one.same_as is None else one.same_as
    return None
