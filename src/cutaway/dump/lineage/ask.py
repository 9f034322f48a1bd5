"""What a question is about: from the text of NODE to the nodes where ways begin.

    SELECTOR:NAME        a node of a snapshot, or a kernel of an output code; also of all that a part of a selector fits
    file.py:LINE         a line of the model
    layers.3.mlp         a layer, or several: layers.*.mlp, layers.0–3
    cpp_fused_add_0      a kernel, all its calls; `#2` behind it: its second call
    mul_7                a node, wherever one is called so

`source:`, `layer:`, `kernel:` and `name:` before it say which of these is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches

from cutaway.dump.lineage.calls import LIBRARIES, Calls
from cutaway.dump.lineage.light import LightTable
from cutaway.dump.lineage.node import no_such_node
from cutaway.dump.lineage.question import Question, Start
from cutaway.dump.lineage.spot import Ids, Spot
from cutaway.dump.lineage.trail import Trail
from cutaway.dump.query.glob import glob, is_glob
from cutaway.dump.select import matching, unknown
from cutaway.dump.snapshot import Code, Snapshot
from cutaway.errors import DumpError, SelectorError

SHOWN = 6
"""How many names an error lists."""


class Asker:
    """Understands questions about one dump.

    Args:
        trail: the dump's snapshots.
        calls: the calls in its output codes.
    """

    def __init__(self, trail: Trail, calls: Calls) -> None:
        self._trail = trail
        self._calls = calls
        self._dump = trail.dump

    def ask(self, text: str) -> Question:
        """What a text means.

        Raises:
            SelectorError: nothing is called so; with the nearest names.
        """
        kinds: dict[str, Callable[[str], Question | None]] = {
            "source": self._source,
            "layer": self._layer,
            "kernel": self._kernel,
            "name": self._name,
        }
        prefix, colon, rest = text.partition(":")
        if colon and prefix in kinds:
            found = kinds[prefix](rest)
        elif colon:
            found = self._source(text) or self._scoped(text)
        else:
            found = self._layer(text) if is_glob(text) else None
            found = found or self._kernel(text) or self._layer(text) or self._name(text)
        if found is None or not found.starts:
            raise self._nothing(text)
        others = self._also_called(text) if found.kind == "layer" and not colon else ""
        return Question(text, found.kind, found.starts, (others,) if others else ())

    # -- SELECTOR:NAME ----------------------------------------------------------------------------------

    def _scoped(self, text: str) -> Question | None:
        """A node or kernel among what a selector, or a part of one, fits."""
        selector, _, name = text.rpartition(":")
        if name.isdecimal() and not matching(selector, self._dump.selectors):
            raise self._nothing(text)
        spots, codes = self._scope(selector)
        exact = len(spots) == 1
        found = [Start(spot, ids) for spot in spots if (ids := self._called(spot, name))]
        if exact and found:
            equals = [Start(other, found[0].ids) for other in self._trail.equals(spots[0])]
            return Question(text, "node", (*found, *equals))
        if found:
            return Question(text, "node", tuple(self._earliest(found)))
        kernel = self._kernel(name, frozenset(codes))
        if kernel is not None:
            return kernel
        raise self._no_such_name(name, selector, spots, codes)

    def _scope(self, selector: str) -> tuple[list[Spot], list[str]]:
        """The snapshots and codes that a part of a selector fits, those that stand in for a piece included."""
        found = matching(selector, self._dump.selectors)
        snapshots, codes = self._dump.snapshots, self._dump.codes
        if found:
            spots = [self._trail.spot(snapshots[each]) for each in found if each in snapshots]
            return spots, [each for each in found if each in codes]
        for compilation in self._dump:
            for piece in compilation.pieces:
                if piece.name in selector.split("/"):
                    return self._stood_in_for(compilation.name, piece.name, selector)
        raise unknown(selector, self._dump.selectors)

    def _stood_in_for(self, compilation: str, piece: str, selector: str) -> tuple[list[Spot], list[str]]:
        """What a selector means for a piece that was compiled with another."""
        spots: list[Spot] = []
        codes: list[str] = []
        for first, compile_range, change in self._trail.stand_ins(compilation, piece):
            wanted = "/".join(first if part == piece else part for part in selector.split("/"))
            for name in matching(wanted, self._dump.selectors):
                snapshot, code = self._dump.snapshots.get(name), self._dump.codes.get(name)
                if snapshot is not None and (snapshot.piece, snapshot.range) == (first, compile_range):
                    spots.append(Spot(snapshot, piece, change))
                elif code is not None and (code.piece, code.range) == (first, compile_range):
                    codes.append(name)
        if not spots and not codes:
            self._dump.find(selector)  # says why there is no such thing
        return spots, codes

    def _called(self, spot: Spot, name: str) -> Ids:
        table = self._trail.readable(spot.snapshot)
        return frozenset(node.id for node in (table.nodes if table else ()) if node.name == name)

    # -- a node, wherever it is -------------------------------------------------------------------------

    def _name(self, name: str) -> Question | None:
        spots = [self._trail.spot(each) for each in self._dump.snapshots.values() if each.stage != "after_split"]
        found = [Start(spot, ids) for spot in spots if (ids := self._called(spot, name))]
        split = [self._trail.spot(each) for each in self._dump.snapshots.values() if each.stage == "after_split"]
        found = found or [Start(spot, ids) for spot in split if (ids := self._called(spot, name))]
        return Question(name, "node", tuple(self._earliest(found))) if found else None

    def _earliest(self, starts: Sequence[Start]) -> Iterator[Start]:
        """Those that do not just carry on, under the same name, a node of the snapshot before."""
        for start in starts:
            before = self._trail.before(start.spot)
            origins = self._trail.origins(start.spot.snapshot) if before is not None else None
            if before is None or origins is None:
                yield start
                continue
            names = [self._trail.table(start.spot.snapshot).nodes[number].name for number in start.ids]
            stems = frozenset[int]().union(*(origins[number] for number in start.ids))
            earlier = [self._trail.table(before.snapshot).nodes[number].name for number in stems]
            if not (earlier and set(earlier) == set(names) and any(other.spot.key == before.key for other in starts)):
                yield start

    # -- kernels ----------------------------------------------------------------------------------------

    def _kernel(self, name: str, codes: frozenset[str] | None = None) -> Question | None:
        """The nodes that a kernel computes, in each code that calls it."""
        wanted = glob(name) if is_glob(name) else None
        starts: list[Start] = []
        for snapshot in self._dump.snapshots.values():
            if not _may_have(self._calls.code(snapshot), name, wanted) or snapshot.stage != "post_grad":
                continue
            if codes is not None and self._code_name(snapshot) not in codes:
                continue
            spot = self._trail.spot(snapshot)
            ids = {node.name: node.id for node in self._trail.table(snapshot).nodes}
            for call in self._calls.of(snapshot):
                known = {call.name, f"{call.name}#{call.number}"}
                if name in known or (wanted is not None and any(map(wanted, known))):
                    nodes = frozenset(ids[node] for node in call.nodes if node in ids)
                    starts += [Start(each, nodes, "", call) for each in (spot, *self._with(spot))]
        return Question(name, "kernel", tuple(starts)) if starts else None

    def _with(self, spot: Spot) -> list[Spot]:
        """The pieces that a last graph was compiled for besides its own."""
        return [other for other in self._trail.equals(spot) if other.compiled_with is not None]

    def _code_name(self, snapshot: Snapshot) -> str | None:
        code = self._calls.code(snapshot)
        return None if code is None else code.selector

    # -- lines and layers of the model ------------------------------------------------------------------

    def _captured(self) -> Iterator[tuple[Spot, LightTable]]:
        """The first graph of each compilation that can be read."""
        for compilation in self._dump:
            for snapshot in compilation.snapshots[:1]:
                table = self._trail.readable(snapshot)
                if table is not None:
                    yield self._trail.spot(snapshot), table

    def _source(self, text: str) -> Question | None:
        """A line of the model: `qwen3.py:162`, with as much of the path as is needed."""
        file, _, number = text.rpartition(":")
        if not number.isdecimal() or not file or len(number) > 9:
            return None
        wanted = int(number)
        starts: list[Start] = []
        lines: set[int] = set()
        for spot, table in self._captured():
            mine = {index for index, each in enumerate(table.sources) if _is_file(each.file, file)}
            used = {node.source for node in table.nodes if node.is_call}
            lines |= {table.sources[index].line for index in mine & used}
            here = {index for index in mine if table.sources[index].line == wanted}
            starts += self._by_place(spot, table, here, None)
        if not starts and lines:
            near = sorted(sorted(lines, key=lambda line: abs(line - wanted))[:SHOWN])
            raise SelectorError(
                f"no captured node stems from line {wanted} of {file}",
                f"the lines nearest to it that have nodes are {', '.join(map(str, near))}",
                f"try {file}:{min(near, key=lambda line: abs(line - wanted))}",
                candidates=tuple(f"{file}:{line}" for line in near),
            )
        return Question(text, "source", tuple(starts)) if starts else None

    def _layer(self, text: str) -> Question | None:
        """A layer by its fqn or a glob of it, with all below it; or all layers of a class."""
        if not text:
            return None
        test = glob(text, numbers=True)
        for part in (0, 2):  # its fqn, its class
            starts: list[Start] = []
            for spot, table in self._captured():
                inside: dict[int, str] = {}
                for index, path in enumerate(table.layers):
                    fits = (each for each in path if (part == 2 or ": " in each) and test(each.rpartition(": ")[part]))
                    layer = next(fits, None)
                    if layer is not None:
                        inside[index] = layer
                starts += self._by_place(spot, table, None, inside)
            if starts:
                return Question(text, "layer", tuple(starts))
        return None

    def _by_place(
        self, spot: Spot, table: LightTable, sources: set[int] | None, layers: Mapping[int, str] | None
    ) -> Iterator[Start]:
        """The captured calls of these lines, or in these layers; those of one line in one layer together."""
        groups: dict[tuple[int | None, int | None], set[int]] = {}
        for node in table.nodes:
            in_lines = sources is None or node.source in sources
            if node.is_call and in_lines and (layers is None or node.layer in layers):
                groups.setdefault((node.layer, node.source), set()).add(node.id)
        for (layer, source), ids in groups.items():
            if layers is not None and layer is not None:
                yield Start(spot, frozenset(ids), layers[layer])
            elif source is not None:
                where = f" in {table.layers[layer][-1]}" if layer is not None and table.layers[layer] else ""
                name = table.sources[source].file.replace("\\", "/").rpartition("/")[2]
                yield Start(spot, frozenset(ids), f"{name}:{table.sources[source].line}{where}")

    # -- errors -----------------------------------------------------------------------------------------

    def _also_called(self, name: str) -> str:
        """A note, when a layer's name is a node's as well."""
        if "." in name or is_glob(name) or self._name(name) is None:
            return ""
        return f"{name!r} is taken for a layer; for the node of this name ask for 'name:{name}'"

    def _no_such_name(self, name: str, selector: str, spots: Sequence[Spot], codes: Sequence[str]) -> DumpError:
        if spots and not any(self._trail.readable(spot.snapshot) for spot in spots):
            return DumpError(self._trail.problems[spots[0].snapshot.selector].rstrip("."))
        tables = [self._trail.readable(spot.snapshot) for spot in spots]
        names = list(dict.fromkeys(node.name for table in tables if table for node in table.nodes))
        names += [call for code in codes for call in self._dump.codes[code].kernels]
        return no_such_node(name, names, spots[0].snapshot.selector if len(spots) == 1 else selector)

    def _nothing(self, text: str) -> SelectorError:
        """Nothing is called so: with what comes nearest."""
        if self._trail.problems and not any(self._trail.readable(each) for each in self._dump.snapshots.values()):
            raise DumpError(next(iter(self._trail.problems.values())).rstrip("."))
        names: dict[str, None] = {}
        for code in self._dump.codes.values():
            names.update(dict.fromkeys(code.kernels))
        tables = [self._trail.readable(each) for each in self._dump.snapshots.values()]
        for table in {id(each): each for each in tables if each is not None}.values():
            names.update(dict.fromkeys(layer.rpartition(": ")[0] for path in table.layers for layer in path))
            names.update(dict.fromkeys(node.name for node in table.nodes if node.is_call))
        bare = text.partition(":")[2] if text.partition(":")[0] in ("source", "layer", "kernel", "name") else text
        near = tuple(get_close_matches(bare, [name for name in names if name], 3))
        cure = f"did you mean {' or '.join(near)}" if near else "give SELECTOR:NODE, file.py:LINE, a layer or a kernel"
        return SelectorError(f"no node, line, layer or kernel is called {text!r}", "", cure, candidates=near)


def _may_have(code: Code | None, name: str, wanted: Callable[[str], bool] | None) -> bool:
    """Whether a code may call a kernel: it was recorded, or the text may tell."""
    if code is None:
        return False
    if wanted is not None or not code.kernels or name.startswith(LIBRARIES) or "_fused_" in name:
        return True
    kernel = name.partition("#")[0]
    return any(call.partition("#")[0] == kernel for call in code.kernels)


def _is_file(path: str, wanted: str) -> bool:
    path, wanted = path.replace("\\", "/"), wanted.replace("\\", "/")
    return path == wanted or path.endswith(f"/{wanted}")
