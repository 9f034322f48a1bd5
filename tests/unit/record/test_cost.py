"""What a graph may cost to look at: generous bounds per node, so that only a change of order fails."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import pytest
from graphs import chain, table_of
from torch import fx

from cutaway.record.fingerprint import fingerprint
from cutaway.record.nodes import Table
from cutaway.record.origins import Remembered, find_origins, freeze, same
from cutaway.record.runnable import Runnable

NODES = 2000


@pytest.fixture(scope="module")
def gm() -> fx.GraphModule:
    return chain(NODES)


@pytest.fixture(scope="module")
def table(gm: fx.GraphModule) -> Table:
    return table_of(gm)


def microseconds_a_node(work: Callable[[], object], times: int = 7) -> float:
    """The best of several: noise of a busy machine only adds."""
    found: list[float] = []
    for _ in range(times):
        started = process_time()
        work()
        found.append(process_time() - started)
    return 1e6 * min(found) / NODES


def test_to_freeze_a_graph_and_to_see_that_nothing_changed(gm: fx.GraphModule) -> None:
    before = freeze(gm.graph)
    assert same(before, freeze(gm.graph))
    assert microseconds_a_node(lambda: same(before, freeze(gm.graph))) < 2


def test_to_build_a_table(gm: fx.GraphModule) -> None:
    assert microseconds_a_node(lambda: table_of(gm)) < 60


def test_to_take_a_fingerprint(table: Table) -> None:
    assert microseconds_a_node(lambda: fingerprint(table)) < 40


def test_to_find_origins(gm: fx.GraphModule, table: Table) -> None:
    before = Remembered.of(gm, table)
    assert microseconds_a_node(lambda: find_origins(gm, before)) < 40


def test_to_render_a_file(gm: fx.GraphModule) -> None:
    assert microseconds_a_node(lambda: Runnable().render(gm, []), times=3) < 150


@pytest.mark.parametrize("work", [table_of, lambda gm: Runnable().render(gm, [])], ids=["table", "file"])
def test_that_a_graph_twice_as_long_takes_about_twice_as_long(work: Callable[[fx.GraphModule], object]) -> None:
    short, long = chain(NODES // 2), chain(NODES * 2)
    ratio = microseconds_a_node(lambda: work(long), 3) / microseconds_a_node(lambda: work(short), 3)
    assert ratio < 12  # four times the nodes; sixteen would be a square
