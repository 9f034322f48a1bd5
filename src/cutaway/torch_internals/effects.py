"""What operators do to memory: out of their schemas, and where a schema says too little."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Effects:
    """What a call of an operator reads, writes and returns.

    Attributes:
        parameters: their names, in order.
        writes: those whose memory is written to.
        aliases: for each result, the parameters whose memory it may lie in.
        is_view: whether all results always lie in a parameter's memory, so that the call itself reads nothing.
        changes_metadata: whether a tensor has other sizes, strides or memory after the call (``set_``, ``t_``).
    """

    parameters: tuple[str, ...]
    writes: frozenset[str]
    aliases: tuple[frozenset[str], ...]
    is_view: bool
    changes_metadata: bool


# They return what they are given, or a view of it, and their schemas do not say so.
_SILENT = (
    "aten::_unsafe_view", "aten::unsafe_split", "aten::unsafe_split_with_sizes", "aten::unsafe_chunk",
    "aten::lift", "prims::device_put",
)  # fmt: skip
# They write to what they are given (in training), and their schemas do not say so.
_SILENT_WRITES = dict.fromkeys(
    ("aten::native_batch_norm", "aten::cudnn_batch_norm", "aten::miopen_batch_norm"),
    frozenset(("running_mean", "running_var")),
)
# What they read is in use until it is waited for; the results, too.
_ASYNCHRONOUS = ("_c10d_functional", "_c10d_functional_autograd", "c10d_functional", "c10d")


@functools.cache
def effects_of(overload: Any) -> Effects:
    """What an OpOverload's schema (torch/_C, ``FunctionSchema``) says of memory; more is assumed where it is silent.

    A list's elements have annotations of their own, which torch shows nobody: a result that is annotated without a
    name may lie in any parameter that is annotated.
    """
    schema = overload._schema
    names = tuple(argument.name for argument in schema.arguments)
    marked = {one.name: one.alias_info for one in schema.arguments if one.alias_info is not None}
    writes = frozenset(name for name, info in marked.items() if info.is_write) | _SILENT_WRITES.get(
        schema.name, frozenset()
    )
    aliases = tuple(_may_lie_in(result.alias_info, marked) for result in schema.returns)
    composite = _is_composite(overload)
    tags = overload.tags
    is_view = not writes and bool(aliases) and all(aliases) and overload.namespace == "aten" and not composite
    if overload.namespace in _ASYNCHRONOUS or torch.Tag.maybe_aliasing_or_mutating in tags:
        aliases = tuple(frozenset(names) for _ in schema.returns)
    elif schema.name in _SILENT:
        aliases = tuple(frozenset(names[:1]) for _ in schema.returns)
    if torch.Tag.maybe_aliasing_or_mutating in tags:
        writes = frozenset(names)
    return Effects(names, writes, aliases, is_view, torch.Tag.inplace_view in tags)


def _is_composite(overload: Any) -> bool:
    try:
        return overload.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)
    except RuntimeError:  # TorchScript alone knows it: aten::mul_.t, of two numbers
        return False


def _may_lie_in(info: Any, marked: dict[str, Any]) -> frozenset[str]:
    if info is None:
        return frozenset()
    own = info.before_set | info.after_set
    if not own or "*" in own:
        return frozenset(marked)
    return frozenset(name for name, other in marked.items() if own & (other.before_set | other.after_set | {"*"}))


def may_change_more(target: Any, args: Sequence[Any]) -> bool:
    """Whether a call must stay though nobody reads what it returns, as far as torch knows (torch/_library/utils.py).

    Asserts, registered effects, operators whose schema says that they write; random ones are no part of it.
    """
    from torch._library.utils import is_impure  # noqa: PLC0415  (private: kept in one place)

    return is_impure(target, args=tuple(args), impure_random=False)


def is_random(target: Any) -> bool:
    """Whether a call takes numbers from a generator, so that those after it would get others without it."""
    return torch.Tag.nondeterministic_seeded in getattr(target, "tags", ())


def returns_nothing(overload: Any) -> bool:
    """Whether an operator has no results: it is called for something that its schema does not speak of."""
    return not overload._schema.returns


def is_pure_higher_order(target: Any) -> bool:
    """Whether a higher-order operator writes to nothing it is given and returns new tensors alone.

    Those that Inductor takes over the last graph; of any other the worst is assumed.
    """
    higher = torch.ops.higher_order
    return target in (
        higher.auto_functionalized, higher.auto_functionalized_v2, higher.triton_kernel_wrapper_functional,
        higher.flex_attention,
    )  # fmt: skip


def is_auto_functionalized(target: Any) -> bool:
    """Whether a node is a mutating operator made functional (torch/_higher_order_ops/auto_functionalize.py)."""
    return target in (torch.ops.higher_order.auto_functionalized, torch.ops.higher_order.auto_functionalized_v2)


def has_aliased_results(overload: Any) -> bool:
    """Whether an operator says that a result lies in the memory of a parameter."""
    return any(result.alias_info is not None for result in overload._schema.returns)


def is_with_effects(target: Any) -> bool:
    """Whether a node orders the call of another operator by a token (torch/_higher_order_ops/effects.py)."""
    return target is torch.ops.higher_order.with_effects


def is_known(condition: Any) -> bool:
    """Whether a condition on symbolic sizes holds for all of them; no guard is added (fx/experimental/symbolic_shapes).

    False also means that it cannot be told.
    """
    if isinstance(condition, bool):
        return condition
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # noqa: PLC0415  (sympy)

    return statically_known_true(condition)
