"""Mutating operators that torch made functional, taken apart."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class WrittenView:
    """An argument that an operator writes to, as a view of one of the tensors that it lies in.

    Attributes:
        base: which of them.
        target: what makes the view of it; None when it is the tensor itself.
        args: further arguments of that.
    """

    base: int
    target: Any = None
    args: tuple[Any, ...] = ()


Written = WrittenView | Sequence[WrittenView | None] | None


@dataclass(frozen=True)
class FunctionalCall:
    """A call of ``auto_functionalized`` or ``auto_functionalized_v2``, in one form.

    Attributes:
        op: the operator that writes.
        bases: the tensors that it writes to, or to views of; None where an optional argument is left out.
        arguments: what else it takes, by name.
        written: parameter that is written to -> views of the bases.
        results: how many results of the operator stand before the new contents of the bases.
        contents: for each result behind those, the base whose new content it is, or the bases of a list.
        parameters: names of all parameters in order, and whether each is given by name alone.
    """

    op: Any
    bases: tuple[Any, ...]
    arguments: dict[str, Any]
    written: dict[str, Written]
    results: int
    contents: tuple[int | tuple[int, ...], ...]
    parameters: tuple[tuple[str, bool], ...]


def functional_call(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> FunctionalCall | None:
    """Take a call apart as torch/_higher_order_ops/auto_functionalize.py puts it together.

    None for anything else: another target, a higher-order operator inside, an operator with ``out=``, whose results
    are made anew.

    Args:
        target: what is called.
        args, kwargs: with nodes, or with values, in the place of tensors.
    """
    higher = torch.ops.higher_order
    if target not in (higher.auto_functionalized, higher.auto_functionalized_v2):
        return None
    op = args[0]
    if not isinstance(op, torch._ops.OpOverload) or torch._library.utils.is_out(op):
        return None
    schema = op._schema
    parameters = tuple((one.name, one.kwarg_only) for one in schema.arguments)
    names = [one.name for one in schema.arguments if one.alias_info is not None and one.alias_info.is_write]
    results = max(len(schema.returns), 1)
    if target is higher.auto_functionalized:
        written, bases, contents = _by_argument({name: kwargs.get(name) for name in names})
        others = {name: value for name, value in kwargs.items() if name not in names}
    else:
        others = dict(kwargs)
        bases = tuple(others.pop("_all_bases"))
        written = _by_base(op, others, bases)
        contents = tuple(range(len(bases)))
    return FunctionalCall(op, bases, others, written, results, contents, parameters)


def _by_argument(given: Mapping[str, Any]) -> tuple[dict[str, Written], tuple[Any, ...], tuple[Any, ...]]:
    """The first form: every argument that is written to is its own base."""
    written: dict[str, Written] = {}
    bases: list[Any] = []
    contents: list[Any] = []
    for name, value in given.items():
        many = list(value) if isinstance(value, (list, tuple)) else [value]
        views = [WrittenView(len(bases) + index) for index in range(len(many))]
        written[name] = views if isinstance(value, (list, tuple)) else views[0] if value is not None else None
        contents.append(tuple(view.base for view in views) if isinstance(value, (list, tuple)) else views[0].base)
        bases += many
    return written, tuple(bases), tuple(contents)


def _by_base(op: Any, others: dict[str, Any], bases: tuple[Any, ...]) -> dict[str, Written]:
    """The second form: views of bases, described by further arguments, which are taken out of ``others``."""
    from torch._higher_order_ops import auto_functionalize as module  # noqa: PLC0415  (private: kept in one place)

    names, types = module.get_mutable_args(op)
    aten = torch.ops.aten

    def view(info: Any) -> WrittenView | None:
        if info is None:
            return None
        if isinstance(info, module.AliasViewInfo):
            return WrittenView(info.base_index, aten.alias.default)
        if isinstance(info, module.SliceViewInfo):
            return WrittenView(info.base_index, aten.slice.Tensor, (info.dim, info.start, info.end))
        if isinstance(info, module.AsStridedViewInfo):
            return WrittenView(info.base_index, aten.as_strided.default, (info.size, info.stride, info.storage_offset))
        return WrittenView(info.base_index)

    found = module.read_view_information_from_args(names, types, others, list(bases))
    return {name: [view(one) for one in info] if isinstance(info, list) else view(info) for name, info in found.items()}
