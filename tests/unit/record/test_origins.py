"""Where nodes come from: exact where torch or the change tells, unknown otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from graphs import Input, Maker, Symbols, aten, table_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx
from torch.fx.traceback import NodeSource

from cutaway.record.frozen import freeze, same
from cutaway.record.origins import Remembered, find_origins, replaced

relu, sin, cos, add, mul = (
    aten.relu.default,
    aten.sin.default,
    aten.cos.default,
    aten.add.Tensor,
    aten.mul.Tensor,
)


def remembered(gm: fx.GraphModule) -> Remembered:
    return Remembered.of(gm, table_of(gm))


def named(gm: fx.GraphModule) -> dict[str, fx.Node]:
    return {node.name: node for node in gm.graph.nodes}


def two_layers() -> fx.GraphModule:
    """x -> relu -> sin -> cos -> add(x) -> mul"""
    maker = Maker()
    x = maker.input("x")
    a = maker.call(relu, x)
    b = maker.call(sin, a)
    c = maker.call(cos, b)
    d = maker.call(add, c, x)
    return maker.done(maker.call(mul, d, 2))


def fuse(gm: fx.GraphModule, old: list[str], reads: str, target: Callable[..., torch.Tensor] = relu) -> fx.Node:
    """Put one new node in the place of a chain of old ones."""
    nodes = named(gm)
    last = nodes[old[-1]]
    with gm.graph.inserting_before(last):
        new = gm.graph.call_function(target, (nodes[reads],))
    last.replace_all_uses_with(new)
    for name in reversed(old):
        gm.graph.erase_node(nodes[name])
    return new


CHANGES: dict[str, Callable[[fx.GraphModule], object]] = {
    "an argument": lambda gm: setattr(named(gm)["mul"], "args", (named(gm)["add"], 3)),
    "the type of a constant": lambda gm: setattr(named(gm)["mul"], "args", (named(gm)["add"], 2.0)),
    "a keyword": lambda gm: setattr(named(gm)["add"], "kwargs", {"alpha": 2}),
    "a target": lambda gm: setattr(named(gm)["sin"], "target", cos),
    "a node more": lambda gm: gm.graph.call_function(relu, ()),
    "the order": lambda gm: named(gm)["x"].append(named(gm)["mul"]),
    "a node less": lambda gm: fuse(gm, ["sin", "cos"], "relu"),
    "an input replaced": lambda gm: named(gm)["relu"].replace_all_uses_with(named(gm)["x"]),
    "the result": lambda gm: setattr(gm.graph.output_node(), "args", ((named(gm)["add"],),)),
}


class TestSame:
    @pytest.mark.parametrize("change", CHANGES)
    def test_a_change_is_seen(self, change: str) -> None:
        gm = two_layers()
        before = freeze(gm.graph)
        CHANGES[change](gm)
        assert not same(before, freeze(gm.graph))

    def test_nothing_changed(self) -> None:
        gm = two_layers()
        before = freeze(gm.graph)
        gm.recompile()
        named(gm)["sin"].meta["noise"] = 1
        named(gm)["mul"].args = (named(gm)["add"], 2)
        named(gm)["add"].kwargs = {}
        assert same(before, freeze(gm.graph))

    def test_a_pass_that_changes_its_mind(self) -> None:
        gm = two_layers()
        before = freeze(gm.graph)
        extra = gm.graph.call_function(relu, ())
        gm.graph.erase_node(extra)
        assert same(before, freeze(gm.graph))

    @pytest.mark.parametrize("nan", [float("nan")])
    def test_odd_constants(self, nan: float) -> None:
        gm = two_layers()
        named(gm)["mul"].args = (named(gm)["add"], [nan, slice(0, 2), {"k": (nan,)}])
        assert same(freeze(gm.graph), freeze(gm.graph))

    @pytest.mark.filterwarnings("ignore:Raw SymInt value")
    def test_symbolic_sizes_are_never_compared(self) -> None:
        symbols, gm = Symbols(), two_layers()
        named(gm)["mul"].args = (named(gm)["add"], symbols["a"])
        before = freeze(gm.graph)
        named(gm)["mul"].args = (named(gm)["add"], symbols["b"])
        assert not same(before, freeze(gm.graph))
        assert symbols.env.guards == []


class TestReplaced:
    def test_a_pattern_stems_from_all_of_its_interior(self) -> None:
        gm = two_layers()
        before = remembered(gm)
        new = fuse(gm, ["relu", "sin", "cos"], "x")
        ids = {before.names[name] for name in ("relu", "sin", "cos")}
        assert replaced(before, gm.graph) == {new: ids}
        assert find_origins(gm, before)[new].ids == tuple(sorted(ids))

    def test_a_decomposition_stems_as_a_whole(self) -> None:
        gm = two_layers()
        before = remembered(gm)
        sine = named(gm)["sin"]
        with gm.graph.inserting_before(sine):
            first = gm.graph.call_function(mul, (named(gm)["relu"], 0.5))
            second = gm.graph.call_function(add, (first, 1))
        sine.replace_all_uses_with(second)
        gm.graph.erase_node(sine)
        assert replaced(before, gm.graph) == {first: {2}, second: {2}}

    def test_two_places_are_kept_apart(self) -> None:
        gm = two_layers()
        before = remembered(gm)
        one, two = fuse(gm, ["sin"], "relu"), fuse(gm, ["add"], "x", sin)
        assert replaced(before, gm.graph) == {one: {2}, two: {4}}

    def test_a_new_node_in_no_ones_place_is_unknown(self) -> None:
        gm = two_layers()
        before = remembered(gm)
        with gm.graph.inserting_after(named(gm)["x"]):
            new = gm.graph.call_function(relu, (named(gm)["x"],))
        named(gm)["sin"].args = (new,)
        assert new not in find_origins(gm, before)

    def test_a_write_replaces_what_read_the_same(self) -> None:
        maker = Maker()
        x, y = maker.input("x"), maker.input("y")
        maker.call(aten.copy_.default, x, maker.call(relu, y))
        maker.call(aten.sin_.default, y)
        gm = maker.done(x)
        before = remembered(gm)
        with gm.graph.inserting_before(gm.graph.output_node()):
            new = gm.graph.call_function(aten.relu.out, (y,), {"out": x})
        for name in ("copy_", "relu"):
            gm.graph.erase_node(named(gm)[name])
        assert replaced(before, gm.graph) == {new: {before.names["relu"], before.names["copy_"]}}

    def test_a_removed_node_makes_no_origin(self) -> None:
        gm = two_layers()
        before = remembered(gm)
        named(gm)["sin"].replace_all_uses_with(named(gm)["relu"])
        gm.graph.erase_node(named(gm)["sin"])
        assert replaced(before, gm.graph) == {}
        assert find_origins(gm, before)[named(gm)["cos"]].ids == (3,)

    @settings(max_examples=40)
    @given(st.integers(2, 12), st.data())
    def test_whatever_part_of_a_chain_is_fused(self, length: int, data: st.DataObject) -> None:
        maker = Maker()
        x = maker.input("x")
        for _ in range(length):
            x = maker.call(relu, x)
        gm = maker.done(x)
        before = remembered(gm)
        names = [node.name for node in gm.graph.nodes][1:-1]
        start = data.draw(st.integers(0, length - 1))
        end = data.draw(st.integers(start + 1, length))
        new = fuse(gm, names[start:end], names[start - 1] if start else "x", sin)
        origins = find_origins(gm, before)
        assert origins[new].ids == tuple(range(start + 1, end + 1))
        for name in names[:start] + names[end:]:
            assert origins[named(gm)[name]].ids == (before.names[name],)


class TestInherited:
    def test_the_common_layer_and_the_last_source(self) -> None:
        maker = Maker()
        x = maker.input("x")

        def inside(layer: str, line: int) -> dict[str, object]:
            stack = {
                "a": (f"L['self'].layers.{layer[0]}", "m.Block"),
                "b": (f"L['self'].layers.{layer}", "m.Norm"),
            }
            return {"nn_module_stack": stack, "stack_trace": f'  File "m.py", line {line}, in forward\n    code'}

        a = maker.call(relu, x, meta=inside("0.norm", 1))
        b = maker.call(sin, a, meta=inside("0.act", 2))
        gm = maker.done(maker.call(cos, b, meta=inside("1.act", 3)))
        before = remembered(gm)
        new = fuse(gm, ["relu", "sin"], "x")
        origin = find_origins(gm, before)[new]
        assert origin.layer == ("layers.0: Block",)
        assert origin.source == ("m.py", 2, "forward", "code")

    def test_nothing_in_common_is_unknown(self) -> None:
        maker = Maker()
        stacks = [{"a": (f"L['self'].layers.{n}", "m.Block")} for n in range(2)]
        a = maker.call(relu, maker.input("x"), meta={"nn_module_stack": stacks[0]})
        gm = maker.done(maker.call(sin, a, meta={"nn_module_stack": stacks[1]}))
        before = remembered(gm)
        new = fuse(gm, ["relu", "sin"], "x")
        assert find_origins(gm, before)[new].layer is None

    def test_a_copy_of_the_graph_stems_node_from_node(self) -> None:
        gm = two_layers()
        for node in gm.graph.nodes:  # what tracing leaves: values of their own
            node.meta["val"] = torch.empty(2, 3, device="meta")
        before = remembered(gm)
        copied = fx.Graph()
        results = copied.graph_copy(gm.graph, {})
        copied.output(results)
        copy = fx.GraphModule(gm, copied)
        found = find_origins(copy, before)
        calls = [node for node in copied.nodes if node.op != "output"]
        assert [found[node].ids for node in calls] == [(index,) for index in range(len(calls))]

    def test_copies_that_cannot_be_told_apart_are_unknown(self) -> None:
        maker = Maker()
        value = torch.empty(2, 3, device="meta")
        x = maker.input("x")
        y, z = (maker.call(relu, x, meta={"val": value}) for _ in range(2))
        gm = maker.done(maker.call(add, y, z))
        before = remembered(gm)
        copied = fx.Graph()
        copied.output(copied.graph_copy(gm.graph, {}))
        for number, node in enumerate(copied.nodes):  # a deep copy keeps the names; this is none
            node.name = f"{node.name}_{number}"
        copy = fx.GraphModule(gm, copied)
        found = find_origins(copy, before)
        assert not [node.name for node in copied.nodes if node.name.startswith("relu") and node in found]

    def test_what_aot_autograd_noted(self) -> None:
        gm = two_layers()
        before = remembered(gm)
        trace = NodeSource(None)  # in between, a trace that nobody saw
        trace.node_info = NodeSource.NodeInfo("unheard_of", str(relu), id(trace))
        trace.from_node = [NodeSource(named(gm)["relu"])]

        maker = Maker()
        x = maker.input("arg0_1")
        y = maker.call(aten.clamp_min.default, x, 0, meta={"from_node": [trace]})
        other = NodeSource(named(two_layers())["mul"])
        other.node_info = NodeSource.NodeInfo("sin", other.target, other.graph_id)
        z = maker.call(sin, y, meta={"from_node": [other], "val": torch.empty(2)})
        traced = maker.done(maker.call(cos, z))  # a result would be known by its place
        found = find_origins(traced, before)
        assert found[y].ids == (before.names["relu"],)
        assert z not in found, "a note of another operator, whatever its name"

    def test_notes_of_the_graph_before_the_last_do_not_count(self) -> None:
        """The same operators stand under each other's names, as where the user calls torch.ops himself."""
        first = Maker()
        x = first.input("x")
        captured = [first.call(sin, x), first.call(sin, first.call(cos, x))]
        captured[0].name, captured[1].name = "sin_1", "sin"
        first.done(captured[1])
        second = Maker()
        y = second.input("x")
        notes = [{"from_node": [NodeSource(node)], "val": torch.empty(2)} for node in captured]
        traced = [second.call(sin, y, meta=notes[0]), second.call(sin, y, meta=notes[1])]
        joint = second.done(second.call(add, *traced))
        assert [node.name for node in traced] == ["sin", "sin_1"]
        before = remembered(joint)

        part = fx.Graph()
        part.output(part.graph_copy(joint.graph, {}))
        forward = fx.GraphModule(joint, part)
        found = find_origins(forward, before)
        for name in ("sin", "sin_1"):
            assert found[named(forward)[name]].ids == (before.names[name],)
        for name in ("sin", "sin_1"):  # values of their own: nothing tells them but the note, which is of another graph
            named(forward)[name].meta["val"] = torch.empty(2)
        named(forward)["add"].name = "last"
        assert not [node for node in find_origins(forward, before) if node.name.startswith("sin")]

    def traced(self, *inputs: str) -> fx.GraphModule:
        maker = Maker()
        nodes = [maker.input(name, val=torch.empty(2)) for name in inputs]
        return maker.done(maker.call(cos, nodes[0], meta={"val": torch.empty(2)}))

    @pytest.mark.parametrize(
        ("names", "known"),
        [
            (["arg0_1", "arg1_1"], [(0,), (1,)]),
            (["primals_1", "primals_2", "tangents_1"], [(0,), (1,), None]),
            (["weight", "x"], [(0,), (1,)]),
            (["primals_1", "addmm"], [None, None]),
            (["arg0_1"], [None]),
        ],
    )
    def test_inputs_are_known_by_their_places_only_in_a_trace_of_the_whole(
        self, names: list[str], known: list[tuple[int, ...] | None]
    ) -> None:
        before = remembered(self.traced("weight", "x"))
        gm = self.traced(*names)
        found = find_origins(gm, before)
        inputs = [node for node in gm.graph.nodes if node.op == "placeholder"]
        assert [found[node].ids if node in found else None for node in inputs] == known

    def test_without_a_previous_snapshot_nothing_is_known(self) -> None:
        assert find_origins(two_layers(), None) == {}

    def test_symbols_do_not_get_guards(self) -> None:
        symbols, maker = Symbols(), Maker()
        x = maker.input("x", val=symbols.tensor(Input("float32", ("a", 4))))
        gm = maker.done(maker.call(relu, x))
        before = remembered(gm)
        fuse(gm, ["relu"], "x", sin)
        find_origins(gm, before)
        assert symbols.env.guards == []
