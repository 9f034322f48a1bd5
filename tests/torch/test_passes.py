"""Passes: a snapshot when one changed the graph, an event always, and an error that surfaces is the pass's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import programs
import pytest
import torch
from programs import numbers
from recordings import Recorded, check, recorded
from torch import fx
from torch._inductor.custom_graph_pass import CustomGraphPass

import cutaway

aten = torch.ops.aten


class Pass(CustomGraphPass):
    """A pass of the user's: what it does, in a class that Inductor can put into its cache key."""

    def __init__(self, work: Callable[[fx.Graph], None]) -> None:
        self.work = work

    def __call__(self, graph: fx.Graph) -> None:
        self.work(graph)

    def uuid(self) -> bytes | None:
        return None


def nothing(graph: fx.Graph) -> None:
    for node in graph.nodes:
        node.meta["looked at"] = True


def negate(graph: fx.Graph) -> None:
    """x * 2 + 1 becomes x * 3 + 1."""
    for node in graph.nodes:
        if node.target is aten.mul.Tensor:
            node.args = (node.args[0], 3)


def fuse(graph: fx.Graph) -> None:
    """x * 2 + 1 becomes x / 0.5 - -1: two other operators in the place of the two."""
    last = next(node for node in graph.nodes if node.target is aten.add.Tensor)
    (product, constant) = last.args
    with graph.inserting_before(last):
        scaled = graph.call_function(aten.div.Tensor, (product.args[0], 0.5))
        new = graph.call_function(aten.sub.Tensor, (scaled, -constant))
    for made in (scaled, new):
        made.meta["val"] = last.meta["val"]
    last.replace_all_uses_with(new)
    graph.erase_node(last)
    graph.erase_node(product)


def fail(graph: fx.Graph) -> None:
    negate(graph)
    raise ArithmeticError("this pass is broken")


def compile_with(where: str, work: Callable[[fx.Graph], None], path: Path) -> tuple[torch.Tensor, Recorded]:
    with (
        torch._inductor.config.patch({where: Pass(work)}),
        cutaway.record(path),
    ):
        result = torch.compile(programs.doubled)(numbers(3))
    return result, recorded(path)


@pytest.mark.parametrize(
    ("where", "stage"),
    [("post_grad_custom_post_pass", "post_grad_pass"), ("joint_custom_post_pass", "joint_pass")],
)
def test_a_custom_pass_that_changes_the_graph(tmp_path: Path, where: str, stage: str) -> None:
    result, recording = compile_with(where, negate, tmp_path)
    torch.testing.assert_close(result, numbers(3) * 3 + 1)
    (event,) = recording.of("pass", changed=True)
    assert (event["stage"], event["pass"]) == (stage, where)
    (snapshot,) = recording.of("snapshot", stage=stage)
    assert snapshot["selector"] == event["selector"]
    assert snapshot["changed"]
    (row,) = [row for row in recording.table(snapshot)["nodes"] if "mul" in row["target"]]
    assert row["args"][1] == 3
    (file,) = [file["path"] for file in snapshot["files"] if file["kind"] == "raw"]
    assert where in file
    check(tmp_path)


def test_one_that_changes_nothing(tmp_path: Path) -> None:
    result, recording = compile_with("post_grad_custom_post_pass", nothing, tmp_path)
    assert result.equal(programs.doubled(numbers(3)))
    (event,) = recording.of("pass", **{"pass": "post_grad_custom_post_pass"})
    assert not event["changed"]
    assert event["ops_delta"] == {}
    assert recording.of("snapshot", stage="post_grad_pass") == []
    assert [file for file in recording.files if "custom" in file] == []
    check(tmp_path)


def test_what_it_put_in_stems_from_what_it_replaced(tmp_path: Path) -> None:
    result, recording = compile_with("post_grad_custom_post_pass", fuse, tmp_path)
    torch.testing.assert_close(result, programs.doubled(numbers(3)))
    (snapshot,) = recording.of("snapshot", stage="post_grad_pass")
    assert snapshot["ops_delta"] == {"add": -1, "div": 1, "mul": -1, "sub": 1}
    (before,) = recording.of("snapshot", stage="before_post_grad")
    names = {row["id"]: row["name"] for row in recording.table(before)["nodes"]}
    rows = [row for row in recording.table(snapshot)["nodes"] if row["op"] == "call_function"]
    assert [{names[n] for n in row["from"]} for row in rows] == [{"mul", "add"}, {"mul", "add"}]
    sources = recording.table(snapshot)["sources"]
    assert {sources[row["source"]]["code"] for row in rows} == {"return x * 2 + 1"}


def test_one_that_raises(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="this pass is broken") as caught:
        compile_with("post_grad_custom_post_pass", fail, tmp_path)
    assert "cutaway" not in str(caught.value)
    recording = recorded(tmp_path)
    (event,) = recording.of("metric", kind="pass_failed")
    assert event["values"]["pass"] == "post_grad_custom_post_pass"
    assert recording.of("error") == []
    check(tmp_path)


def test_after_one_that_raised_the_next_compile_is_recorded_whole(tmp_path: Path) -> None:
    with cutaway.record(tmp_path):
        with (
            torch._inductor.config.patch(post_grad_custom_post_pass=Pass(fail)),
            pytest.raises(Exception, match="this pass is broken"),
        ):
            torch.compile(programs.doubled)(numbers(3))
        torch._dynamo.reset()
        torch.compile(programs.squared)(numbers(3))
    recording = recorded(tmp_path)
    assert recording.stages("squared")[0] == "captured"
    assert recording.stages("squared")[-1] == "post_grad"
    passes = recording.of("pass", compilation="squared", stage="post_grad_pass")
    assert [event["number"] for event in passes] == list(range(len(passes)))
    check(tmp_path)


def test_the_graph_of_a_pass_can_be_read_while_it_runs(tmp_path: Path) -> None:
    """A live viewer reads what the manifest announces, while the compile goes on."""
    seen: list[list[str]] = []

    def look(graph: fx.Graph) -> None:
        recording = recorded(tmp_path)
        assert all((recording.folder / file["path"]).exists() for file in recording.announced)
        seen.append(recording.stages("doubled"))

    compile_with("post_grad_custom_post_pass", look, tmp_path)
    assert seen[0][0] == "captured"
    assert seen[0][-1] == "before_post_grad"
