"""`why pattern` as a user calls it, on a recording of our compiler in which one layer is not like the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import cutaway
from cutaway.cli import main
from cutaway.compiler import CompilationConfig
from cutaway.dump import load
from cutaway.explain.patterns.child import do
from cutaway.explain.patterns.graphs import choose_graphs
from cutaway.explain.patterns.job import Job
from cutaway.explain.patterns.sources import SourceError, find_source
from cutaway.ops.library import rms_norm

USERS = str(Path(__file__).with_name("users_patterns.py"))


class Layer(torch.nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(64))
        self.scale = scale

    def forward(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        total = torch.add(x, residual, alpha=self.scale) if self.scale != 1 else x + residual
        return rms_norm(total, self.weight, 1e-6).relu(), total


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(Layer(2 if i == 2 else 1) for i in range(4))

    def forward(self, x: Tensor) -> Tensor:
        residual = x
        for layer in self.layers:
            x, residual = layer(x, residual)
        return x + residual


@pytest.fixture(scope="module", name="dump")
def _dump(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("why") / "dump"
    torch._dynamo.reset()
    with cutaway.record(folder), torch.no_grad():
        cutaway.compile(Model(), CompilationConfig(disable_cache=True))(torch.randn(8, 64))
    return str(folder)


def asked(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> Any:
    assert main(["why", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_the_layer_that_was_left(dump: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = asked(capsys, 1, "pattern", dump, "add_rms_norm_fusion")
    (match,) = found["matches"]
    assert (match["count"], match["where"]) == (3, "layers.0–1,3")
    miss = found["misses"][0]
    assert (miss["where"], miss["got"], miss["of"]) == ("layers.2", 2, 2)
    assert miss["reasons"][0]["text"] == "what is added is taken 2 times"
    (ran,) = found["ran"]
    assert ran["counts"]["matches"] == 3
    assert list(ran["refused"].values()) == ["what is added is taken 2 times"]
    assert found["absent"] == []


def test_a_users_pattern_out_of_a_file(dump: str) -> None:
    seen = choose_graphs(load(dump), USERS, "before_post_grad")
    found = do(Job(f"{USERS}:relu_of_norm", [each.graph() for each in seen]))
    assert found.problem is None
    assert [attempt.matched for attempt in found.attempts] == [True] * 4


@pytest.mark.parametrize(
    ("asked_for", "sentence"),
    [
        ("no_such_module:Pass", "there is no module 'no_such_module'"),
        ("no_such_pass", "no pass is called 'no_such_pass'"),
        ("torch:Pass", "torch has no 'Pass'"),
        ("nowhere.py:Pass", "there is no file 'nowhere.py'"),
        (f"{USERS}:torch.float32", "torch.float32 has no patterns"),
    ],
    ids=["module", "pass", "object", "file", "value"],
)
def test_what_cannot_be_found(asked_for: str, sentence: str) -> None:
    with pytest.raises(SourceError) as raised:
        find_source(asked_for, None)
    assert raised.value.args[0] == sentence


def test_what_stayed_apart_after_all(dump: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(capsys, 0, "unfused", dump)["chains"] == []
