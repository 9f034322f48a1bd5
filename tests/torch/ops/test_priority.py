"""Which implementation runs: lists of providers, defaults and scopes, threads, what Dynamo makes of them."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused
from torch import Tensor, fx

from cutaway.ops import (
    IrOp,
    enable_torch_wrap,
    register_op,
    set_default_priority,
    set_default_torch_wrap,
    set_priority,
)


def numbered(name: str) -> IrOp:
    """An op whose implementations each return their number: native 0, one 1, two 2 (two-dimensional x), gone 3."""

    def native(x: Tensor, weight: Tensor | None = None) -> Tensor:
        return x * 0

    op = register_op(name=name)(native)

    @op.register_impl("one")
    def one(x: Tensor, weight: Tensor | None = None) -> Tensor:
        return x * 0 + 1

    @op.register_impl("two", supports_args=lambda x, weight=None: x.dim() == 2)
    def two(x: Tensor, weight: Tensor | None = None) -> Tensor:
        return x * 0 + 2

    op.register_impl("gone", supported=False)(lambda_of(3))
    return op


def lambda_of(number: int) -> Callable[..., Tensor]:
    def made(x: Tensor, weight: Tensor | None = None) -> Tensor:
        return x * 0 + number

    return made


op = numbered("priority_op")
other = numbered("priority_other")
FLAT, SQUARE = torch.ones(1), torch.ones(1, 1)


def ran(x: Tensor = FLAT, which: IrOp = op) -> int:
    return int(which(x).item())


@pytest.fixture(autouse=True)
def _defaults() -> Any:
    yield
    set_default_priority({"priority_op": ["native"], "priority_other": ["native"]})
    set_default_torch_wrap(True)


@pytest.fixture(params=[True, False], ids=["wrapped", "direct"])
def wrap(request: pytest.FixtureRequest) -> Any:
    with enable_torch_wrap(request.param):
        yield request.param


def test_without_a_priority_native_runs_and_nothing_is_said(wrap: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ran() == 0
    assert op.priority == ("native",)


def test_the_first_that_takes_the_arguments_runs(wrap: bool) -> None:
    with op.set_priority(["two", "one"]):
        assert (ran(FLAT), ran(SQUARE)) == (1, 2)
        assert op.priority == ("two", "one")


def test_what_is_not_supported_here_is_passed_over(wrap: bool) -> None:
    with op.set_priority(["gone", "one", "native"]):
        assert ran() == 1
        assert op.priority == ("one",)


def test_scopes_nest_and_end_with_their_block(wrap: bool) -> None:
    op.set_default(["one"])
    with op.set_priority(["two", "native"]):
        with op.set_priority(["one"]):
            assert ran(SQUARE) == 1
        assert ran(SQUARE) == 2
        with pytest.raises(ZeroDivisionError), op.set_priority(["native"]):
            1 / 0  # noqa: B018
        assert ran(SQUARE) == 2
        op.set_default(["native"])
        assert ran(SQUARE) == 2
    assert ran(SQUARE) == 0


def test_several_ops_at_once() -> None:
    with set_priority({"priority_op": ["one"], "priority_other": ["two", "native"]}):
        assert (ran(), ran(SQUARE, other)) == (1, 2)
    assert (ran(), ran(SQUARE, other)) == (0, 0)
    set_default_priority({"priority_op": ["one"]})
    assert (ran(), ran(FLAT, other)) == (1, 0)


def test_a_list_in_which_nothing_takes_all_arguments_ends_with_native_and_one_warning() -> None:
    late = numbered("priority_warned")
    with pytest.warns(UserWarning, match=r"priority_warned.*\['two'\].*Add 'native' to the end") as caught:
        context = late.set_priority(["two"])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with context, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (ran(FLAT, late), ran(SQUARE, late)) == (0, 2)
        assert late.priority == ("two", "native")
        late.set_default(["two"])
        with late.set_priority(["two", "native"]):
            pass
    with pytest.warns(UserWarning, match="priority_warned"):
        late.set_default(["gone", "two"])


def test_what_cannot_be_a_priority() -> None:
    with refused("op 'priority_op'", "no provider 'ome'", "its priority ['ome']", "did you mean 'one'", "native, one"):
        op.set_default(["ome"])
    with refused("op 'priority_op'", "['gone']", "native, one, two", "put one of these"):
        op.set_priority(["gone"])
    with refused("op 'priority_op'", "it is empty", "name providers: native"):
        op.set_default([])
    with refused("op 'priority_op'", "list of providers", "['one']"):
        op.set_default("one")
    with refused("no op 'priority_up'", "did you mean 'priority_op'"):
        set_priority({"priority_up": ["one"]})
    with refused("priorities are ['priority_op']", "{'priority_op': [\"native\"]}"):
        set_priority(["priority_op"])  # type: ignore[arg-type]
    with refused("no provider 'seven'"):
        set_default_priority({"priority_op": ["one"], "priority_other": ["seven"]})
    assert (op.priority, other.priority) == (("native",), ("native",))


def test_a_scope_is_its_threads_own_and_a_default_everyones() -> None:
    seen: dict[str, list[int]] = {"scoped": [], "plain": []}
    step = threading.Barrier(2, timeout=30)

    def scoped() -> None:
        with op.set_priority(["one"]):
            step.wait()
            seen["scoped"].append(ran())
            step.wait()
            step.wait()
            seen["scoped"].append(ran())

    def plain() -> None:
        step.wait()
        seen["plain"].append(ran())
        step.wait()
        op.set_default(["two", "native"])
        step.wait()
        seen["plain"].append(ran(SQUARE))

    threads = [threading.Thread(target=target) for target in (scoped, plain)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"scoped": [1, 1], "plain": [0, 2]}


@given(lists=st.lists(st.lists(st.sampled_from(["native", "one", "two", "gone"]), max_size=5), max_size=4))
def test_any_nest_of_scopes_runs_the_first_that_can(lists: list[list[str]]) -> None:
    numbers = {"native": 0, "one": 1, "two": 2}

    def entered(rest: list[list[str]]) -> None:
        if not rest:
            return
        before = op.priority, ran(FLAT), ran(SQUARE)
        there = [name for name in rest[0] if name != "gone"]
        if not there:
            with refused("op 'priority_op'"):
                op.set_priority(rest[0])
        else:
            with op.set_priority(rest[0]):
                assert ran(SQUARE) == numbers[there[0]]
                assert ran(FLAT) == next((numbers[name] for name in there if name != "two"), 0)
                entered(rest[1:])
        assert (op.priority, ran(FLAT), ran(SQUARE)) == before

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        entered(lists)


def test_arguments_by_keyword_and_defaults(wrap: bool) -> None:
    with op.set_priority(["two", "one"]):
        assert int(op(x=FLAT)) == 1
        assert int(op(x=SQUARE, weight=None)) == 2
        assert int(op(weight=FLAT, x=SQUARE)) == 2
        assert op.dispatch(x=SQUARE) is op.dispatch(SQUARE, None) is op.impls["two"]
    assert op.with_defaults((FLAT,)) == op.with_defaults((), {"x": FLAT}) == (FLAT, None)


class Graphs:
    """A backend that keeps what it was given, and runs it."""

    def __init__(self) -> None:
        self.seen: list[fx.Graph] = []

    def __call__(self, module: fx.GraphModule, _inputs: Any) -> Callable[..., Any]:
        self.seen.append(module.graph)
        return module.forward


class TestUnderDynamo:
    """With torch wrapping off the chosen implementation is captured, without a break, and guarded."""

    def test_a_change_of_the_priority_is_seen(self) -> None:
        graphs = Graphs()
        compiled = torch.compile(lambda x: op(x) + 1, fullgraph=True, backend=graphs)
        with enable_torch_wrap(False):
            assert compiled(FLAT).item() == 1
            with op.set_priority(["one"]):
                assert compiled(FLAT).item() == 2
                assert compiled(FLAT).item() == 2
            assert compiled(FLAT).item() == 1
            assert len(graphs.seen) == 2
            op.set_default(["one"])
            assert compiled(FLAT).item() == 2
            with op.set_priority(["native"]):
                assert compiled(FLAT).item() == 1
            with other.set_priority(["one"]):
                assert compiled(FLAT).item() == 2

    def test_the_arguments_choose(self) -> None:
        graphs = Graphs()
        compiled = torch.compile(op, fullgraph=True, backend=graphs)
        with enable_torch_wrap(False), op.set_priority(["two", "one"]):
            assert (compiled(FLAT).item(), compiled(SQUARE).item()) == (1, 2)

    def test_a_change_of_wrapping_is_seen(self) -> None:
        graphs = Graphs()
        compiled = torch.compile(op, fullgraph=True, backend=graphs)
        with op.set_priority(["one"]):
            assert compiled(FLAT).item() == 1
            with enable_torch_wrap(False):
                assert compiled(FLAT).item() == 1
            set_default_torch_wrap(False)
            assert compiled(FLAT).item() == 1
            with enable_torch_wrap(True):
                assert compiled(FLAT).item() == 1
        targets = [[node.target for node in graph.nodes if node.op == "call_function"] for graph in graphs.seen]
        assert len(targets) == 4
        assert [op.torch_op in found for found in targets] == [True, False, False, True]

    def test_a_whole_op_is_not_compiled_anew_for_another_priority(self) -> None:
        graphs = Graphs()
        compiled = torch.compile(op, fullgraph=True, backend=graphs)
        assert compiled(FLAT).item() == 0
        with op.set_priority(["one"]):
            assert compiled(FLAT).item() == 1
        assert len(graphs.seen) == 1

    def test_the_priority_of_the_thread_that_calls_is_taken(self) -> None:
        found: list[float] = []
        compiled = torch.compile(op, fullgraph=True, backend=Graphs())

        def call() -> None:
            with enable_torch_wrap(False), op.set_priority(["one"]):
                found.append(compiled(FLAT).item())

        with enable_torch_wrap(False):
            assert compiled(FLAT).item() == 0
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()
            assert compiled(FLAT).item() == 0
        assert found == [1]


def test_an_asynchronous_task_sees_what_is_in_force_on_its_thread() -> None:
    """As torch's own modes do: a block around an ``await`` holds for whatever runs on the thread meanwhile."""

    async def look() -> int:
        return ran()

    with op.set_priority(["one"]):
        assert asyncio.run(look()) == 1


def test_ops_and_implementations_are_copied_and_pickled_by_name() -> None:
    for thing in (op, op.impls["one"]):
        assert copy.deepcopy(thing) is copy.copy(thing) is pickle.loads(pickle.dumps(thing)) is thing
    text = pickle.dumps(op).replace(b"priority_op", b"priority_ap")
    with refused("no op 'priority_ap'", "did you mean 'priority_op'"):
        pickle.loads(text)
    text = pickle.dumps(op.impls["one"]).replace(b"one", b"oni")
    with refused("op 'priority_op' has no provider 'oni'", "did you mean 'one'"):
        pickle.loads(text)
