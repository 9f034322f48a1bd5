"""What stands on modules and is torch's own: children, operators, groups of ranks."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

import torch

from cutaway.torch_internals.operators import overload_of_custom_op


def children_of(module: torch.nn.Module) -> dict[str, torch.nn.Module | None]:
    """What is registered under each name; ``named_children`` leaves out a module that is there twice, and None."""
    return dict(module._modules)


def operator_name(value: Any) -> str | None:
    """Name of an operator, of all its overloads, or of their definition in Python; else None."""
    value = overload_of_custom_op(value) or value
    kinds = (torch._ops.OpOverload, torch._ops.OpOverloadPacket, torch._ops.HigherOrderOperator)
    return f"operator {value}" if isinstance(value, kinds) else None


def process_group_name(value: Any) -> str | None:
    """Name and size of a group of ranks, which share what is kept (torch/_C/_distributed_c10d.pyi); else None."""
    if not torch.distributed.is_available() or not isinstance(value, torch.distributed.ProcessGroup):
        return None  # torch may be built without them
    return f"{type(value).__qualname__} {value.group_name!r} of {value.size()}"
