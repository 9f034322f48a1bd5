"""Raw files: each runs as a script, at any size, and computes what the graph computes."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import programs
import pytest
import torch
import torch.utils.checkpoint
from programs import numbers
from recordings import Recorded, in_child, recorded

import cutaway
from cutaway.dump import load
from cutaway.replay import replay

SIZES = re.compile(r"^def example_inputs\((.*)\):$", re.MULTILINE)


def raw_files(recording: Recorded) -> list[Path]:
    return [recording.folder / file["path"] for file in recording.announced if file["kind"] == "raw"]


def sizes_of(path: Path) -> dict[str, int]:
    (text,) = SIZES.findall(path.read_text())
    return {name: int(value) for name, _, value in (part.partition("=") for part in text.split(", ") if part)}


def run(path: Path, *sizes: str) -> str:
    sys.argv = [str(path), *sizes]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        runpy.run_path(str(path), run_name="__main__")
    return out.getvalue()


def run_all(paths: list[Path]) -> dict[str, str]:
    """Run in a child every file, and those with sizes at another one too; what went wrong with each."""
    wrong: dict[str, str] = {}
    for path in paths:
        sizes = sizes_of(path)
        for arguments in ([], [f"{name}={value + 3}" for name, value in sizes.items()])[: 2 if sizes else 1]:
            try:
                printed = run(path, *arguments)
            except Exception as error:  # noqa: BLE001  (all are collected)
                wrong[f"{path.name} {arguments}"] = f"{type(error).__name__}: {error}"
            else:
                if "output 0: " not in printed or "nan" in printed:
                    wrong[f"{path.name} {arguments}"] = printed
    return wrong


@pytest.mark.parametrize("recording", ["plain", "trained"])
def test_every_file_runs(recording: str, request: pytest.FixtureRequest) -> None:
    paths = raw_files(request.getfixturevalue(recording))
    assert len(paths) > 5
    assert in_child(run_all, paths) == {}


def test_none_says_that_it_cannot_run(plain: Recorded, trained: Recorded) -> None:
    assert [path for path in raw_files(plain) + raw_files(trained) if "CANNOT RUN" in path.read_text()] == []


@pytest.mark.parametrize("file", ["Net.forward.2/00.captured.py", "Net.forward/01.aot_forward.py"])
def test_as_a_script_of_its_own(plain: Recorded, file: str, tmp_path: Path) -> None:
    """Without the model, without Cutaway, from another folder."""
    path = plain.folder / file
    sizes = [f"{name}={value + 2}" for name, value in sizes_of(path).items()]
    found = subprocess.run(
        [sys.executable, str(path), *sizes], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    rows = 9 if sizes else 4
    assert re.fullmatch(rf"output 0: torch.float32 \[{rows}, 8\] sum -?[0-9.e-]+\n", found.stdout)


def test_there_are_sizes_to_choose(plain: Recorded) -> None:
    sizes = {path.parent.name for path in raw_files(plain) if sizes_of(path)}
    assert sizes == {"Net.forward.2"}


def real_inputs(recording: Recorded, snapshot: dict[str, Any], net: programs.Net, x: torch.Tensor) -> list[Any]:
    """The values that the placeholders of a graph stand for, found by the model path in its node table."""
    found: list[Any] = []
    for row in recording.table(snapshot)["nodes"]:
        if row["op"] != "placeholder":
            continue
        if row["dtype"] == "SymInt":
            found.append(x.shape[0])
        elif row["input"].startswith("self."):
            found.append(net.get_parameter(row["input"].removeprefix("self.")))
        else:
            found.append(x)
    return found


@pytest.mark.parametrize("rows", [2, 7, 11])
@pytest.mark.parametrize("stage", ["captured", "aot_forward", "post_grad_pass"])
def test_with_real_inputs_it_computes_what_the_model_computes(plain: Recorded, stage: str, rows: int) -> None:
    (event,) = plain.of("snapshot", compilation="Net.forward.2", stage=stage)
    (raw,) = [file for file in event["files"] if file["kind"] == "raw"]
    net, x = programs.Net(), numbers(rows, 8, seed=rows)
    graph = runpy.run_path(str(plain.folder / raw["path"]))["Graph"]()
    with torch.no_grad():
        (found,) = graph(*real_inputs(plain, event, net, x))
        expected = net(x)
    assert found.shape == expected.shape
    if stage == "captured":
        assert found.equal(expected)
    torch.testing.assert_close(found, expected)


def test_a_backward_gives_the_gradients(trained: Recorded) -> None:
    """The joint graph is fed the inputs and the gradient of the output."""
    (event,) = trained.of("snapshot", stage="aot_joint")
    rows = [row for row in trained.table(event)["nodes"] if row["op"] == "placeholder"]
    assert [row["name"] for row in rows][-1] == "tangents_1"
    path = next(file["path"] for file in event["files"] if file["kind"] == "raw")
    file = runpy.run_path(str(trained.folder / path))
    torch.manual_seed(0)
    inputs = [value.requires_grad_() for value in file["example_inputs"]()]
    result, *gradients = torch.utils._pytree.tree_leaves(file["Graph"]()(*[value.detach() for value in inputs]))
    up, up_bias, x, down, down_bias, tangent = inputs
    hidden = torch.nn.functional.silu(torch.nn.functional.linear(x, up, up_bias))
    expected = torch.nn.functional.linear(hidden, down, down_bias)
    torch.testing.assert_close(result, expected.detach())
    wanted = torch.autograd.grad(expected, [up, up_bias, down, down_bias], tangent)
    shown = [gradient for gradient in gradients if gradient is not None]
    for gradient, value in zip(shown, wanted, strict=True):
        torch.testing.assert_close(gradient, value)


def test_a_condition_keeps_its_branches(tmp_path: Path) -> None:
    with cutaway.record(tmp_path):
        torch.compile(programs.branching, backend="eager")(numbers(4))
    (event,) = recorded(tmp_path).of("snapshot", stage="captured")
    table = recorded(tmp_path).table(event)
    assert len(table["graphs"]) == 2
    path = next(file["path"] for file in event["files"] if file["kind"] == "raw")
    graph = runpy.run_path(str(recorded(tmp_path).folder / path))["Graph"]()
    for x in (numbers(4).abs(), -numbers(4).abs()):
        assert graph(x)[0].equal(programs.branching(x))


def test_a_method_with_odd_arguments(tmp_path: Path) -> None:
    def odd(x: torch.Tensor) -> torch.Tensor:
        y = x[..., 1::2, None].masked_fill(x[..., :2, None] < 0, float("-inf"))
        z = torch.full((2, 2), float("nan"), dtype=torch.float64, device=x.device).to(x.dtype)
        return torch.cat([y.sum(-1, dtype=torch.float32), z.nan_to_num(-1.5, posinf=None)])

    with cutaway.record(tmp_path):
        torch.compile(odd, backend="eager")(numbers(2, 4))
    (path,) = raw_files(recorded(tmp_path))
    graph = runpy.run_path(str(path))["Graph"]()
    assert graph(numbers(2, 4, seed=3))[0].equal(odd(numbers(2, 4, seed=3)))


def test_graphs_that_take_derivatives_or_checkpoint(tmp_path: Path) -> None:
    """Within torch.func tensors are wrapped, without storage; a checkpointed body is asked for its graph."""

    def slope(x: torch.Tensor) -> torch.Tensor:
        return torch.func.grad(lambda y: (y**2).sum())(x)

    def region(x: torch.Tensor) -> torch.Tensor:
        inside = torch.utils.checkpoint.checkpoint(lambda y: y.sin().cos(), x, use_reentrant=False)
        assert isinstance(inside, torch.Tensor)
        return inside.sum()

    with cutaway.record(tmp_path):
        torch.compile(slope)(torch.ones(4, 4))
        torch.compile(region)(torch.ones(4, requires_grad=True)).backward()
    recording = recorded(tmp_path)
    captured = recording.of("snapshot", stage="captured")
    names = [runpy.run_path(str(recording.folder / event["files"][0]["path"]), run_name="raw") for event in captured]
    x = numbers(4, 4)
    with torch.no_grad():  # as whoever runs a graph does
        assert names[0]["Graph"]()(x)[0].equal(2 * x)
        assert names[1]["Graph"]()(x)[0].equal(x.sin().cos().sum())
    dump = load(tmp_path)
    for event, last in zip(captured, recording.of("snapshot", stage="aot_forward"), strict=False):
        found = replay(dump.snapshots[last["selector"]], dump.snapshots[event["selector"]])
        assert found.outcome in ("same", "close"), found
