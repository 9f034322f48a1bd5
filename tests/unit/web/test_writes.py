"""Which nodes read what another one wrote in place: what is certain, and nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from table_maker import TableMaker

from cutaway.dump.schema import NodeTable
from cutaway.web.data.writes import reads_after_writes


class Made:
    """A graph, node by node, and what is found in it by names."""

    def __init__(self) -> None:
        self.maker = TableMaker({"": "Model"})
        self.x = self.maker.input("x", [4])
        self.y = self.maker.input("y", [4])

    def call(self, target: str, *args: Any, **facts: Any) -> dict[str, Any]:
        return self.maker.call(target, list(args), shape=[4], **facts)

    @property
    def found(self) -> dict[str, list[str]]:
        self.maker.output()
        table = msgspec.convert(self.maker.table(), NodeTable)
        names = [node.name for node in table.nodes]
        after = reads_after_writes(table)
        return {names[reader]: [names[write] for write in writes] for reader, writes in after.items()}


@pytest.fixture(name="made")
def _made() -> Made:
    return Made()


@pytest.mark.parametrize("write", ["aten.copy_.default", "aten.add_.Tensor", "operator.setitem", "torch.relu_"])
def test_a_later_reader_comes_after_the_write(made: Made, write: str) -> None:
    made.call("aten.exp.default", made.x, name="before")
    made.call(write, made.x, made.y, name="write")
    made.call("aten.exp.default", made.x, name="later")
    made.call("aten.exp.default", made.y, name="other")
    assert made.found == {"later": ["write"]}


def test_what_is_told_to_work_in_place_writes(made: Made) -> None:
    made.call("torch.nn.functional.relu", made.x, kwargs={"inplace": True}, name="write")
    made.call("operator.and_", made.y, made.y, name="nothing")
    made.call("aten.exp.default", made.x, name="later")
    made.call("aten.exp.default", made.y, name="other")
    assert made.found == {"later": ["write"]}


def test_a_method_writes_and_out_is_written(made: Made) -> None:
    made.call("mul_", made.x, op="call_method", name="method")
    made.call("aten.add.out", made.x, made.y, kwargs={"out": {"node": made.x["id"]}}, name="out")
    made.call("aten.exp.default", made.x, name="later")
    assert made.found == {"out": ["method"], "later": ["out"]}


def test_who_reads_the_result_of_the_write_has_an_edge_already(made: Made) -> None:
    write = made.call("aten.add_.Tensor", made.x, made.y, name="write")
    made.call("aten.exp.default", write, name="reader")
    made.call("aten.mul.Tensor", write, made.x, name="both")
    assert made.found == {}


def test_through_views_that_share_memory(made: Made) -> None:
    view = made.call("aten.view.default", made.x, [2, 2], name="view")
    made.call("aten.copy_.default", made.x, made.y, name="write")
    made.call("aten.exp.default", view, name="through")
    fresh = made.call("aten.view.default", made.x, [2, 2], name="fresh")
    made.call("aten.exp.default", fresh, name="by_way_of_fresh")
    assert made.found == {"through": ["write"], "fresh": ["write"]}


@pytest.mark.parametrize(
    "copy", ["aten.reshape.default", "aten.clone.default", "aten.index.Tensor", "vllm.view.default"]
)
def test_what_may_be_a_copy_is_passed_over(made: Made, copy: str) -> None:
    other = made.call(copy, made.x, name="other")
    made.call("aten.copy_.default", made.x, made.y, name="write")
    made.call("aten.exp.default", other, name="reader")
    assert made.found == {}


def test_an_index_of_a_part_may_be_a_copy(made: Made) -> None:
    part = made.call("aten.slice.Tensor", made.x, 0, 0, 2, name="part")
    copy = made.call("operator.getitem", part, made.y, name="copy")
    made.call("aten.copy_.default", made.x, made.y, name="write")
    made.call("aten.exp.default", copy, name="reader")
    assert made.found == {}


def test_parts_that_may_not_overlap(made: Made) -> None:
    split = made.call("aten.split.Tensor", made.x, 2, name="split")
    one = made.call("operator.getitem", split, 0, name="one")
    other = made.call("operator.getitem", split, 1, name="other")
    made.call("aten.copy_.default", one, made.y, name="write_one")
    made.call("aten.copy_.default", other, made.y, name="write_other")
    made.call("aten.exp.default", one, name="reads_one")
    made.call("aten.exp.default", made.x, name="reads_all")
    assert made.found == {"reads_one": ["write_one"], "reads_all": ["write_one", "write_other"]}


def test_a_write_of_all_hides_those_before_it(made: Made) -> None:
    part = made.call("aten.select.int", made.x, 0, 0, name="part")
    made.call("aten.copy_.default", part, made.y, name="first")
    made.call("aten.zero_.default", made.x, name="all")
    made.call("aten.exp.default", made.x, name="later")
    assert made.found == {"all": ["first"], "later": ["all"]}


@pytest.mark.parametrize(
    "target", ["vllm.attention.default", "vllm.rotary_.default", "aten.detach_.default", "operator.and_"]
)
def test_what_is_not_known_to_write_values(made: Made, target: str) -> None:
    made.call(target, made.x, made.y)
    made.call("aten.exp.default", made.x)
    assert made.found == {}
