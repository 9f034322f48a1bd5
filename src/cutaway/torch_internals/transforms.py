"""Graphs that transform functions: derivatives taken within, tensors wrapped meanwhile, checkpointed regions."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch


def differentiates(target: Any) -> bool:
    """Whether a node's target takes derivatives, and so needs a graph of what was computed before it.

    ``torch.func.grad`` and its kind begin with ``_grad_increment_nesting`` (torch/_functorch/eager_transforms.py).
    """
    names = ("_grad_increment_nesting",)
    private = any(target is getattr(torch._C._functorch, name, None) for name in names)
    return (
        private or target in ("backward", "requires_grad_") or target in (torch.autograd.grad, torch.autograd.backward)
    )


def wants_a_graph(target: Any) -> bool:
    """Whether an operator asks the body that it is given for its fx graph, even when it only runs it.

    ``tag_activation_checkpoint_impl`` in torch/_higher_order_ops/wrap.py does, and for its ``meta``.
    """
    return isinstance(target, torch._ops.HigherOrderOperator) and target.name() == "tag_activation_checkpoint"


def unwrapped(value: Any) -> Any:
    """What lies in a tensor that ``torch.func`` has wrapped (torch/_C/_functorch.pyi); such a one has no storage."""
    functorch = torch._C._functorch
    while isinstance(value, torch.Tensor) and functorch.is_functorch_wrapped_tensor(value):
        value = functorch.get_unwrapped(value)
    return value


@contextmanager
def outside_transforms() -> Generator[None]:
    """Within the block, no transformation of ``torch.func`` is on, which would wrap whatever is computed.

    ``temporarily_clear_interpreter_stack`` of torch/_functorch/pyfunctorch.py.
    """
    if torch._C._functorch.peek_interpreter_stack() is None:
        yield
        return
    from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack  # noqa: PLC0415  (only where needed)

    with temporarily_clear_interpreter_stack():
        yield
