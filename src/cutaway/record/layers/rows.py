"""A node table as rows: one a node, ready to be compared and printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from cutaway.record.layers.words import ITEM_SIZES, REFERENCE, right_hand_side, short_dtype, type_text

Table = Mapping[str, Any]
Path = tuple[tuple[str, str], ...]
"""The layers around a node as (fqn, class), outermost first; the root's fqn is empty."""


@dataclass(slots=True)
class Row:
    """One node.

    Attributes:
        id, name, op, target, input: as in the node table.
        weight: the model path of a weight, `layers.0.mlp.up_proj.weight`; empty for any other node.
        text: the right-hand side, with `REFERENCE` for each node of `refs`.
        refs: the ids of the nodes it refers to.
        type: dtype and shape as text.
        path: the layers it is shown under; `known` tells whether the graph says so.
        source: `file:line`, or empty.
        provider: who implements the op, or empty.
        place: its index in `Graph.body`; -1 when it is not in there.
        first_use, last_use: the places of its users; -1 when it has none there.
    """

    id: int
    name: str
    op: str
    target: str
    input: str
    weight: str
    text: str
    refs: list[int]
    type: str
    path: Path
    known: bool
    source: str
    provider: str
    place: int = -1
    first_use: int = -1
    last_use: int = -1


class Graph:
    """A node table turned into rows.

    Args:
        table: a node table.
        layer_map: old layer fqn -> the fqn to show.
        providers: node name -> provider, over those in the table.
        only: keep the nodes below layers that match this glob; None for all.

    Attributes:
        rows: every node, by id.
        inputs, body, outputs: what is shown: placeholders, the nodes between, the output.
        graphs: the graphs inside this one, by attribute name.
        symbols: the table's symbols.
    """

    def __init__(
        self, table: Table, layer_map: Mapping[str, str], providers: Mapping[str, str], only: str | None
    ) -> None:
        nodes: Sequence[Mapping[str, Any]] = table.get("nodes") or ()
        self.symbols: Mapping[str, Any] = table.get("symbols") or {}
        self.rows = _Reader(table, layer_map, providers).rows(nodes)
        self.body = _body(self.rows.values(), only)
        self.inputs = [row for row in self.rows.values() if row.op == "placeholder" and only is None]
        self.outputs = [row for row in self.rows.values() if row.op == "output" and only is None]
        self._shapes = {int(node["id"]): node for node in nodes if node["op"] == "placeholder"}
        self._count_uses()
        nested: Mapping[str, Table] = table.get("graphs") or {}
        self.graphs = {name: Graph(inner, layer_map, providers, only) for name, inner in nested.items()}

    def weight(self, row: Row) -> tuple[str, int | None] | None:
        """dtype and bytes (None when unknown) of a placeholder that is a weight; None for any other."""
        node = self._shapes[row.id]
        shape = node.get("shape")
        if not row.weight or shape is None or not all(isinstance(n, int) for n in shape):
            return None
        dtype = str(node.get("dtype") or "?")
        size = ITEM_SIZES.get(dtype)
        for length in shape:
            size = None if size is None else size * length
        return short_dtype(dtype), size

    def written(self, row: Row, name: Callable[[Row], str]) -> str:
        """A node's right-hand side, with a name for each node it refers to.

        Args:
            row: the node.
            name: what to call another one.
        """
        if not row.refs:
            return row.text
        first, *parts = row.text.split(REFERENCE)
        texts = [name(self.rows[ref]) + part for ref, part in zip(row.refs, parts, strict=True)]
        return first + "".join(texts)

    def _count_uses(self) -> None:
        for place, row in enumerate(self.body):
            row.place = place
        for row in self.rows.values():
            place = row.place if row.op != "output" else len(self.body)
            for ref in row.refs:
                used = self.rows[ref]
                used.first_use = place if used.first_use < 0 else used.first_use
                used.last_use = max(used.last_use, place)


class _Reader:
    """Makes rows; keeps the texts that many nodes share."""

    def __init__(self, table: Table, layer_map: Mapping[str, str], providers: Mapping[str, str]) -> None:
        self._layer_map = layer_map
        self._providers = providers
        self._paths = [self._path(names) for names in table.get("layers") or ()]
        self._roots = {fqn.partition(".")[0] for path in self._paths for fqn, _ in path}
        self._sources = [_source(source) for source in table.get("sources") or ()]
        self._types: dict[object, str] = {}
        self._device = ""

    def rows(self, nodes: Sequence[Mapping[str, Any]]) -> dict[int, Row]:
        self._device = _most_common(str(node["device"]) for node in nodes if node.get("device"))
        return {int(node["id"]): self._row(node) for node in nodes}

    def _row(self, node: Mapping[str, Any]) -> Row:
        refs: list[int] = []
        layer, source = node.get("layer"), node.get("source")
        name, path = str(node["name"]), renamed_input(str(node.get("input") or ""), self._layer_map)
        return Row(
            id=int(node["id"]),
            name=name,
            op=str(node["op"]),
            target=str(node["target"]),
            input=path,
            weight=self._weight(path),
            text=right_hand_side(node, refs),
            refs=refs,
            type=self._type(node),
            path=() if layer is None else self._paths[layer],
            known=layer is not None,
            source="" if source is None else self._sources[source],
            provider=self._providers.get(name) or str(node.get("provider") or ""),
        )

    def _type(self, node: Mapping[str, Any]) -> str:
        outputs = node.get("outputs")
        if outputs:
            return "(" + ", ".join([self._type(output) or "_" for output in outputs]) + ")"
        shape, stride = node.get("shape"), node.get("stride")
        sizes = (None if shape is None else tuple(shape), None if stride is None else tuple(stride))
        key = (node.get("dtype"), node.get("value"), node.get("repr"), node.get("device"), sizes)
        text = self._types.get(key)
        if text is None:
            text = self._types[key] = type_text(node, self._device)
        return text

    def _path(self, names: Sequence[str]) -> Path:
        pairs = [name.rpartition(": ") for name in names]
        return tuple((self._layer_map.get(fqn, fqn), cls) for fqn, _, cls in pairs)

    def _weight(self, path: str) -> str:
        """The path of a weight: what begins with `self`, or with the name under which the layers stand."""
        root, dot, rest = path.partition(".")
        if not dot:
            return ""
        return rest if root == "self" else path if root in self._roots else ""


def renamed_input(path: str, layer_map: Mapping[str, str]) -> str:
    """A weight's model path with its layer renamed: by the innermost layer that the map has."""
    own = "self." if path.startswith("self.") else ""
    fqn, rest = path.removeprefix(own), ""
    while fqn and layer_map:
        if fqn in layer_map:
            return f"{own}{layer_map[fqn]}{rest}"
        fqn, _, last = fqn.rpartition(".")
        rest = f".{last}{rest}"
    return path


def _body(rows: Iterable[Row], only: str | None) -> list[Row]:
    """The nodes between inputs and output; one without a layer gets the place of the known node before it."""
    body = [row for row in rows if row.op not in ("placeholder", "output")]
    path = next((row.path for row in body if row.known), ())
    for row in body:
        if row.known:
            path = row.path
        row.path = path
    if only is None:
        return body
    return [row for row in body if any(fnmatchcase(fqn, only) for fqn, _ in row.path)]


def _source(source: Mapping[str, Any]) -> str:
    name = str(source.get("file") or "").replace("\\", "/").rpartition("/")[2]
    return f"{name}:{source.get('line')}" if name else ""


def _most_common(values: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return max(counts, key=lambda value: counts[value], default="")
