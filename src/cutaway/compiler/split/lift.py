"""Layers that differ by no more than a name in a custom op become equal: the name becomes an input of the piece.

An op such as ``my::moe_forward(Tensor x, Tensor w, str layer_name)`` gets another layer's name in each layer, which
would make each layer's piece one of its own. Inductor takes no strings as inputs, but it takes *opaque values*
(torch/_library/opaque_object.py; vLLM's ``LayerName`` is one). So for such an op there is a second one that takes a
:class:`LayerName` in the place of the string and calls the first with what is in it:

    piece_02: moe_forward(x, w, "layers.2.mlp")      piece_02(x, w, layer_name): my__moe_forward__lifted_2(x, w, layer_name)
    piece_04: moe_forward(x, w, "layers.4.mlp")  ─►  stitching: piece_02(x, w, LayerName("layers.2.mlp"))
                                                                piece_04(x, w, LayerName("layers.4.mlp"))

Authors of ops may as well take a ``LayerName`` from the start; then there is nothing to lift.
"""  # noqa: E501  (the picture)

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.split.item import SplitItem
from cutaway.compiler.split.same import Place, constants, structural_key, value_key, value_of
from cutaway.torch_internals import OpOverload, OpOverloadPacket

_NAMESPACE = "cutaway_lifted"


class LayerName(torch_internals.OpaqueBase):  # pyright: ignore[reportUntypedBaseClass]  (torch: untyped)
    """A layer's name as ops may take it without making their layer's code differ from that of other layers.

    Annotate an argument of a custom op with it, and read :attr:`value` in the op's implementation (its fake
    implementation may not look inside: the code is made once for all names).

    Attributes:
        value: the name.
    """

    def __init__(self, value: str) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LayerName) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"LayerName({self.value!r})"

    def __fx_repr__(self) -> tuple[str, dict[str, type]]:
        """How fx writes one into generated code, and what that needs (asked for by torch)."""
        return repr(self), {"LayerName": LayerName}


def lift_constants(split_gm: fx.GraphModule, items: Sequence[SplitItem]) -> tuple[str, ...]:
    """Make pieces equal that differ only in strings given to custom ops.

    Pieces that have no such twin stay as they are. Each of the others gets one more input for each name that differs,
    and the stitching graph gives it a :class:`LayerName` there.

    Args:
        split_gm, items: what ``split_graph`` returned; changed in place.

    Returns:
        the names of the pieces that were changed.
    """
    groups: dict[Hashable, list[tuple[SplitItem, list[_Name]]]] = {}
    for item in items:
        names = [] if item.is_splitting_graph else _names(item.graph)
        if names:
            key = structural_key(item.graph, _all_but(names))
            # A fake implementation may decide by the name what shape comes out; such layers are not equal.
            shapes = value_key([value_of(name.node) for name in names])
            groups.setdefault((key, shapes), []).append((item, names))
    calls = {str(node.target): node for node in split_gm.graph.find_nodes(op="call_module")} if groups else {}
    lifted: list[str] = []
    for group in groups.values():
        columns = list(zip(*([name.text for name in names] for _, names in group), strict=True))
        differing = [index for index, column in enumerate(columns) if len(set(column)) > 1]
        for item, names in group if differing else ():
            texts = _lift(item.graph, [names[index] for index in differing], [columns[index] for index in differing])
            call = calls[item.submod_name]
            call.args = (*call.args, *(LayerName(text) for text in texts))
            lifted.append(item.submod_name)
    return tuple(sorted(lifted))


class _Name:
    """A string that a custom op is called with, and where it stands."""

    def __init__(self, node: fx.Node, op: OpOverload[..., Any], place: Place, argument: int, text: str) -> None:
        self.node = node
        self.op = op
        self.place = place
        self.argument = argument
        self.text = text


def _all_but(names: Sequence[_Name]) -> Callable[[fx.Node, Any], bool]:
    """Which constants count when these names do not."""
    left_out = {(name.node, name.text) for name in names}
    return lambda node, value: not isinstance(value, str) or (node, value) not in left_out


def _names(gm: fx.GraphModule) -> list[_Name]:
    """The strings in a piece that could be lifted, in order."""
    found: list[_Name] = []
    for node in gm.graph.nodes:
        op = _custom_op(node.target) if node.op == "call_function" else None
        if op is None:
            continue
        arguments = torch_internals.string_arguments(op)
        for place, value in constants(node):
            step = place[0]
            argument = step if isinstance(step, int) else arguments.index(step) if step in arguments else -1
            if isinstance(value, str) and len(place) == 1 and 0 <= argument < len(arguments) and arguments[argument]:
                found.append(_Name(node, op, place, argument, value))
    return found


def _custom_op(target: Any) -> OpOverload[..., Any] | None:
    """The op that a node calls, when it is a black box with a string among its arguments."""
    if isinstance(target, OpOverloadPacket):
        target = getattr(target, target.overloads()[0]) if len(target.overloads()) == 1 else None
    if not isinstance(target, OpOverload) or not any(torch_internals.string_arguments(target)):
        return None
    return target if torch_internals.is_plain_custom(target) else None


def _lift(gm: fx.GraphModule, names: Sequence[_Name], columns: Sequence[tuple[str, ...]]) -> list[str]:
    """Turn these strings into inputs; those that are the same in each of the equal pieces share one.

    Returns:
        what to give to the new inputs, in order.
    """
    inputs: dict[tuple[str, ...], fx.Node] = {}
    texts: list[str] = []
    by_node: dict[fx.Node, list[_Name]] = {}
    for name, column in zip(names, columns, strict=True):
        by_node.setdefault(name.node, []).append(name)
        if column not in inputs:
            inputs[column] = _new_input(gm.graph, LayerName(name.text))
            texts.append(name.text)
        arguments, keywords = list(name.node.args), dict(name.node.kwargs)
        if isinstance(name.place[0], int):
            arguments[name.place[0]] = inputs[column]
        else:
            keywords[name.place[0]] = inputs[column]
        name.node.args, name.node.kwargs = tuple(arguments), keywords
    for node, lifted in by_node.items():
        positions = sorted(name.argument for name in lifted)
        node.target = getattr(getattr(torch.ops, _NAMESPACE), _lifted_name(lifted[0].op.name(), positions)).default
    gm.recompile()
    return texts


def _new_input(graph: fx.Graph, value: LayerName) -> fx.Node:
    first = next(node for node in graph.nodes if node.op != "placeholder")
    with graph.inserting_before(first):
        node = graph.placeholder("layer_name")
    node.target = node.name  # fx makes names differ, not what the generated function calls its arguments
    node.meta["example_value"] = value
    return node


def _lifted_name(op_name: str, positions: Sequence[int]) -> str:
    """``my::moe`` with argument 2 lifted: ``my__moe__lifted_2``."""
    return f"{op_name.replace('::', '__').replace('.', '__')}__lifted_{'_'.join(map(str, positions))}"


def _define(library: torch.library.Library, name: str) -> None:
    """Define the op of this name, as :func:`_lifted_name` made it; nothing when no such op is registered (yet)."""
    stem, _, positions = name.rpartition("__lifted_")
    found = [other for other in torch_internals.registered_ops() if _lifted_name(other, []) == f"{stem}__lifted_"]
    if not found or not re.fullmatch(r"\d+(_\d+)*", positions):
        return
    base, _, overload = found[0].partition(".")
    namespace, _, short = base.partition("::")
    op = getattr(getattr(getattr(torch.ops, namespace), short), overload or "default")
    schema = torch_internals.schema_text(op)
    for position in map(int, positions.split("_")):
        argument = torch_internals.string_arguments(op)[position]
        kind = f"{LayerName.__module__}.{LayerName.__qualname__}"
        schema = re.sub(rf"\bstr\??(?= {argument}\b)", kind, schema, count=1)
        schema = re.sub(rf'\b{argument}=("(\\.|[^"\\])*"|None)', argument, schema, count=1)
    library.define(name + schema[schema.index("(") :], tags=tuple(op.tags))
    call = _unwrapping(op)
    library.impl(name, call, "CompositeExplicitAutograd")
    torch.library.register_fake(f"{library.ns}::{name}", call, lib=library)


def _unwrapping(op: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return op(*map(_text, args), **{name: _text(value) for name, value in kwargs.items()})

    return call


def _text(value: Any) -> Any:
    """A name as the original op takes it; when the op is traced it comes wrapped once more."""
    value = torch_internals.opaque_value(value)
    return value.value if isinstance(value, LayerName) else value


# What torch must know of the class and of the ops before any code that was generated with them is loaded; as an op
# is registered where it is defined, so are these.
torch_internals.register_opaque_value(LayerName)
torch_internals.define_on_demand(_NAMESPACE, _define)
