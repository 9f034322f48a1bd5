"""The calls of one model, watched: what its pieces are passed, what they overwrite, what they compute.

The split graph says what should happen: which value each piece is to be passed, and which values are read again after
it. What does happen is seen at the pieces themselves, at the splitting ops between them, and around the whole.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.explain.within.described import described, listed
from cutaway.explain.within.eye import Eye
from cutaway.explain.within.piece import Piece, changed_from
from cutaway.replay.values import copy

_UNKNOWN = object()


@dataclass
class _Call:
    """One call of the model that goes on.

    Attributes:
        inputs: what it was called with.
        results: what each piece has returned so far.
        stale: nodes of which it was said already that they were overwritten.
    """

    inputs: tuple[Any, ...]
    results: dict[fx.Node, Any] = field(default_factory=dict[fx.Node, Any])
    stale: set[str] = field(default_factory=set[str])


class Forward:
    """One model.

    Args:
        split_gm: the stitching graph, with the pieces' eager graphs as its modules; a copy that nobody changes.
        eye: what follows the switches.
        shown: the name of a module -> what dumps call it.
        code: the stitching code; empty where there is none.
        called: what that code calls -> what dumps call it; empty where that is the same.
    """

    def __init__(
        self,
        split_gm: fx.GraphModule,
        eye: Eye,
        shown: Callable[[str], str] = str,
        code: str = "",
        called: Mapping[str, str] | None = None,
    ) -> None:
        self.split_gm = split_gm
        self.eye = eye
        self.shown = shown
        self.code = code
        self.called = dict(called or {})
        self._is_told = False
        self.nodes = {str(node.target): node for node in split_gm.graph.find_nodes(op="call_module")}
        self.order = {node: place for place, node in enumerate(split_gm.graph.nodes)}
        self.inputs = split_gm.graph.find_nodes(op="placeholder")
        self.pieces: dict[tuple[str, str], Piece] = {}
        self._here = threading.local()

    # -- what the hosts wrap ------------------------------------------------------------------------------

    def whole(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The stitching code, watched."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if not torch_internals.is_ordinary_call(args):
                return function(*args, **kwargs)
            earlier = getattr(self._here, "call", None)
            self._here.call = _Call(args)
            try:
                result = function(*args, **kwargs)
                self._check_result(result)
                return self._restored_result(result)
            finally:
                self._here.call = earlier

        return call

    def piece(
        self, target: str, span_of: Callable[[Sequence[Any]], str], runnable: Callable[..., Any], **options: Any
    ) -> Callable[..., Any]:
        """A compiled piece, watched.

        Args:
            target: the module's name in the split graph.
            span_of: the compile range that a call's arguments are in.
            runnable: what runs it.
            options: see :class:`Piece`.
        """
        node, graph, shown = self.nodes.get(target), self._graph(target), self.shown(target)
        if node is None or graph is None or not self.eye.looks_at(shown):
            return runnable

        def call(*args: Any) -> Any:
            if not torch_internals.is_ordinary_call(args):
                return runnable(*args)
            span = span_of(args)
            place = self.pieces.get((target, span))
            if place is None:
                place = self.pieces[target, span] = Piece(shown, span, graph, self.eye, **options)
            self._check_arguments(node, args)
            args = self._restored(shown, span, node.args, args)
            compiled = place.edited(runnable)
            if not place.is_compared():
                result = place.run(compiled, args)
            else:
                result = self._compared(node, place, compiled, args)
            self._keep(node, result)
            return result

        return call

    def between(self, target: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A splitting piece, which runs as it is, watched."""
        node, shown = self.nodes.get(target), self.shown(target)
        if node is None:
            return function

        def call(*args: Any) -> Any:
            if not torch_internals.is_ordinary_call(args):
                return function(*args)
            self._check_arguments(node, args)
            args = self._restored(shown, "", node.args, args)
            self.eye.journal.write("call", piece=shown, step="as it is")
            result = function(*args)
            self._keep(node, result)
            return result

        return call

    # -- what is looked at --------------------------------------------------------------------------------

    def _compared(self, node: fx.Node, place: Piece, runnable: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        live = self._live(node, args)
        before = [copy(value) for _, value in live]
        result, written = place.compare(runnable, args)
        memory = {_memory(args[index]) for index in written}  # what the eager graph writes to as well
        call: _Call | None = getattr(self._here, "call", None)
        for (known, value), old in zip(live, before, strict=True):
            if _memory(value) in memory or not changed_from(old, value):
                continue
            if call is not None and known.name in call.stale:
                continue
            if call is not None:
                call.stale.add(known.name)
            position = next((i for i, one in enumerate(args) if one is value), None)
            self.eye.journal.write(
                "overwrote",
                piece=place.name,
                range=place.span,
                call=place.calls,
                value=known.name,
                argument=place.argument(position),
                used_by=self._readers(known, node),
                compilation=place.compilation,
                inputs=place.kept_inputs(place.before),
            )
        return result

    def _live(self, node: fx.Node, args: Sequence[Any]) -> list[tuple[fx.Node, torch.Tensor]]:
        """Values that are read again after a piece, and lie where the piece can reach."""
        call: _Call | None = getattr(self._here, "call", None)
        reach = {_memory(one) for one in args if _is_strided(one)}
        found: list[tuple[fx.Node, torch.Tensor]] = []
        for known in self.order:
            if self.order[known] >= self.order[node]:
                break
            if call is None and known not in node.all_input_nodes:
                continue
            value = self._value(known, call, node, args)
            if _is_strided(value) and _memory(value) in reach and self._readers(known, node):
                found.append((known, value))
        return found

    def _readers(self, value: fx.Node, after: fx.Node) -> list[str]:
        """Who reads a value after a piece; an input of the model is its caller's, who may read it at any time."""
        later = [user for user in value.users if self.order[user] > self.order[after]]
        named = [
            self.shown(str(user.target)) if user.op == "call_module" else "the model's result"
            for user in later
            if user.op in ("call_module", "output")
        ]
        if value.op == "placeholder":
            named.append("the caller")
        return list(dict.fromkeys(named))

    def _check_arguments(self, node: fx.Node, args: Sequence[Any]) -> None:
        """Hold what a piece is passed against what the split graph says."""
        call: _Call | None = getattr(self._here, "call", None)
        if call is None or not self.eye.switches.compare:
            return
        for position, (wanted, given) in enumerate(zip(node.args, args, strict=False)):
            expected = self._expected(wanted, call)
            if expected is _UNKNOWN or _is_same(expected, given):
                continue
            self.eye.journal.write(
                "passed",
                piece=self.shown(str(node.target)),
                position=position,
                argument=self._argument(node, position),
                expected=str(wanted),
                given=self._name_of(given, call),
                stitching=self._stitching(node, call),
            )

    def _expected(self, wanted: Any, call: _Call) -> Any:
        """What the split graph says that is passed."""
        return self._value(wanted, call) if isinstance(wanted, fx.Node) else wanted

    def _restored(self, piece: str, span: str, wanted: Sequence[Any], given: Sequence[Any]) -> tuple[Any, ...]:
        """What a piece is passed; where it is to be put right, what the split graph says, as far as that is known."""
        call: _Call | None = getattr(self._here, "call", None)
        if call is None or not self.eye.is_among(self.eye.switches.restored, piece, span):
            return tuple(given)
        known = [self._expected(one, call) for one in wanted[: len(given)]]
        right = (
            one if expected is _UNKNOWN or _is_same(expected, one) else expected
            for expected, one in zip(known, given, strict=False)
        )
        return (*right, *given[len(known) :])

    def _restored_result(self, result: Any) -> Any:
        wanted = self.split_gm.graph.output_node().args[0]
        if not isinstance(wanted, (tuple, list)) or not isinstance(result, (tuple, list)):
            return result
        return type(result)(self._restored("", "", wanted, result))

    def _check_result(self, result: Any) -> None:
        call: _Call | None = getattr(self._here, "call", None)
        end = self.split_gm.graph.output_node()
        wanted = end.args[0]
        if call is None or not self.eye.switches.compare or not isinstance(wanted, (tuple, list)):
            return
        for position, (one, given) in enumerate(zip(wanted, result, strict=False)):  # type: ignore[call-overload]
            expected = self._expected(one, call)
            if expected is not _UNKNOWN and not _is_same(expected, given):
                name = self._name_of(given, call)
                self.eye.journal.write(
                    "passed",
                    piece="",
                    position=position,
                    expected=str(one),
                    given=name,
                    stitching=self._stitching(end, call),
                )

    def _stitching(self, node: fx.Node, call: _Call) -> dict[str, Any] | None:
        """The stitching code and what the split graph says up to a node, without any values; told once."""
        if self._is_told or not self.code:
            return None
        self._is_told = True
        before = [one for one in self.order if self.order[one] <= self.order[node]]
        steps = [self._step(one, call) for one in before]
        return {"code": self.code, "called": self.called, "steps": steps}

    def _step(self, node: fx.Node, call: _Call) -> dict[str, Any]:
        """A node of the split graph as JSON: what it is of, and of which kind its value is."""
        args = [{"name": one.name} if isinstance(one, fx.Node) else {"text": repr(one)} for one in listed(node)]
        is_item = node.op == "call_function" and node.target is operator.getitem
        target = self.shown(str(node.target)) if node.op == "call_module" else str(node.target)
        value = described(self._value(node, call))
        return {"name": node.name, "op": "item" if is_item else node.op, "target": target, "args": args, "value": value}

    def _keep(self, node: fx.Node, result: Any) -> None:
        call: _Call | None = getattr(self._here, "call", None)
        if call is not None:
            call.results[node] = result

    def _value(self, node: Any, call: _Call | None, at: fx.Node | None = None, args: Sequence[Any] = ()) -> Any:
        """What a node of the split graph is in this call; for one whose call is not seen, what a piece was passed."""
        if call is None:
            positions = [i for i, one in enumerate(at.args) if one is node] if at is not None else []
            return args[positions[0]] if positions and positions[0] < len(args) else _UNKNOWN
        if node.op == "placeholder":
            place = self.inputs.index(node)
            return call.inputs[place] if place < len(call.inputs) else _UNKNOWN
        if node.op == "call_module":
            return call.results.get(node, _UNKNOWN)
        if node.op == "call_function" and node.target is operator.getitem:
            source = self._value(node.args[0], call)
            if source is _UNKNOWN:
                return _UNKNOWN
            try:
                return source[node.args[1]]
            except (IndexError, KeyError, TypeError):
                return _UNKNOWN
        return _UNKNOWN

    def _name_of(self, given: Any, call: _Call) -> str | None:
        """The value of the split graph that something is."""
        return next((node.name for node in self.order if self._value(node, call) is given), None)

    def _argument(self, node: fx.Node, position: int) -> str | None:
        graph = self._graph(str(node.target))
        names = [one.name for one in graph.graph.find_nodes(op="placeholder")] if graph is not None else []
        return names[position] if position < len(names) else None

    def _graph(self, target: str) -> fx.GraphModule | None:
        graph = getattr(self.split_gm, target, None)
        return graph if isinstance(graph, fx.GraphModule) else None


def _is_strided(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.layout is torch.strided


def _memory(value: Any) -> int:
    return value.untyped_storage().data_ptr() if _is_strided(value) else 0


def _is_same(expected: Any, given: Any) -> bool:
    if expected is given:
        return True
    if isinstance(expected, torch.Tensor) and isinstance(given, torch.Tensor):
        same_place = expected.data_ptr() == given.data_ptr() and _memory(expected) == _memory(given)
        return same_place and expected.shape == given.shape and expected.stride() == given.stride()
    if isinstance(expected, torch.Tensor) or isinstance(given, torch.Tensor):
        return False
    return not isinstance(expected, (int, float, bool)) or not isinstance(given, (int, float)) or expected == given
