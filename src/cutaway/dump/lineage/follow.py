"""Follows nodes through all stages, both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from cutaway.dump.lineage.calls import Call, Calls
from cutaway.dump.lineage.cross import made_in, taken_by
from cutaway.dump.lineage.result import Captured, Gone, KernelCall, Line, Step, StepNode, Way
from cutaway.dump.lineage.spot import Ids, Spot
from cutaway.dump.lineage.trail import Trail
from cutaway.dump.schema import Source
from cutaway.dump.snapshot import Snapshot

LAST = "post_grad"
SPLIT = "after_split"
Reached = list[tuple[Spot, Ids]]


class Follower:
    """Makes ways; what many of them have in common is made once.

    Args:
        trail: the dump's order and origins.
        calls: the calls in its output codes.
        stage: which snapshots to keep as steps; all ways are followed to their ends whatever it says.
    """

    def __init__(self, trail: Trail, calls: Calls, stage: Callable[[Spot], bool]) -> None:
        self._trail = trail
        self._calls = calls
        self._stage = stage
        self._step_nodes: dict[tuple[str, str | None, int], StepNode] = {}
        self._texts: dict[tuple[str, int], tuple[str, str, str]] = {}
        self._operators: dict[tuple[str, Ids], tuple[str, ...]] = {}
        self._unknown_origins: dict[str, bool] = {}
        self._calls_of_pieces: dict[tuple[str, str | None], Mapping[str, int]] = {}
        self.last: dict[str, Spot] = {}

    def way(self, spot: Spot, ids: Ids) -> Way:
        """The way of some nodes of one snapshot. Raises DumpError when it cannot be read."""
        trail = self._trail
        back = trail.back(spot, ids)
        first, stems = back[-1]
        reached = [(each, those) for each, those in reversed(back) if those]
        ahead = self._ahead(spot, ids, back)
        captured = self._captured(first, stems)
        lines: tuple[Line | None, ...] = tuple(node.line for node in captured)
        layers: tuple[str, ...] = tuple(node.layer for node in captured)
        nodes = trail.nodes(spot, ids)
        if not captured:
            table = trail.table(spot.snapshot)
            lines = tuple(line(table.source(node)) for node in nodes)
            layers = tuple(layer_of(trail.path(spot, node)) for node in nodes)
        return Way(
            compilation=spot.snapshot.compilation or "",
            start=self.title(spot, None, ids),
            nodes=self._nodes(spot, ids),
            captured=captured,
            lines=tuple(dict.fromkeys(each for each in lines if each is not None)),
            layers=tuple(dict.fromkeys(each for each in layers if each)),
            steps=tuple(self._step(each, those) for each, those in [*reached, *ahead] if self._stage(each)),
            kernels=tuple(self._kernels([(spot, ids), *ahead])),
            gone=tuple(gone for each, those in [(spot, ids), *ahead] for gone in self._gone(each, those)),
            ends=tuple(self._selector(each) for each, _ in [(spot, ids), *ahead] if self._is_end(each)),
            unknown=tuple(self._unknown(back, ahead, captured)),
            made_in=tuple(self._step(*each) for each in made_in(trail, back)),
            taken_by=tuple(self._step(*each) for each in taken_by(trail, back, ahead)),
        )

    def unknown(self, spot: Spot, call: Call) -> Way:
        """A call of a kernel of which it was not recorded what it computes."""
        self.last.setdefault(spot.snapshot.selector, spot)
        return Way(
            compilation=spot.snapshot.compilation or "",
            start=self.title(spot, call, frozenset()),
            nodes=(),
            captured=(),
            lines=(),
            layers=(),
            steps=(),
            kernels=(self._kernel(spot, call, ()),),
            unknown=(f"which nodes {call.name} computes was not recorded",),
        )

    def _ahead(self, spot: Spot, ids: Ids, back: Reached) -> Reached:
        """What comes after; for a node within a piece, also the call of the piece, and for such a call, its inside."""
        trail = self._trail
        ahead = trail.ahead(spot, ids)
        if spot.snapshot.stage == SPLIT and len(back) > 1 and back[1][1]:
            inside = trail.ahead(*back[1])
            return [(each, those) for each, those in inside if each.snapshot.stage != SPLIT]
        for each, those in back:
            if spot.piece is None or each.piece is not None or not those:
                continue
            split = trail.split(each)
            call = self._piece_calls(split).get(_number(spot.piece)) if split is not None else None
            return ahead if split is None or call is None else [(split, frozenset((call,))), *ahead]
        return ahead

    def _piece_calls(self, split: Spot) -> Mapping[str, int]:
        """Number of a piece -> the node that calls it: `submod_2` for `piece_02`."""
        if split.key not in self._calls_of_pieces:
            table = self._trail.readable(split.snapshot)
            calls = [node for node in (table.nodes if table else ()) if node.op == "call_module"]
            self._calls_of_pieces[split.key] = {_number(node.target): node.id for node in calls}
        return self._calls_of_pieces[split.key]

    def title(self, spot: Spot, call: Call | None, ids: Ids) -> str:
        """A kernel's call, or nodes, by their place."""
        if call is None:
            return f"{self._selector(spot)}:{','.join(node.name for node in self._trail.nodes(spot, ids))}"
        number = f"#{call.number}" if call.number > 1 else ""
        return f"{self._selector(spot).rpartition('/')[0]}:{call.name}{number}"

    # -- parts of a way ---------------------------------------------------------------------------------

    def _captured(self, spot: Spot, ids: Ids) -> tuple[Captured, ...]:
        if self._trail.before(spot) is not None or not ids:
            return ()
        table = self._trail.readable(spot.snapshot)
        if table is None:
            return ()
        found: list[Captured] = []
        for node in self._trail.nodes(spot, ids):
            path = self._trail.path(spot, node)
            here = line(table.source(node))
            found.append(Captured(node.name, node.operator, node.type, layer_of(path), here, path))
        return tuple(found)

    def _step(self, spot: Spot, ids: Ids) -> Step:
        snapshot = spot.snapshot
        if (snapshot.graph, ids) not in self._operators:
            numbers = sorted(ids)
            texts = tuple(self._text(snapshot, number)[1] for number in numbers)
            self._operators[snapshot.graph, ids] = texts
        where = (snapshot.stage, snapshot.phase, spot.piece, snapshot.range, spot.compiled_with)
        operators = self._operators[snapshot.graph, ids]
        return Step(snapshot.selector, spot.leaf, *where, operators, lambda: self._nodes(spot, ids))

    def _nodes(self, spot: Spot, ids: Ids) -> tuple[StepNode, ...]:
        return tuple(self._node(spot, number) for number in sorted(ids))

    def _node(self, spot: Spot, number: int) -> StepNode:
        key = (*spot.key, number)
        if key not in self._step_nodes:
            path = self._trail.path(spot, self._trail.table(spot.snapshot).nodes[number])
            self._step_nodes[key] = StepNode(*self._text(spot.snapshot, number), layer_of(path))
        return self._step_nodes[key]

    def _text(self, snapshot: Snapshot, number: int) -> tuple[str, str, str]:
        """Name, operator and type of a node."""
        key = (snapshot.graph, number)
        if key not in self._texts:
            node = self._trail.table(snapshot).nodes[number]
            self._texts[key] = (node.name, node.operator, node.type)
        return self._texts[key]

    def _kernels(self, reached: Reached) -> Iterable[KernelCall]:
        for spot, ids in reached:
            if spot.snapshot.stage != LAST:
                continue
            self.last.setdefault(spot.snapshot.selector, spot)
            mine = {node.name: node.id for node in self._trail.nodes(spot, ids)}
            for call in self._calls.of(spot.snapshot):
                names = [name for name in call.nodes if name in mine]
                if names:
                    yield self._kernel(spot, call, [self._node(spot, mine[name]) for name in names])

    def _kernel(self, spot: Spot, call: Call, nodes: Sequence[StepNode]) -> KernelCall:
        names = {node.name for node in nodes}
        return KernelCall(
            kernel=call.name,
            number=call.number,
            selector=call.code.selector,
            piece=spot.piece,
            range=spot.snapshot.range,
            phase=spot.snapshot.phase,
            file=next((file.path for file in call.code.owner.files), None),
            lines=call.lines,
            kernel_file=call.kernel_file,
            nodes=tuple(nodes),
            others=tuple(name for name in call.nodes if name not in names),
        )

    def _unknown(self, back: Reached, ahead: Reached, captured: Sequence[Captured]) -> Iterable[str]:
        """What the dump does not tell of a way."""
        spot, ids = back[-1]
        if not ids:
            yield f"where it stems from before {self._selector(back[-2][0])} was not recorded"
        elif self._trail.before(spot) is not None:
            yield f"what came before {self._selector(spot)} cannot be read"
        elif any(node.line is None for node in captured if node.operator not in ("input", "constant", "output")):
            yield "the line of Python of some captured nodes was not recorded"
        for each, _ in [back[0], *ahead]:
            if each.snapshot.stage == LAST and not self._calls.of(each.snapshot):
                yield f"which kernels {self._selector(each)} became was not recorded"

    def _after(self, spot: Spot) -> list[Spot]:
        return [each for each in self._trail.after(spot) if each.snapshot.stage != SPLIT]

    def _is_end(self, spot: Spot) -> bool:
        """Whether a graph is not compiled any further: a last graph, or a piece that runs as it is."""
        return spot.snapshot.stage in (LAST, "piece") and not self._after(spot)

    def _gone(self, spot: Spot, ids: Ids) -> Iterable[Gone]:
        """The snapshots after a spot where nothing stems from its nodes; none when it goes on in one of several."""
        following = self._trail.following(spot, ids)
        if spot.snapshot.stage == SPLIT or any(each.snapshot.stage != SPLIT for each, _ in following):
            return
        spots = self._after(spot)
        if len(spots) > 1 and all(after.snapshot.stage == "piece" for after in spots):
            certain = not any(map(self._has_unknown, spots))
            yield Gone(self._selector(spot), "any piece", by_pass=False, certain=certain)
            return
        for after in spots:
            by_pass = after.snapshot.pass_name is not None
            yield Gone(self._selector(after), after.leaf, by_pass, not self._has_unknown(after))

    def _has_unknown(self, spot: Spot) -> bool:
        """Whether a graph has calls of which it is not known what they stem from."""
        if spot.snapshot.selector not in self._unknown_origins:
            table, origins = self._trail.readable(spot.snapshot), self._trail.origins(spot.snapshot)
            pairs = [] if table is None or origins is None else list(zip(table.nodes, origins, strict=True))
            unknown = not pairs or any(not each for node, each in pairs if node.is_call)
            self._unknown_origins[spot.snapshot.selector] = unknown
        return self._unknown_origins[spot.snapshot.selector]

    def _selector(self, spot: Spot) -> str:
        """The snapshot's selector, under the name of the piece that is meant."""
        selector = spot.snapshot.selector
        if spot.compiled_with is None:
            return selector
        return selector.replace(f"/{spot.compiled_with}/", f"/{spot.piece}/", 1)


def _number(name: str) -> str:
    """The number at the end of a name, without zeros before it."""
    return name.rpartition("_")[2].lstrip("0") or "0"


def line(source: Source | None) -> Line | None:
    """A source line of a node table."""
    return None if source is None else Line(source.file, source.line, source.function, source.code)


def layer_of(path: Sequence[str]) -> str:
    """The innermost layer of a path; empty when unknown."""
    return path[-1] if path else ""
