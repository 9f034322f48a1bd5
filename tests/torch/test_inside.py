"""Graphs inside of graphs: what compiling changes in the branches of a `torch.cond` is named, under the cond."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from programs import numbers

import cutaway
from cutaway.cli import main
from cutaway.dump import Dump, load
from cutaway.dump.diff import Diff, diff


class Branches(torch.nn.Module):
    """A linear layer, then one of two activations; the second has a condition of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def positive(x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.silu(x) * 2

        def large(x: torch.Tensor) -> torch.Tensor:
            return torch.rms_norm(x, (8,))

        def negative(x: torch.Tensor) -> torch.Tensor:
            return torch.cond(x.sum() < -9, large, torch.exp, (x,))

        y = self.linear(x)
        return torch.cond(y.sum() > 0, positive, negative, (y,)) + 1


@pytest.fixture(name="dump", scope="module")
def _dump(tmp_path_factory: pytest.TempPathFactory) -> Dump:
    path = tmp_path_factory.mktemp("inside")
    torch.compiler.reset()
    with cutaway.record(path), torch.no_grad():
        torch.compile(Branches())(numbers(4, 8))
    return load(path)


def compared(dump: Dump, before: str, after: str) -> Diff:
    one, other = (next(each for each in dump.snapshots.values() if each.stage == stage) for stage in (before, after))
    return diff(one, other)


def texts(found: Diff) -> list[str]:
    return [rewrite.text for rewrite in found.rewrites if not rewrite.is_renaming and rewrite.what != ("graph",)]


def test_rewrites_in_the_branches_are_named(dump: Dump) -> None:
    found = compared(dump, "captured", "aot_forward")
    assert texts(found) == ["linear \N{RIGHTWARDS ARROW} permute + addmm"]
    positive, negative = found.inside
    assert [each.operator for each in found.inside] == ["cond", "cond"]
    assert positive.names == ("cond_true_1", "true_graph_0")
    assert texts(positive.diff) == ["silu \N{RIGHTWARDS ARROW} neg + exp + add + div"]
    large, other = negative.diff.inside
    assert texts(large.diff) == ["rms_norm \N{RIGHTWARDS ARROW} pow + mean + add + rsqrt + mul"]
    assert [(rewrite.is_renaming, rewrite.after) for rewrite in other.diff.rewrites] == [(True, ("exp",))]
    assert "graphs inside of cond differ" in found.summary


def test_the_other_way_round(dump: Dump) -> None:
    there, back = compared(dump, "captured", "aot_forward"), compared(dump, "aot_forward", "captured")
    assert [each.names[::-1] for each in there.inside] == [each.names for each in back.inside]
    for one, other in zip(there.inside, back.inside, strict=True):
        pairs = [[(rewrite.before, rewrite.after) for rewrite in each.diff.rewrites] for each in (one, other)]
        assert sorted(pairs[0]) == sorted((after, before) for before, after in pairs[1])


def test_what_stays_as_it_was_is_not_named(dump: Dump) -> None:
    found = compared(dump, "aot_forward", "post_grad")
    assert not found.inside
    assert found.is_empty


@pytest.mark.parametrize("option", [(), ("--brief",), ("--text",)], ids=["side by side", "brief", "text"])
def test_what_is_printed(dump: Dump, option: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(dump.path), "captured", "aot_forward", *option]) == 1
    out = capsys.readouterr().out
    assert "inside of cond, cond_true_1 \N{RIGHTWARDS ARROW} true_graph_0" in out
    assert out.index("addmm") < out.index("inside of cond") < out.index("neg")


def test_json(dump: Dump, capsys: pytest.CaptureFixture[str]) -> None:
    main(["diff", str(dump.path), "captured", "aot_forward", "--json"])
    (found,) = json.loads(capsys.readouterr().out)["comparisons"]
    positive, negative = found["inside"]
    assert positive["graphs"] == ["cond_true_1", "true_graph_0"]
    shown = [node["name"] for rewrite in positive["rewrites"] for node in rewrite["shown"]["before"]]
    assert "silu" in shown
    assert negative["inside"][0]["operator"] == "cond"


def test_a_graph_that_the_dump_lacks_is_left_out(dump: Dump, tmp_path: Path) -> None:
    shutil.copytree(dump.path, tmp_path / "p")
    for path in (tmp_path / "p" / "nodes").glob("*.json"):
        table = json.loads(path.read_text())
        table["graphs"] = dict(list(table.get("graphs", {}).items())[:1])
        path.write_text(json.dumps(table))
    assert len(compared(load(tmp_path / "p"), "captured", "aot_forward").inside) < 2
