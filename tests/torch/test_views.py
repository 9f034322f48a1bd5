"""Views that AOTAutograd makes anew after a write stem from the line that made them, not from one that reads them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from programs import numbers
from recordings import Recorded, check, recorded

import cutaway

Function = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]


@torch.library.custom_op("cutaway_views::fill", mutates_args=("out",))
def fill(out: torch.Tensor, x: torch.Tensor) -> None:
    out.copy_(x)


@fill.register_fake
def _(out: torch.Tensor, x: torch.Tensor) -> None:
    return None


def written_by_an_operator(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    out = torch.empty(4, 16)
    q, k = out.split([8, 8], -1)
    fill(out, x)
    heads = q.view(4, 2, 4)
    norm = torch.rms_norm(heads, (4,))
    product = k[..., :4] * k[..., 4:]
    return norm, product, k


def written_through_a_view(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    y = x.sin()
    top, bottom = y.chunk(2)
    top.relu_()
    bottom.sigmoid_()
    turned = top.t()
    return torch.exp(turned), y.reshape(-1)


def written_in_turns(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    y = x * 2
    z = y.t()
    w = z[1:]
    y.add_(1)
    w.mul_(3)
    return y + 1, torch.exp(w)


def parts_of_a_result(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    values, places = x.sort()
    first, second = values.topk(3)
    return first + 1, second, places


EXPECTED: dict[Function, dict[str, set[str]]] = {
    written_by_an_operator: {
        "empty": {"out = torch.empty(4, 16)"},
        "auto_functionalized_v2": {"fill(out, x)"},
        "split_with_sizes": {"q, k = out.split([8, 8], -1)"},
        "getitem": {"q, k = out.split([8, 8], -1)", "fill(out, x)"},
        "view": {"heads = q.view(4, 2, 4)"},
        "slice": {"product = k[..., :4] * k[..., 4:]"},
        "rsqrt": {"norm = torch.rms_norm(heads, (4,))"},
    },
    written_through_a_view: {
        "split": {"top, bottom = y.chunk(2)"},
        "getitem": {"top, bottom = y.chunk(2)"},
        "relu": {"top.relu_()"},
        "sigmoid": {"bottom.sigmoid_()"},
        "slice_scatter": {"top.relu_()", "bottom.sigmoid_()"},
        "permute": {"turned = top.t()"},
        "exp": {"return torch.exp(turned), y.reshape(-1)"},
    },
    parts_of_a_result: {
        "sort": {"values, places = x.sort()"},
        "topk": {"first, second = values.topk(3)"},
        "getitem": {"values, places = x.sort()", "first, second = values.topk(3)"},
        "add": {"return first + 1, second, places"},
    },
    written_in_turns: {
        "permute": {"z = y.t()", "w.mul_(3)"},  # the write goes back through the views of what it writes to
        "slice": {"w = z[1:]", "w.mul_(3)"},
        "slice_scatter": {"w.mul_(3)"},
        "exp": {"return y + 1, torch.exp(w)"},
    },
}


def lines_of(recording: Recorded, stage: str) -> dict[str, set[str]]:
    """Operator -> the lines that its nodes stem from, by the captured nodes that they name; each node from one line."""
    (captured,) = (recording.table(event) for event in recording.of("snapshot", stage="captured"))
    (traced,) = (recording.table(event) for event in recording.of("snapshot", stage=stage))
    lines: dict[str, set[str]] = {}
    for row in traced["nodes"]:
        if row["op"] != "call_function":
            continue
        parts = row["target"].split(".")
        name = parts[1] if parts[0] != "operator" else "getitem"
        assert row["from"], f"{row['name']} stems from nothing"
        origins = {captured["sources"][captured["nodes"][number]["source"]]["code"] for number in row["from"]}
        assert len(origins) == 1, row["name"]
        assert traced["sources"][row["source"]]["code"] in origins, row["name"]
        lines.setdefault(name, set()).update(origins)
    return lines


@pytest.mark.parametrize("function", EXPECTED, ids=lambda function: function.__name__)
def test_a_view_stems_from_its_own_line(tmp_path: Path, function: Function) -> None:
    with cutaway.record(tmp_path):
        result = torch.compile(function)(numbers(4, 16))
    torch.testing.assert_close(result, function(numbers(4, 16)))
    found = lines_of(recorded(tmp_path), "aot_forward")
    expected = EXPECTED[function]
    assert {name: found[name] for name in expected} == expected
    assert set().union(*found.values()) <= {line.strip() for line in inspect.getsource(function).splitlines()}
    check(tmp_path)
