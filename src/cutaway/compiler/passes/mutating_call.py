"""Calls of operators that write, as torch made them functional, taken apart among the nodes of a graph."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.passes.graph import tensor_of, value_of


@dataclass
class Base:
    """A tensor that a call writes to.

    Attributes:
        node: it.
        contents: nodes that stand for its new content.
        copies: ``copy_`` of that back into it, which in place is done already.
        why: why the call must write to a clone; empty when it need not.
        clone: the value of the clone.
    """

    node: fx.Node
    contents: list[fx.Node] = field(default_factory=list[fx.Node])
    copies: list[fx.Node] = field(default_factory=list[fx.Node])
    why: str = ""
    clone: Any = None


@dataclass
class MutatingCall:
    """A call taken apart.

    Attributes:
        node: it.
        call: what it says.
        bases: what it writes to, those that are there.
        places: the same, by their places among the bases of the call.
        results: nodes that take what the operator itself returns.
        lists: nodes that take several new contents at once.
    """

    node: fx.Node
    call: torch_internals.FunctionalCall
    bases: list[Base]
    places: dict[int, Base]
    results: list[fx.Node]
    lists: list[fx.Node]


def take_apart(node: fx.Node) -> MutatingCall | None:
    """A functional call with the nodes that take its results; None when it is left to Inductor.

    That is: an operator with ``out=``, a higher-order operator inside, several results that are used together.
    """
    call = torch_internals.functional_call(node.target, node.args, node.kwargs)
    if call is None or any(not (base is None or tensor_of(base) is not None) for base in call.bases):
        return None
    places = {place: Base(base) for place, base in enumerate(call.bases) if base is not None}
    found = MutatingCall(node, call, list(places.values()), places, [], [])
    for user in node.users:
        if user.target is not operator.getitem or not isinstance(user.args[1], int):
            return None
        index = user.args[1] - call.results
        if index < 0:
            found.results.append(user)
        elif not _note_content(found, user, call.contents[index]):
            return None
    return found


def _note_content(found: MutatingCall, user: fx.Node, content: int | tuple[int, ...]) -> bool:
    """Note what stands for a new content; one result may be a list of them."""
    if isinstance(content, int):
        if content in found.places:
            found.places[content].contents.append(user)
        return True
    found.lists.append(user)
    for inner in user.users:
        if inner.target is not operator.getitem or not isinstance(inner.args[1], int):
            return False
        found.places[content[inner.args[1]]].contents.append(inner)
    return True


def arguments(
    call: torch_internals.FunctionalCall, view: Callable[[Any], Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments as the schema has them: by position, but for those that are taken by name alone."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for name, by_name in call.parameters:
        if name in call.written:
            written = call.written[name]
            many = [one if one is None else view(one) for one in written] if isinstance(written, Sequence) else None
            value = many if many is not None else view(written) if written is not None else None
        elif name in call.arguments:
            value = call.arguments[name]
        else:
            continue
        if by_name or len(args) < [known for known, _ in call.parameters].index(name):
            kwargs[name] = value
        else:
            args.append(value)
    return tuple(args), kwargs


def eager_arguments(one: MutatingCall) -> Any:
    """What the operator would be given without a compiler, by which Inductor lays its arguments out.

    torch notes it of the functional call (``eager_input_vals``): tensors, and None for all else.
    """
    known = one.node.meta.get("eager_input_vals")
    if known is None:
        return None
    given: dict[str, Any] = dict(fx.map_arg(one.node.kwargs, value_of))
    given |= {name: value for name, value in known[1].items() if _are_tensors(value)}
    call = torch_internals.functional_call(one.node.target, one.node.args, given)
    assert call is not None

    def view(written: torch_internals.WrittenView) -> Any:
        whole = call.bases[written.base]
        return whole if written.target is None else fake_result(written.target, whole, *written.args)

    return arguments(call, view)


def _are_tensors(value: Any) -> bool:
    return all(isinstance(one, torch.Tensor) for one in (value if isinstance(value, (list, tuple)) else [value]))


def fake_result(target: Any, whole: Any, *args: Any) -> Any:
    """What a call returns of a fake tensor, without a guard."""
    mode = torch_internals.fake_mode_of(whole)
    if mode is None:
        return None
    with mode, torch.no_grad(), torch_internals.without_guards(mode):
        return target(whole, *args)
