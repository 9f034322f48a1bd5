"""What the arguments of a recorded node tell: which nodes they name, and whether the call writes into its first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cutaway.dump.schema import Node

_SETTERS = frozenset(
    f"operator.{name}"
    for name in (
        "setitem", "iadd", "iand", "ifloordiv", "ilshift", "imatmul", "imod", "imul", "ior", "ipow", "irshift", "isub",
        "itruediv", "ixor",
    )
)  # fmt: skip


def references(value: Any) -> Iterator[int]:
    """Ids of the nodes that are named in arguments, in order.

    Args:
        value: arguments as docs/dump-format.md has them, "Arguments".
    """
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += reversed(value)
        elif isinstance(value, dict):
            number = value.get("node")
            if isinstance(number, int):
                yield number
            else:
                waiting += reversed(list(value.values()))


def operator_name(node: Node) -> str:
    """`aten.copy_.default` is `copy_`, `torch.nn.functional.relu_` is `relu_`."""
    parts = node.target.split(".")
    has_overload = node.op == "call_function" and len(parts) == 3 and parts[0] not in ("torch", "operator")
    return parts[1] if has_overload else parts[-1]


def is_in_place(node: Node) -> bool:
    """Whether a call writes into its first argument: by its name, or told so (`inplace=True`).

    `operator.and_` ends as it does because `and` is a word of the language.
    """
    if node.target in _SETTERS or node.kwargs.get("inplace") is True:
        return True
    name = operator_name(node)
    is_named_so = name.endswith("_") and not name.endswith("__") and not node.target.startswith("operator.")
    return is_named_so and node.op != "call_module"
