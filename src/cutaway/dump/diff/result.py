"""What a diff says: rewrites, each with all the places where it was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from cutaway.dump.diff.changes import Change
from cutaway.dump.diff.matching import Matching
from cutaway.dump.schema import NodeTable, Size
from cutaway.dump.snapshot import Snapshot
from cutaway.record.layers.words import short_name

MINUS = "\N{MINUS SIGN}"
ARROW = "\N{RIGHTWARDS ARROW}"
TIMES = "\N{MULTIPLICATION SIGN}"
ONLY_THE_ORDER = "only the order changed"
MOST = 8
"""So many operators are named."""
Kind = Literal["inserted", "deleted", "replaced", "changed", "moved"]


@dataclass(frozen=True)
class Part:
    """Two graphs that are compared, and which node is which.

    Attributes:
        before, after: the snapshots.
        piece: the piece that it stands for: that of the snapshots, or one that repeats it; None for whole graphs.
        layers: for a repeated piece, layers of the tables -> its own.
        tables: their graphs.
        matching: which node is which.
        recorded: whether that goes by the origins in the dump; otherwise by structure.
    """

    before: Snapshot
    after: Snapshot
    piece: str | None
    layers: Mapping[str, str] = field(repr=False)
    tables: tuple[NodeTable, NodeTable] = field(repr=False)
    matching: Matching = field(repr=False)
    recorded: bool


def providers_of(snapshot: Snapshot) -> Mapping[str, str]:
    """Node name -> who implements it; by the names of the snapshot whose files hold the graph."""
    known = {node.name for node in snapshot.owner.table.nodes}
    own = snapshot.providers if known.issuperset(snapshot.providers) else {}
    return snapshot.owner.providers | own


@dataclass(frozen=True)
class Place:
    """Where a rewrite was found.

    Attributes:
        part: index into the diff's parts.
        layer: fqn of the innermost layer around all its nodes; empty for the root, None when unknown.
        layers: fqns of the innermost layers that its nodes are in, each once.
        before, after: ids of the nodes that became the others; for a change, of the node before and after.
        changes: how nodes differ that stayed.
        uses: (user, old, new): a node before that stayed reads `new` in place of `old`; ids.
    """

    part: int
    layer: str | None
    layers: tuple[str, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    changes: tuple[Change, ...] = ()
    uses: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class Absent:
    """Layers like those where a rewrite was found, in which it was not.

    Attributes:
        layers: their fqns.
        reason: why, as far as the graph tells.
    """

    layers: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Rewrite:
    """These nodes became those, in all the places where it is the same up to names and the layer's number.

    Attributes:
        kind: "replaced", "inserted", "deleted", "changed" (in place) or "moved" (across a write, or an input).
        before, after: operators of the nodes, in short.
        what: for a change, in what: `args`, `dtype`, `shape`, …
        cls: class of the layer; empty when unknown.
        providers: who implements what became of it.
        passes: what did it: passes, or stages, between the two graphs; empty when neither comes from the other.
        types: dtype and shape of the values that other nodes read: before, and after.
        places: where it was found, in the order of the graph before.
        absent: layers of the same kind where it was not found.
    """

    kind: Kind
    before: tuple[str, ...]
    after: tuple[str, ...]
    what: tuple[str, ...]
    cls: str
    providers: tuple[str, ...]
    types: tuple[tuple[str, str], ...]
    places: tuple[Place, ...]
    absent: tuple[Absent, ...] = ()
    passes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """In how many places it was found."""
        return len(self.places)

    @cached_property
    def layers(self) -> tuple[str | None, ...]:
        """The layers in which it was found, each once, in order; None for unknown."""
        return tuple(dict.fromkeys(place.layer for place in self.places))

    @property
    def often(self) -> str:
        """`×31 of 32`: in how many places it was found, of how many where it might have been."""
        absent = sum(len(each.layers) for each in self.absent)
        return f"{TIMES}{self.count}" + (f" of {self.count + absent}" if absent else "")

    @property
    def is_renaming(self) -> bool:
        """Whether the nodes only have an operator of another name for the same thing."""
        return self.what == ("target",)

    @property
    def text(self) -> str:
        """`rms_norm + quant_fp8 → rms_norm_quant`; for other kinds `clone deleted`."""
        if self.kind == "replaced":
            return f"{plus(self.before)} {ARROW} {plus(self.after)}"
        ops = plus(self.before or self.after)
        if self.kind == "moved":
            return "inputs in another order" if set(self.before) == {"input"} else f"{ops} moved across a write"
        return f"{ops}: {', '.join(self.what)} changed" if self.kind == "changed" else f"{ops} {self.kind}"


@dataclass(frozen=True)
class Inside:
    """What differs in a graph inside of the graphs, such as a branch of a `torch.cond`.

    Attributes:
        operator: what the node does that holds it, in short.
        nodes: names of that node, before and after.
        names: what the graph is called there, before and after.
        layers: fqns of the innermost layers in which it is so, each once; empty for the root.
        diff: the difference; ids and places are of the graph inside, and nothing is recorded of what stems from what.
        count: in how many places it is so.
    """

    operator: str
    nodes: tuple[str, str]
    names: tuple[str, str]
    layers: tuple[str, ...]
    diff: Diff
    count: int = 1


@dataclass(frozen=True)
class Diff:
    """The difference of two graphs, or of several pairs of graphs (the pieces of a split model).

    Attributes:
        parts: the pairs of graphs.
        rewrites: what became of what, folded over identical layers.
        sizes: sizes that are another kind of number in the graph after: ("s72", 8).
        inside: what differs in graphs inside of them. The nodes that hold those graphs are among the rewrites, too, as
            changed in their `graph`.
    """

    parts: tuple[Part, ...]
    rewrites: tuple[Rewrite, ...]
    sizes: tuple[tuple[Size, Size], ...] = ()
    inside: tuple[Inside, ...] = ()

    @property
    def before(self) -> Snapshot:
        """The snapshot before; of the first pair when there are several."""
        return self.parts[0].before

    @property
    def after(self) -> Snapshot:
        """The snapshot after; of the first pair when there are several."""
        return self.parts[0].after

    @property
    def is_empty(self) -> bool:
        """Whether the graphs are equal up to names and an order that makes no difference."""
        return not self.rewrites and not self.sizes and not self.inside

    @property
    def is_reordered(self) -> bool:
        """Whether the nodes stand in another order, which makes no difference, and nothing else is another."""
        return self.is_empty and not all(part.matching.is_in_order for part in self.parts)

    @property
    def nodes(self) -> tuple[int, int]:
        """How many nodes there are, before and after."""
        before, after = ([len(part.tables[side].nodes) for part in self.parts] for side in (0, 1))
        return sum(before), sum(after)

    @cached_property
    def ops_delta(self) -> dict[str, int]:
        """Operator -> how many more (or fewer) of it there are, largest change first."""
        change: Counter[str] = Counter()
        tables = {id(table): table for part in self.parts for table in part.tables}  # pieces that repeat one share it
        counts = {key: op_counts(table) for key, table in tables.items()}
        for part in self.parts:
            change.update(counts[id(part.tables[1])])
            change.subtract(counts[id(part.tables[0])])
        names = sorted(change, key=lambda name: (-abs(change[name]), name))
        return {name: change[name] for name in names if change[name]}

    @property
    def summary(self) -> str:
        """`812 → 740 nodes, rms_norm −64, fused_add_rms_norm +64`, in one line."""
        return self.summarised()

    def summarised(self, most: int = MOST) -> str:
        """`summary`, with the counts of at most so many operators: fewer of them first, then more of them."""
        before, after = self.nodes
        change = f"{thousands(before)} {ARROW} " if before != after else ""
        nodes = f"{change}{thousands(after)} nodes"
        if self.is_empty:
            return f"{nodes}, {ONLY_THE_ORDER if self.is_reordered else 'no difference'}"
        delta = self.ops_delta
        shown = _largest(delta, most if len(delta) > most + 1 else len(delta))
        texts = [f"{name} {signed(count)}" for name, count in shown]
        more = len(delta) - len(texts)
        texts += [f"{more} other operators"] if more > 0 else []
        changes = [place.changes for each in self.rewrites for place in each.places]
        changed = sum(len({change.before for change in some}) for some in changes)
        texts += [f"{thousands(changed)} changed in place"] if changed else []
        texts += [f"size {left} {ARROW} {right}" for left, right in self.sizes]
        held = ", ".join(dict.fromkeys(each.operator for each in self.inside))
        texts += [f"graphs inside of {held} differ"] if held else []
        return ", ".join([nodes, *(texts or ["the same operators"])])


def _largest(delta: Mapping[str, int], most: int) -> list[tuple[str, int]]:
    """The largest changes, half of them of what there is less of, as far as there is that much."""
    less = [pair for pair in delta.items() if pair[1] < 0]
    more = [pair for pair in delta.items() if pair[1] > 0]
    half = max(most // 2, most - len(more))
    return less[:half] + more[: most - min(half, len(less))]


def op_counts(table: NodeTable) -> Counter[str]:
    """How often each operator is called in a graph, by its short name."""
    return Counter(op_name(node.op, node.target) for node in table.nodes if node.op.startswith("call_"))


def op_name(op: str, target: str) -> str:
    """What a node does, in short: an operator's short name, or what else it is."""
    if op == "call_function":
        return short_name(target)
    return {"placeholder": "input", "get_attr": "constant", "output": "output"}.get(op, target)


def plus(ops: Sequence[str]) -> str:
    """`pow + mean + mul ×2`: each operator once, where it first stands; taking a result out is not worth a word."""
    counts = Counter([name for name in ops if name != "getitem"] or ops)
    texts = [name if counts[name] == 1 else f"{name} {TIMES}{counts[name]}" for name in counts]
    more = len(texts) - MOST
    return " + ".join([*texts[:MOST], f"{more} other operators"] if more > 1 else texts)


def signed(count: int) -> str:
    return f"+{thousands(count)}" if count > 0 else f"{MINUS}{thousands(-count)}"


def thousands(number: int) -> str:
    """A number with a thin space between thousands, as the other texts of a dump have it."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if number >= 10000 else str(number)
