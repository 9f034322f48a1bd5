"""What a graph may cost to look at, in steps per node."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from effort import steps
from graphs import chain, table_of
from torch import fx

from cutaway.record.fingerprint import fingerprint
from cutaway.record.frozen import freeze, same
from cutaway.record.nodes import Table
from cutaway.record.origins import Remembered, find_origins
from cutaway.record.runnable import Runnable

NODES = 2000


@pytest.fixture(scope="module")
def gm() -> fx.GraphModule:
    return chain(NODES)


@pytest.fixture(scope="module")
def table(gm: fx.GraphModule) -> Table:
    return table_of(gm)


def a_node(work: Callable[[], object]) -> float:
    return steps(work) / NODES


def test_to_freeze_a_graph_and_to_see_that_nothing_changed(gm: fx.GraphModule) -> None:
    before = freeze(gm.graph)
    assert same(before, freeze(gm.graph))
    assert a_node(lambda: same(before, freeze(gm.graph))) < 10  # 5


def test_to_build_a_table(gm: fx.GraphModule) -> None:
    assert a_node(lambda: table_of(gm)) < 250  # 147


def test_to_take_a_fingerprint(table: Table) -> None:
    assert a_node(lambda: fingerprint(table)) < 100  # 52


def test_to_find_origins(gm: fx.GraphModule, table: Table) -> None:
    before = Remembered.of(gm, table)
    assert a_node(lambda: find_origins(gm, before)) < 150  # 88


def test_to_render_a_file(gm: fx.GraphModule) -> None:
    assert a_node(lambda: Runnable().render(gm, [])) < 700  # 427


@pytest.mark.parametrize("work", [table_of, lambda gm: Runnable().render(gm, [])], ids=["table", "file"])
def test_that_a_graph_four_times_as_long_takes_four_times_as_much(work: Callable[[fx.GraphModule], object]) -> None:
    short, long = chain(NODES // 2), chain(NODES * 2)
    assert 3.5 < steps(lambda: work(long)) / steps(lambda: work(short)) < 4.5
