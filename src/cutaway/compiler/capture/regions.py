"""Layers that repeat are traced once.

Dynamo runs the Python of every layer, equal or not: at 64 layers that is most of a cold start. torch can trace a
*compile region* once and stamp out its graph again wherever the same guards hold
(``torch.compiler.nested_compile_region``). Here every class of which a model holds several in one list becomes such
a region while the model is captured, without a change to the model; where the guards do not hold (a layer with
another attribute, another branch taken), torch traces that layer again, so the graph is the same either way.

What comes out calls each layer's graph as ``invoke_subgraph``. :func:`inline_regions` puts the bodies back in line,
so that the split sees one flat graph; torch's own inlining leaves the first layer's path on the nodes of all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals

_FEWEST = 3  # of a class in one list: below that there is nothing to save


def repeated_classes(model: torch.nn.Module) -> list[type[torch.nn.Module]]:
    """Classes of which one ``ModuleList`` or ``Sequential`` of the model holds at least three.

    Containers and torch's own modules are left out, and so is every class that is found inside one of them, itself
    included: torch stamps out wrong weights where such regions lie in each other.
    """
    found: dict[type[torch.nn.Module], None] = {}

    def visit(module: torch.nn.Module) -> None:
        if type(module) in found:
            return
        if isinstance(module, (torch.nn.ModuleList, torch.nn.Sequential)):
            for kind, number in Counter(type(child) for child in module).items():
                mine = not kind.__module__.startswith("torch.nn.")
                own_forward = any("forward" in vars(child) for child in module if type(child) is kind)
                if number >= _FEWEST and mine and not own_forward:
                    found[kind] = None
        for child in module.children():
            visit(child)

    visit(model)
    inside = {
        type(inner)
        for outer in model.modules()
        if type(outer) in found
        for inner in outer.modules()
        if inner is not outer
    }
    return [kind for kind in found if kind not in inside]


@contextmanager
def repeated_layers_once(model: torch.nn.Module) -> Generator[None]:
    """Within the block, the forward of every repeated class is a compile region. Dynamo's compile lock is held."""
    most = sum(1 for _ in model.modules()) + 8  # entries of a region: torch ends the compile beyond its limit
    changed: list[tuple[type[torch.nn.Module], Any]] = []
    try:
        for kind in repeated_classes(model):
            changed.append((kind, vars(kind).get("forward")))
            kind.forward = torch.compiler.nested_compile_region(kind.forward, max_reuse_entries=most)
        yield
    finally:
        for kind, own in changed:
            if own is None:
                del kind.forward
            else:
                kind.forward = own


def inline_regions(gm: fx.GraphModule) -> int:
    """Put the bodies of compile regions in line, in place; nodes get the path of the layer that they are in.

    Returns:
        How many calls were put in line.
    """
    calls = [node for node in gm.graph.nodes if torch_internals.is_region_call(node)]
    first: dict[str, str] = {}  # body -> path of the layer that it was traced in
    for node in calls:
        body = gm.get_submodule(str(node.args[0].target))
        assert isinstance(body, fx.GraphModule)
        inline_regions(body)
        name = str(node.args[0].target)
        path = _path(node)
        _inline(gm, node, body, first.setdefault(name, path), path)
    for node in gm.graph.find_nodes(op="get_attr"):
        if not node.users and isinstance(getattr(gm, str(node.target), None), fx.GraphModule):
            gm.graph.erase_node(node)
    if calls:
        for name in first:
            delattr(gm, name)
    return len(calls)


def _path(node: fx.Node) -> str:
    """The innermost layer that a call stands in."""
    stack = node.meta.get("nn_module_stack") or {}
    return next((where for where, _ in reversed(stack.values())), "")


def _inline(gm: fx.GraphModule, call: fx.Node, body: fx.GraphModule, traced_in: str, path: str) -> None:
    taken: dict[fx.Node, Any] = dict(zip(body.graph.find_nodes(op="placeholder"), call.args[2:], strict=True))
    fresh = _FreshValues()
    with gm.graph.inserting_before(call):
        for node in body.graph.nodes:
            if node.op in ("placeholder", "output"):
                fresh.keep(node, taken.get(node))
                continue
            copy = gm.graph.node_copy(node, lambda inner: taken[inner])
            if node.op == "get_attr":
                copy.target = _hoist(gm, body, str(node.target))
            if path != traced_in:
                copy.meta["nn_module_stack"] = dict(_moved(node, traced_in, path))
                if "example_value" in copy.meta:
                    copy.meta["example_value"] = fresh.of(copy.meta["example_value"])
            taken[node] = copy
    results = body.graph.output_node().args[0]
    for user in list(call.users):
        user.replace_all_uses_with(taken[results[user.args[1]]])  # pyright: ignore[reportArgumentType,reportOptionalSubscript,reportIndexIssue,reportCallIssue]
        gm.graph.erase_node(user)
    gm.graph.erase_node(call)


def _hoist(gm: fx.GraphModule, body: fx.GraphModule, target: str) -> str:
    """Make what a body reads (a constant, the body of a branch) an attribute of the whole."""
    held: Any = body
    for part in target.split("."):
        held = getattr(held, part)
    name = target.replace(".", "_")
    number = 0
    while hasattr(gm, name) and getattr(gm, name) is not held:
        number += 1
        name = f"{target.replace('.', '_')}_{number}"
    if not hasattr(gm, name):
        setattr(gm, name, held)
    return name


def _moved(node: fx.Node, traced_in: str, path: str) -> Iterator[tuple[str, tuple[str, Any]]]:
    """The layers that a node stands in, with the path of this call's layer for that of the first."""
    for key, (where, kind) in (node.meta.get("nn_module_stack") or {}).items():
        inside = where == traced_in or where.startswith((traced_in + ".", traced_in + "["))
        yield (f"{key}@{path}", (path + where[len(traced_in) :], kind)) if inside else (key, (where, kind))


class _FreshValues:
    """Values of a copied body: new tensors that share memory with each other where the body's do.

    Two layers' values must not be the same object: a piece that reads both would take them for one input.
    """

    def __init__(self) -> None:
        self._bases: dict[int, torch.Tensor] = {}
        self._outside: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def keep(self, node: fx.Node, given: Any) -> None:
        """What comes from outside of the body is what this call is given."""
        value = node.meta.get("example_value")
        if isinstance(value, torch.Tensor):
            outer = given.meta.get("example_value") if isinstance(given, fx.Node) else None
            self._outside[torch_internals.storage_of(value)] = (value, outer if outer is not None else value)

    def of(self, value: Any) -> Any:
        """The value of a copy; sizes are shared, tensors are new."""
        if isinstance(value, (tuple, list)):
            parts = [self.of(part) for part in value]
            return tuple(parts) if type(value) is tuple else parts if type(value) is list else value
        if not isinstance(value, torch.Tensor):
            return value
        key = torch_internals.storage_of(value)
        if key in self._outside:
            return _moved_view(value, *self._outside[key])
        mode = torch_internals.fake_mode_of(value)
        if mode is None:
            return value
        base = self._bases.get(key)
        if base is not None:
            with mode, torch.no_grad(), torch_internals.without_guards(mode):
                return torch.as_strided(base, value.shape, value.stride(), value.storage_offset())
        made = torch_internals.fake_like(value)
        self._bases[key] = made
        return made


def _moved_view(value: torch.Tensor, inner: torch.Tensor, outer: torch.Tensor) -> torch.Tensor:
    """A view of a body's input, as a view of what a call is given for it: who asks what shares memory must find it."""
    mode = torch_internals.fake_mode_of(value)
    if inner is outer or mode is None or value.dtype is not outer.dtype:
        return value
    if value is inner:
        return outer
    with mode, torch.no_grad(), torch_internals.without_guards(mode):
        offset = value.storage_offset() - inner.storage_offset() + outer.storage_offset()
        return torch.as_strided(outer, value.shape, value.stride(), offset)
