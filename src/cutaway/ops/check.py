"""Every implementation of an op against its native body, over the op's table of cases.

What is compared: the number of outputs, their dtype, shape, device and stride, and their values within the op's
tolerance; that the caller's arguments are left alone; that the fake says the same of the outputs as the real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from cutaway.errors import CutawayError, OpError
from cutaway.ops.cases import Case
from cutaway.ops.impl import IrOpImpl, implementation
from cutaway.ops.names import listed
from cutaway.ops.op import IrOp
from cutaway.ops.torch_op import shared_with, tensors_in
from cutaway.torch_internals import no_tracing_fake_mode

Outcome = Literal["equal", "close", "refused", "failed"]


@dataclass(frozen=True)
class CheckRow:
    """One implementation in one case.

    Attributes:
        op: name of the op.
        provider: of the implementation; ``native`` is held to the op's fake, and to leaving its arguments alone.
        case: name of the case.
        outcome: ``equal`` to native bit for bit, ``close`` within the tolerance, ``refused`` by `supports_args`, or
            ``failed``.
        error: the largest difference as a share of what the tolerance allows; 0 when equal, above 1 when failed.
        problem: what is wrong, when it failed.
    """

    op: str
    provider: str
    case: str
    outcome: Outcome
    error: float = 0.0
    problem: str = ""


def check_op(
    op: IrOp, providers: Sequence[str] | None = None, *, device: str | torch.device = "cpu", seed: int = 0
) -> list[CheckRow]:
    """Compare an op's implementations with its native body, in every case of its table.

    Args:
        op: the op.
        providers: which implementations; all that this machine supports, if left out.
        device: where the arguments lie.
        seed: of the arguments.

    Returns:
        One row for each provider and case, providers in the order of registration.

    Raises:
        OpError: nobody has said how arguments are made; a provider is unknown, or not supported here.
    """
    wanted = op.supported_providers() if providers is None else list(providers)
    impls = [implementation(op, provider) for provider in wanted]
    for impl in impls:
        if not impl.supported:
            raise OpError(
                f"provider '{impl.provider}' of op '{op.name}' cannot be checked",
                f"this machine does not support it; it supports: {listed(op.supported_providers())}",
                "check it where it is supported",
            )
    cases = op.cases()
    return [check_case(impl, case, device=device, seed=seed) for impl in impls for case in cases]


def check_case(impl: IrOpImpl, case: Case, *, device: str | torch.device = "cpu", seed: int = 0) -> CheckRow:
    """Compare one implementation with the native body in one case; arguments as of `check_op`."""
    op = impl.op
    args = op.with_defaults(op.inputs.generate(dict(case.values), device, seed))
    outcome, worst, problem = _outcome(impl, args)
    return CheckRow(op.name, impl.provider, str(case), outcome, worst, problem)


def _outcome(impl: IrOpImpl, args: tuple[Any, ...]) -> tuple[Outcome, float, str]:
    try:
        with torch.no_grad():
            if not impl.supports_args(*args):
                return "refused", 0.0, ""
            worst = _checked(impl, args)
    except _DiffersError as error:
        return "failed", error.error, str(error)
    except CutawayError as error:
        return "failed", float("inf"), str(error)
    except Exception as error:  # noqa: BLE001  (an implementation may raise anything; a check reports it)
        return "failed", float("inf"), f"{type(error).__name__}: {error}"
    return ("close" if worst else "equal"), worst, ""


class _DiffersError(Exception):
    """An implementation does something else than native; never leaves this module."""

    def __init__(self, problem: str, error: float = float("inf")) -> None:
        super().__init__(problem)
        self.error = error


def _checked(impl: IrOpImpl, args: tuple[Any, ...]) -> float:
    """The largest difference between an implementation and native, as a share of what is allowed."""
    op = impl.op
    wanted = tensors_in(op.impls["native"].function(*_copied(args)))
    kept = _copied(args)
    found = tensors_in(impl.functional(*args))
    _hold_arguments(op, args, kept, written=())
    if not impl.inplace and (shared := shared_with(found, dict(zip(op.signature.parameters, args, strict=True)))):
        raise _DiffersError(shared)
    _hold_fake(op, args, found)
    worst = _difference(op, wanted, found)
    if impl.inplace:
        given = _copied(args)
        worst = max(worst, _difference(op, wanted, tensors_in(impl.function(*given))))
        _hold_arguments(op, given, kept, written=op.activation_indices)
    return worst


def _copied(value: Any) -> Any:
    """Tensors copied with their strides; everything else as it is."""
    if isinstance(value, Tensor):
        copy = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=value.device)
        return copy.copy_(value)
    return type(value)(map(_copied, value)) if type(value) in (list, tuple) else value


def _hold_arguments(op: IrOp, args: tuple[Any, ...], before: tuple[Any, ...], written: Sequence[int]) -> None:
    for index, name in enumerate(op.signature.parameters):
        if index in written:
            continue
        for now, then in zip(tensors_in(args[index]), tensors_in(before[index]), strict=True):
            if not _same(now, then):
                raise _DiffersError(f"it writes to argument '{name}'")


def _same(first: Tensor, second: Tensor) -> bool:
    """Equal bit for bit, but for the bits of a NaN."""
    return torch.equal(torch.nan_to_num(_widened(first), 7), torch.nan_to_num(_widened(second), 7))


def _widened(value: Tensor) -> Tensor:
    """As numbers that torch can compare and subtract on any device."""
    if value.dtype == torch.float64 or not value.is_floating_point():
        return value.to(torch.float64) if value.dtype != torch.bool else value.to(torch.int8)
    return value.to(torch.float32)


def _hold_fake(op: IrOp, args: tuple[Any, ...], found: list[Tensor]) -> None:
    mode = no_tracing_fake_mode()
    with mode:
        faked = [mode.from_tensor(value) if isinstance(value, Tensor) else value for value in args]
        outputs = tensors_in(op.run_fake(*faked))
    if len(outputs) != len(found):
        raise _DiffersError(f"it returns {len(found)} tensors, the fake of the op {len(outputs)}")
    for number, (real, fake) in enumerate(zip(found, outputs, strict=True)):
        if _layout(real) != _layout(fake):
            raise _DiffersError(f"output {number} is {_layout(real)}, the fake of the op says {_layout(fake)}")


def _layout(value: Tensor) -> str:
    """dtype, shape, stride and device as text; strides of dimensions that hold one element at most say nothing."""
    strides = [stride if size > 1 else 0 for size, stride in zip(value.shape, value.stride(), strict=True)]
    shown = f" with stride {strides}" if value.numel() else ""
    return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}{shown} on {value.device.type}"


def _difference(op: IrOp, wanted: list[Tensor], found: list[Tensor]) -> float:
    if len(wanted) != len(found):
        raise _DiffersError(f"it returns {len(found)} tensors, native {len(wanted)}")
    return max(
        (_of_output(op, number, *pair) for number, pair in enumerate(zip(wanted, found, strict=True))), default=0
    )


def _of_output(op: IrOp, number: int, wanted: Tensor, found: Tensor) -> float:
    if _layout(wanted) != _layout(found):
        raise _DiffersError(f"output {number} is {_layout(found)}, native's {_layout(wanted)}")
    tolerance = op.tolerance(wanted.dtype)
    due, got = _widened(wanted), _widened(found)
    strange = due.isnan() != got.isnan() if due.is_floating_point() else torch.zeros_like(due, dtype=torch.bool)
    difference = torch.where((due == got) | (due.isnan() & got.isnan()), 0, (due - got).abs().to(torch.float64))
    allowed = tolerance["atol"] + tolerance["rtol"] * due.abs().to(torch.float64)
    share = torch.where(difference == 0, 0, difference / allowed).nan_to_num(nan=torch.inf)
    share = torch.where(strange, torch.inf, share)
    if not share.numel() or (worst := float(share.max())) == 0:
        return 0.0
    if worst <= 1:
        return worst
    at = tuple(int(index) for index in torch.unravel_index(share.argmax(), share.shape))
    raise _DiffersError(
        f"output {number} is {got[at].item():g} at {list(at)}, native's {due[at].item():g}; "
        f"allowed are {allowed[at].item():.3g}, and {int((share > 1).sum())} of {share.numel()} elements are beyond",
        worst,
    )
