"""Which node is which, and what became of the others: on random graphs, whatever was done to them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

import msgspec
import pytest
from effort import steps
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_graphs import Expected, Graphs, N, near, table
from table_maker import TableMaker, decoder

from cutaway.dump.diff import match_nodes
from cutaway.dump.diff.changes import Comparison
from cutaway.dump.diff.find import Found, find
from cutaway.dump.diff.match import pair_by_origin, pair_by_structure
from cutaway.dump.diff.pairing import Pairing
from cutaway.dump.diff.terms import Labels
from cutaway.dump.schema import NodeTable

KINDS = ("insert", "delete", "replace", "fuse", "change")
SOURCES = st.randoms(use_true_random=False)
Said = set[tuple[str, frozenset[int], frozenset[int]]]


def rewritten(
    graphs: Graphs, nodes: Sequence[N], kinds: Sequence[str], apart: bool = True
) -> tuple[list[N], list[Expected]]:
    """A graph after rewrites; `apart`: no two of them touch each other."""
    after, done, touched = list(nodes), [], set[int]()
    for kind in kinds:
        following, expected = graphs.rewrite(after, kind, touched if apart else ())
        some = expected.gone | expected.new | expected.changed
        touched |= near(after, some) | near(following, some)
        after = following
        done.append(expected)
    return after, [each for each in done if each.gone or each.new or each.changed]


def said(found: Sequence[Found], before: Sequence[N], after: Sequence[N]) -> Said:
    """Rewrites by the uids of their nodes."""
    return {
        (
            each.rewrite.kind,
            frozenset(before[id_].uid for id_ in each.place.before),
            frozenset(after[id_].uid for id_ in each.place.after),
        )
        for each in found
    }


def wanted(done: Sequence[Expected]) -> Said:
    kinds = {(True, True): "replaced", (True, False): "deleted", (False, True): "inserted", (False, False): "changed"}
    return {
        (
            kinds[bool(each.gone), bool(each.new)],
            frozenset(each.gone | each.changed),
            frozenset(each.new | each.changed),
        )
        for each in done
    }


def found_in(pairing: Pairing) -> list[Found]:
    return find(pairing, 0, Labels(), ({}, {}))


@given(source=SOURCES, kinds=st.lists(st.sampled_from(KINDS), max_size=4), layers=st.sampled_from((0, 3)))
@settings(max_examples=150, deadline=None)
def test_what_is_recorded_is_said_exactly(source: random.Random, kinds: list[str], layers: int) -> None:
    """With origins: each rewrite that was applied is one rewrite of these very nodes, and there is no other."""
    graphs = Graphs(source, layers=layers)
    nodes = graphs.make(source.randint(2, 40))
    after, done = rewritten(graphs, nodes, kinds)
    after = graphs.reorder(after)
    stems = {uid: some for each in done for uid, some in each.origins.items()}
    places = {node.uid: place for place, node in enumerate(nodes)}
    pairing = pair_by_origin(
        table(nodes),
        table(after, names=source),
        [frozenset(places[uid] for uid in stems.get(node.uid, {node.uid}) if uid in places) for node in after],
    )
    assert {nodes[left].uid: after[right].uid for left, right in pairing.of_before.items()} == {
        node.uid: node.uid for node in after if node.uid in places
    }
    assert said(found_in(pairing), nodes, after) == wanted(done)


@given(source=SOURCES, kinds=st.lists(st.sampled_from(KINDS), max_size=4), layers=st.sampled_from((0, 3)))
@settings(max_examples=150, deadline=None)
def test_structure_says_exactly_what_was_done_where_nodes_can_be_told_apart(
    source: random.Random, kinds: list[str], layers: int
) -> None:
    """Without origins and with other names: the very rewrites, when every node has a constant of its own."""
    graphs = Graphs(source, distinct=True, layers=layers)
    nodes = graphs.make(source.randint(2, 40))
    after, done = rewritten(graphs, nodes, kinds)
    after = graphs.reorder(after)
    pairing = pair_by_structure(table(nodes, layers=bool(layers)), table(after, names=source, layers=bool(layers)))
    assert said(found_in(pairing), nodes, after) == wanted(done)


@pytest.mark.parametrize("layers", [0, 3])
def test_structure_hardly_ever_says_more_than_what_was_done(layers: int) -> None:
    """Where many nodes do the same, it may be another one of them that is said to be gone; but not more of them.

    The smallest difference of any two graphs cannot be found in reasonable time (it is NP-hard), so: hardly ever.
    """
    more = 0
    for seed in range(400):
        source = random.Random(seed)
        graphs = Graphs(source, layers=layers)
        nodes = graphs.make(source.randint(2, 40))
        after, done = rewritten(graphs, nodes, source.sample(KINDS, source.randint(1, 4)))
        known = bool(layers)
        pairing = pair_by_structure(table(nodes, layers=known), table(graphs.reorder(after), source, layers=known))
        size = len(pairing.left()) + len(pairing.right()) + len(Comparison(pairing).changes)
        more += size > sum(len(each.gone) + len(each.new) + len(each.changed) for each in done)
    assert more <= 4


@given(source=SOURCES, layers=st.sampled_from((0, 3)), distinct=st.booleans())
@settings(max_examples=150, deadline=None)
def test_graphs_that_are_equal_up_to_names_have_no_difference(
    source: random.Random, layers: int, distinct: bool
) -> None:
    graphs = Graphs(source, distinct=distinct, layers=layers)
    nodes = graphs.make(source.randint(1, 40))
    again = graphs.reorder(nodes)
    pairing = pair_by_structure(table(nodes), table(again, names=source, layers=source.random() < 0.5))
    assert len(pairing.of_before) == len(nodes)
    assert found_in(pairing) == []


@given(source=SOURCES, kinds=st.lists(st.sampled_from(KINDS), max_size=6), related=st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_inverse_is_the_difference_the_other_way_round(
    source: random.Random, kinds: list[str], related: bool
) -> None:
    graphs = Graphs(source)
    nodes = graphs.make(source.randint(1, 30))
    other = graphs.make(source.randint(1, 30), inputs=source.randint(1, 4))
    after = graphs.reorder(rewritten(graphs, nodes, kinds, apart=False)[0]) if related else other
    old, new = table(nodes), table(after, names=source)
    assert match_nodes(new, old) == match_nodes(old, new).inverse()
    forth, back = found_in(pair_by_structure(old, new)), found_in(pair_by_structure(new, old))
    opposite = {"inserted": "deleted", "deleted": "inserted"}
    turned = {(opposite.get(kind, kind), new_ones, old_ones) for kind, old_ones, new_ones in said(forth, nodes, after)}
    assert said(back, after, nodes) == turned


@given(source=SOURCES, kinds=st.lists(st.sampled_from(KINDS), max_size=8), related=st.booleans())
@settings(max_examples=150, deadline=None)
def test_what_is_not_said_to_differ_is_equal(source: random.Random, kinds: list[str], related: bool) -> None:
    """For any two graphs: the graph after follows from the graph before and what the diff says."""
    graphs = Graphs(source, layers=source.choice((0, 2)))
    nodes = graphs.make(source.randint(1, 30))
    other = graphs.make(source.randint(1, 30), inputs=source.randint(1, 4))
    after = graphs.reorder(rewritten(graphs, nodes, kinds, apart=False)[0]) if related else other
    pairing = pair_by_structure(table(nodes), table(after, names=source))
    found = found_in(pairing)
    gone = [id_ for each in found if each.rewrite.kind in ("deleted", "replaced") for id_ in each.place.before]
    new = [id_ for each in found if each.rewrite.kind in ("inserted", "replaced") for id_ in each.place.after]
    assert sorted(gone) == pairing.left()
    assert sorted(new) == pairing.right()
    changed = {change.before for each in found for change in each.place.changes}
    uses = {(user, old): now for each in found for user, old, now in each.place.uses}
    before = {node.uid: place for place, node in enumerate(nodes)}
    later = {node.uid: place for place, node in enumerate(after)}
    for left, right in pairing.of_before.items():
        if left in changed:
            continue
        mine, theirs = nodes[left], after[right]
        assert (mine.op, mine.constant, mine.dtype) == (theirs.op, theirs.constant, theirs.dtype)
        refs = [uses.get((left, before[ref]), pairing.of_before.get(before[ref])) for ref in mine.refs]
        allowed = [later[ref] for ref in theirs.refs]
        assert len(refs) == len(allowed)
        assert all(
            ref == want or (left, before[uid]) in uses for ref, want, uid in zip(refs, allowed, mine.refs, strict=True)
        )


@given(source=SOURCES)
@settings(max_examples=60, deadline=None)
def test_changed_facts_are_said(source: random.Random) -> None:
    """A node that computes the same in another dtype is changed in place, in its dtype."""
    graphs = Graphs(source)
    nodes = graphs.make(source.randint(2, 30))
    calls = [node for node in nodes if node.op.startswith("aten.")]
    assume(calls)
    chosen = source.choice(calls)
    after = [msgspec_replace(node) if node is chosen else node for node in nodes]
    (found,) = found_in(pair_by_structure(table(nodes), table(after, names=source)))
    assert found.rewrite.what == ("dtype",)
    assert [(change.old, change.new) for change in found.place.changes] == [("float32", "bfloat16")]


def msgspec_replace(node: N) -> N:
    return N(node.uid, node.op, node.refs, node.constant, node.layer, "bfloat16")


def as_table(plain: dict[str, object]) -> NodeTable:
    return msgspec.convert(plain, NodeTable)


def test_a_layer_that_was_taken_out_is_the_difference() -> None:
    """Of two decoders with one layer more or less, that layer is what is gone, though all layers do the same."""
    longer, shorter = as_table(decoder(40)), as_table(decoder(39))
    found = match_nodes(longer, shorter)
    assert found.only_after == ()
    names = {longer.layer(node)[1] for node in longer.nodes if node.id in found.only_before and node.layer is not None}
    assert names == {"layers.39: Qwen3DecoderLayer"}


def graph(symbolic: bool, copies: Sequence[str] = ()) -> NodeTable:
    """`y = x.view(s, 256); z = relu(y)` for a symbolic or for a single size; then writes into y, in order."""
    size: object = "s72" if symbolic else 8
    maker = TableMaker({"": "Model"})
    x = maker.input("x", [size, 256])
    number = maker.input("s72", [], "SymInt")
    for key in ("shape", "stride", "device"):
        del number[key]
    number["value"] = size
    view = maker.call("aten.view.default", [x, [{"node": number["id"]} if symbolic else 8, 256]], shape=[size, 256])
    relu = maker.call("aten.relu.default", [view], shape=[size, 256])
    nodes = {"view": view, "relu": relu}
    for name in copies:
        nodes["read"] = maker.call(f"aten.{name}.default", [view, relu], shape=[size, 256])
    maker.output(relu)
    return as_table(maker.table())


def test_a_symbol_that_is_a_number_in_the_other_graph_is_no_change_of_nodes() -> None:
    pairing = pair_by_structure(graph(symbolic=True), graph(symbolic=False))
    assert found_in(pairing) == []
    assert pairing.result().sizes == (("s72", 8),)
    assert pairing.inverse().result().sizes == ((8, "s72"),)


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        (("copy_", "sub"), ("sub", "copy_"), {"sub"}),
        (("sub", "copy_"), ("copy_", "sub"), {"sub"}),
        (("mul", "sub"), ("sub", "mul"), set()),
        (("copy_", "mul_"), ("mul_", "copy_"), {"copy_", "mul_"}),
    ],
    ids=["read after a write", "read before a write", "two reads", "two writes"],
)
def test_order_is_a_difference_where_something_is_written(
    before: Sequence[str], after: Sequence[str], moved: set[str]
) -> None:
    found = found_in(pair_by_structure(graph(True, before), graph(True, after)))
    assert {each.rewrite.kind for each in found} <= {"moved"}
    assert {name for each in found for name in each.rewrite.before} == moved


@pytest.mark.parametrize(
    ("target", "listed", "options"),
    [
        ("aten.add_.Tensor", False, {}),
        ("operator.iand", False, {}),
        ("torch.nn.functional.relu", False, {"inplace": True}),
        ("torch._foreach_add_", True, {}),
    ],
)
def test_a_write_into_a_buffer_that_moves_across_its_read_is_a_difference(
    target: str, listed: bool, options: dict[str, object]
) -> None:
    def made(written_first: bool) -> NodeTable:
        maker = TableMaker({"": "Model"})
        x, buffer = maker.input("x", [4]), maker.input("self.cache", [4])
        steps = ["write", "read"] if written_first else ["read", "write"]
        for step in steps:
            if step == "write":
                written = [{"node": node["id"]} for node in (x, buffer)]
                maker.call(target, [written] if listed else [buffer], kwargs=options, shape=[4])
            else:
                read = maker.call("aten.mul.Tensor", [x, buffer], shape=[4])
        maker.output(read)
        return as_table(maker.table())

    assert found_in(pair_by_structure(made(True), made(True))) == []
    assert {each.rewrite.kind for each in found_in(pair_by_structure(made(True), made(False)))} == {"moved"}


def test_inputs_in_another_order_are_a_difference() -> None:
    def made(names: Sequence[str]) -> NodeTable:
        maker = TableMaker({"": "Model"})
        values = {name: maker.input(name, [4, 4]) for name in names}
        maker.output(maker.call("aten.sub.Tensor", [values["self.a.weight"], values["self.b.weight"]], shape=[4, 4]))
        return as_table(maker.table())

    names = ["self.a.weight", "self.b.weight", "self.c.weight"]
    assert found_in(pair_by_structure(made(names), made(names))) == []
    found = found_in(pair_by_structure(made(names), made([names[1], names[0], names[2]])))
    assert [each.rewrite.text for each in found] == ["inputs in another order"]


def test_four_times_the_nodes_take_four_times_as_much() -> None:
    """Linear in the nodes."""
    taken: list[int] = []
    for size in (2500, 10000):
        graphs = Graphs(random.Random(7), layers=20)
        nodes = graphs.make(size)
        after, _ = rewritten(graphs, nodes, KINDS * 6)
        old, new = table(nodes), table(graphs_reordered(after), names=random.Random(8))
        taken.append(steps(partial(pair_found, old, new)))
    assert taken[1] / taken[0] < 4.5
    assert taken[1] / 10_000 < 1500  # 820


def pair_found(old: NodeTable, new: NodeTable) -> None:
    found_in(pair_by_structure(old, new))


def graphs_reordered(nodes: list[N]) -> list[N]:
    """Two neighbours in turn, where neither reads the other: an order that a scheduler might have made."""
    after = list(nodes)
    for place in range(0, len(after) - 1, 2):
        one, other = after[place : place + 2]
        if one.uid not in other.refs and {one.op, other.op}.isdisjoint({"input", "output"}):
            after[place : place + 2] = [other, one]
    return after
