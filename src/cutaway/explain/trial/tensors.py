"""A model's outputs against those that are right, with float64 as the referee where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cutaway.explain.trial.judge import Assessment
from cutaway.explain.trial.observation import Tensors
from cutaway.replay.compare import TOLERANCES

_WHOLE = {torch.float32: 10.0, torch.float64: 10.0}
"""A whole model rounds more often than one operator, for which the tolerances of `replay` are; short floats anyway."""
_WORSE = 8.0
"""A compiled model may be so much further from float64 than eager is: both round, in another order."""


def compared(found: Tensors, right: Tensors, tolerance: float | None, named: str) -> Assessment:
    """See `cutaway.explain.trial.judge.compared`."""
    ours, theirs = _load(found), _load(right)
    referee: list[Any] = theirs["referee"]
    rounds = ours["rounds"]
    known = theirs["rounds"]
    worst, bad = "", 0
    largest = 0.0
    for number, one in enumerate(rounds):
        other = known[min(number, len(known) - 1)]
        exact = referee if number == 0 else []
        if theirs.get("is_first_alone"):
            one = [one[0][: len(other[0])]]
        words, apart = _round(one, other, exact, tolerance, named)
        largest = max(largest, apart)
        if words:
            bad += 1
            worst = worst or (words if number == 0 else f"the {_nth(number)} time, {words}")
    if worst:
        return Assessment(True, worst, bad, len(rounds))
    return Assessment(False, "the same bits" if largest == 0 else f"within {largest:.2g}", 0, len(rounds))


def written(values: list[torch.Tensor], folder: Path) -> Tensors:
    """What is right, as a user gave it: outputs of the first call, written down like a trial's."""
    path = folder / "expected.pt"
    outputs = [value.detach().to("cpu", copy=True) for value in values]
    torch.save({"rounds": [[outputs]], "referee": [], "is_first_alone": True}, path)
    return Tensors(str(path), [f"{value.dtype} {list(value.shape)}" for value in outputs], [0] * len(outputs))


def _load(outputs: Tensors) -> dict[str, Any]:
    return torch.load(outputs.path, weights_only=True)


def _nth(number: int) -> str:
    return {1: "second", 2: "third"}.get(number, f"{number + 1}th")


def _round(
    ours: list[list[torch.Tensor]],
    theirs: list[list[torch.Tensor]],
    referee: list[list[torch.Tensor]],
    tolerance: float | None,
    named: str,
) -> tuple[str, float]:
    """What is wrong in a round, or empty; and the largest distance."""
    largest = 0.0
    for call, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        where = f"call {call}, " if len(ours) > 1 else ""
        if len(one) != len(other):
            return f"{where}{len(one)} values, and {len(other)} in {named}", largest
        exact = referee[call] if call < len(referee) and len(referee[call]) == len(one) else [None] * len(one)
        for index, (value, known, judge) in enumerate(zip(one, other, exact, strict=True)):
            words, apart = _tensor(value, known, judge, tolerance, named)
            largest = max(largest, apart)
            if words:
                return f"{where}output {index}: {words}", largest
    return "", largest


def _tensor(
    value: torch.Tensor, known: torch.Tensor, exact: torch.Tensor | None, tolerance: float | None, named: str
) -> tuple[str, float]:
    if value.shape != known.shape or value.dtype != known.dtype:
        return f"{value.dtype} {list(value.shape)}, and {known.dtype} {list(known.shape)} in {named}", 0.0
    if not value.numel():
        return "", 0.0
    if not value.is_floating_point():
        differing = int((value != known).sum())
        return (f"{differing} of {value.numel()} elements differ from {named}" if differing else ""), float(differing)
    ours, theirs = value.double(), known.double()
    odd = (ours.isfinite() != theirs.isfinite()) | (ours.isnan() != theirs.isnan())
    if odd.any():
        return f"{int(odd.sum())} of {value.numel()} elements are NaN or infinite on one side alone", float("inf")
    apart = torch.where(ours.isfinite(), (ours - theirs).abs(), 0.0)
    limit = _limit(theirs, value.dtype, tolerance)
    beyond = apart > limit
    largest = float(apart.max())
    if not beyond.any() or (exact is not None and tolerance is None and _is_rounding(ours, theirs, exact.double())):
        return "", largest
    at = int((apart - limit).reshape(-1).argmax())
    one, other = float(ours.reshape(-1)[at]), float(theirs.reshape(-1)[at])
    refereed = "" if exact is None else f"; float64 says {float(exact.double().reshape(-1)[at]):.6g}"
    many = f"{int(beyond.sum())} of {value.numel()} elements are beyond tolerance"
    return f"{many}, such as {one:.6g}, and {other:.6g} in {named}{refereed}", largest


def _limit(known: torch.Tensor, dtype: torch.dtype, tolerance: float | None) -> torch.Tensor:
    """How far each element may be away: by its own size, and by that of all."""
    if tolerance is not None:
        return tolerance + tolerance * known.abs()
    relative, absolute = TOLERANCES.get(dtype, (1e-4, 1e-5))
    finite = known[known.isfinite()]
    typical = float(finite.square().mean().sqrt()) if finite.numel() else 0.0
    more = _WHOLE.get(dtype, 3.0)
    return torch.where(known.isfinite(), more * (absolute + relative * (known.abs() + typical)), float("inf"))


def _is_rounding(ours: torch.Tensor, theirs: torch.Tensor, exact: torch.Tensor) -> bool:
    """Whether we are about as far from float64 as eager is."""
    if exact.shape != ours.shape:
        return False
    return bool((ours - exact).abs().max() <= _WORSE * (theirs - exact).abs().max())
