"""`cutaway ops`, run as one runs it."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cutaway.cli import main

Run = Callable[..., tuple[int, str, str]]

FAULTY = """
    import torch
    from torch import Tensor
    from cutaway.ops import register_op

    @register_op(allow_inplace=True)
    def cli_scaled(x: Tensor, factor: float) -> Tensor:
        return x * factor

    @cli_scaled.register_input_generator
    def inputs(dtype: torch.dtype, num_tokens: int) -> tuple:
        return torch.randn(num_tokens, 4, dtype=dtype), 3.0

    @cli_scaled.register_impl("right", inplace=True, supports_args=lambda x, factor: x.dtype is torch.float32)
    def right(x: Tensor, factor: float) -> Tensor:
        return x.mul_(factor)

    @cli_scaled.register_impl("wrong")
    def wrong(x: Tensor, factor: float) -> Tensor:
        return x * (factor + 1)

    @cli_scaled.register_impl("elsewhere", supported=False)
    def elsewhere(x: Tensor, factor: float) -> Tensor:
        raise AssertionError
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def ran(*arguments: str) -> tuple[int, str, str]:
        code = main(["ops", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return ran


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A module that registers an op with an implementation that computes something else."""
    folder: Path = tmp_path_factory.mktemp("faulty")
    (folder / "cli_faulty.py").write_text(textwrap.dedent(FAULTY))
    sys.path.insert(0, str(folder))
    return "cli_faulty"


def parsed(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_ops_and_their_providers_are_listed(run: Run, faulty: str) -> None:
    code, out, err = run("cli_scaled", "--module", faulty)
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["cli_scaled(Tensor", "x,", "float", "factor)", "->", "Tensor"],
        ["native", "priority", "1"],
        ["right", "some", "arguments", "only,", "in", "place"],
        ["wrong"],
        ["elsewhere", "not", "supported", "here"],
    ]
    (op,) = parsed(run("cli_scaled", "--module", faulty, "--json")[1])["ops"]
    assert op["priority"] == ["native"]
    assert op["activations"] == ["x"]
    assert [provider["provider"] for provider in op["providers"] if provider["supported"]] == [
        "native",
        "right",
        "wrong",
    ]
    assert op["providers"][1]["function"] == "cli_faulty.right"


def test_those_that_come_with_cutaway_are_there_without_asking(run: Run) -> None:
    names = [op["op"] for op in parsed(run("--json")[1])["ops"]]
    assert {"rms_norm", "fused_add_rms_norm", "silu_and_mul", "rotary_embedding", "static_quant"} <= set(names)
    assert names == sorted(names)


def test_a_check_names_what_differs_and_exits_with_1(run: Run, faulty: str) -> None:
    code, out, err = run("check", "cli_scaled", "--module", faulty)
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["cli_scaled", "native", "9", "equal"],
        ["cli_scaled", "right", "3", "equal,", "6", "refused"],
    ]
    assert lines[2].split() == [
        "cli_scaled",
        "wrong",
        "6",
        "FAILED,",
        "3",
        "equal",
    ]
    assert lines[3].startswith("  float32-num_tokens=1: output 0 is ")
    assert lines[6] == "  and 3 more"
    code, out, _ = run("check", "cli_scaled", "--module", faulty, "--json", "--provider", "wrong")
    shape = parsed(out)
    assert (code, shape["ok"], len(shape["rows"])) == (1, False, 9)
    assert {row["provider"] for row in shape["rows"]} == {"wrong"}


def test_a_check_of_what_is_right_exits_with_0(run: Run, faulty: str) -> None:
    code, out, _ = run("check", "cli_scaled", "--module", faulty, "--provider", "right", "--provider", "native")
    assert (code, len(out.splitlines())) == (0, 2)
    code, out, _ = run("check", "silu_and_mul", "--seed", "7", "--json")
    assert (code, parsed(out)["ok"]) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("check", "rms_nor"), ("no op 'rms_nor'", "did you mean 'rms_norm'")),
        (("rms_norm", "--module", "no_such_module"), ("'no_such_module' cannot be imported", "dotted name")),
        (("check", "--provider", "fast"), ("no op has a provider 'fast'", "there are: ", "leave --provider out")),
        (("check", "cli_scaled", "--provider", "elsewhere"), ("'elsewhere' of op 'cli_scaled'", "does not support it")),
    ],
    ids=["op", "module", "provider", "unsupported"],
)
def test_bad_use_is_answered(run: Run, faulty: str, arguments: tuple[str, ...], parts: tuple[str, ...]) -> None:
    code, out, err = run(*arguments, "--module", faulty)
    assert (code, out) == (2, "")
    assert all(part.lower() in err.lower() for part in parts), err
