"""What an operator with several implementations costs at an eager call, beside vLLM's `IrOp`.

The op's implementations do nothing but return a tensor that is there, so that what lies between the call and them is
measured; the time of calling the function itself is taken off. With torch wrapping a call goes through torch's
dispatcher, without it straight to the implementation. In the last column two implementations refuse the arguments
before one takes them.

    python benchmarks/dispatch.py --repeat 50
"""

from __future__ import annotations

import itertools
import timeit
from collections.abc import Callable
from statistics import median
from typing import Any

import _measure
import torch
import vllm.ir.op as of_vllm
from torch import Tensor

from cutaway import ops

CALLS = 2000
PRIORITIES = {"first": ["native"], "third": ["one", "two", "native"]}
MODES = {"inference mode": torch.inference_mode, "no_grad": torch.no_grad, "gradients on": torch.enable_grad}
RESULT = torch.ones(4)
ARGUMENTS = (torch.ones(4), torch.ones(4), 1e-6)


def nothing(x: Tensor, weight: Tensor | None, epsilon: float) -> Tensor:
    return RESULT


def refuses(x: Tensor, weight: Tensor | None, epsilon: float) -> bool:
    return False


def with_providers(op: Any) -> Any:
    for provider in PRIORITIES["third"][:-1]:
        op.register_impl(provider, supports_args=refuses)(nothing)
    return op


def main() -> None:
    parser = _measure.parser(__doc__)
    parser.add_argument("--repeat", type=int, default=50, metavar="N", help="turns of each way")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = cost_of_dispatch(3 if arguments.quick else arguments.repeat)
    head = ["ns a call", *(f"{whose}, {place} takes it" for place in PRIORITIES for whose in ("Cutaway", "vLLM"))]
    rows = [
        [way, *(f"{found[way][whose][place]:.0f}" for place in PRIORITIES for whose in ("Cutaway", "vLLM"))]
        for way in found
    ]
    _measure.report(arguments.json, {"ns": found}, __doc__ or "", [_measure.table(head, rows)])


def cost_of_dispatch(repeat: int) -> dict[str, dict[str, dict[str, float]]]:
    """Nanoseconds between a call of an op and its implementation, by the way of calling, whose op, and the place.

    Args:
        repeat: turns of `CALLS` calls that each way has; they alternate, and the median of each counts.
    """
    sides: dict[str, tuple[Any, Callable[[bool], Any]]] = {
        "Cutaway": (with_providers(ops.register_op(name="nothing")(nothing)), ops.enable_torch_wrap),
        "vLLM": (with_providers(of_vllm.register_op(name="nothing")(nothing)), of_vllm.enable_torch_wrap),
    }
    keys = list(itertools.product(MODES, (True, False), sides, PRIORITIES))
    turns: dict[Any, list[float]] = {key: [] for key in keys}
    for _ in range(repeat):
        for key in keys:
            mode, wrap, whose, place = key
            op, wrapping = sides[whose]
            with MODES[mode](), wrapping(wrap), op.set_priority(PRIORITIES[place]):
                turns[key].append(of_calls(op) - of_calls(nothing))
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (mode, wrap, whose, place), times in turns.items():
        way = f"{mode}, {'through torch' if wrap else 'direct'}"
        found.setdefault(way, {}).setdefault(whose, {})[place] = median(times)
    return found


def of_calls(function: Any) -> float:
    return 1e9 * timeit.timeit(lambda: function(*ARGUMENTS), number=CALLS) / CALLS


if __name__ == "__main__":
    main()
