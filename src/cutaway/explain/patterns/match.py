"""A pattern of torch's held against a node, with all that does not fit.

torch's own matcher stops at the first part that does not fit, and says little. This one walks the same tree
(torch/_inductor/pattern_matcher.py, ``PatternExpr``), goes on beside what does not fit, and tells of each part what the
pattern has and what the graph has. Whether a pattern matches is decided by torch alone.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import fx
from torch.fx.operator_schemas import normalize_function

from cutaway import torch_internals
from cutaway.explain.patterns.job import Reason
from cutaway.explain.patterns.words import argument_name, called, named, only_passes_on, same_op_elsewhere, shown, typed

_SHAPES = ("size", "shape", "split_size", "split_sizes", "dims", "repeats")
_COMMUTATIVE = ("add", "mul", "maximum", "minimum", "logical_and", "logical_or", "bitwise_and", "bitwise_or")


def calls_of(pattern: Any) -> list[Any]:
    """The calls that a pattern is made of, the last of its operators first; each once, taking results apart aside."""
    found: dict[int, Any] = {}

    def walk(part: Any) -> None:
        if hasattr(part, "fns") and hasattr(part, "op") and hasattr(part, "fns_set"):
            if id(part) in found:
                return
            found[id(part)] = part
        for child in parts_of(part):
            walk(child)

    walk(pattern)
    return [part for part in found.values() if not takes_apart(part)] or list(found.values())


def takes_apart(part: Any) -> bool:
    """Whether a call only takes one result out of several: it says nothing of how far a pattern got."""
    return operator.getitem in part.fns


def parts_of(pattern: Any) -> Iterator[Any]:
    """What stands directly below a part of a pattern."""
    for holder in ("outputs", "inner_pattern", "pattern"):
        held = getattr(pattern, holder, None)
        yield from (part for part in (held if isinstance(held, list) else [held]) if part is not None)
    if hasattr(pattern, "flat_args_kwargs"):
        expr = torch_internals.pattern_matcher().PatternExpr
        yield from (part for part in pattern.flat_args_kwargs[0] if isinstance(part, expr))


_State = tuple[dict[int, Any], dict[str, Any], dict[int, fx.Node]]


class Comparison:
    """One pattern beside one node.

    Args:
        pattern: a ``PatternExpr``.
        node: where its last operator is looked for.

    Attributes:
        reasons: what does not fit, in the order in which torch looks.
        fitting: calls of the pattern -> the nodes that fit them.
    """

    def __init__(self, pattern: Any, node: fx.Node) -> None:
        self._matcher = torch_internals.pattern_matcher()
        self._outputs: list[Any] = (
            pattern.outputs if isinstance(pattern, self._matcher.MultiOutputPattern) else [pattern]
        )
        self._seen: dict[int, Any] = {}
        self._names: dict[str, Any] = {}
        self.fitting: dict[int, fx.Node] = {}
        self.reasons: list[Reason] = []
        self._compare(pattern, node)
        self.reasons = list({reason.text: reason for reason in reversed(self.reasons)}.values())[::-1]

    @property
    def nodes(self) -> list[fx.Node]:
        """The nodes that fit, each once."""
        return list(dict.fromkeys(self.fitting.values()))

    # -- kinds of parts ---------------------------------------------------------------------------------

    def _compare(self, pattern: Any, value: Any, user: fx.Node | None = None) -> None:
        known = self._seen.get(id(pattern), self)
        if known is not self:
            if known is not value:
                text = f"{shown(value)} stands where the pattern takes the result of {shown(known)} again"
                self._say("operand", text, user, part=called(pattern))
            return
        self._seen[id(pattern)] = value
        matcher = self._matcher
        if isinstance(pattern, (matcher.KeywordArg, matcher.ExclusiveKeywordArg)):
            self._bind(pattern, value, user)
        elif isinstance(pattern, matcher.MultiOutputPattern):
            self._several(pattern, value)
        elif isinstance(pattern, matcher.ListOf):
            self._list(pattern, value, user)
        elif isinstance(pattern, matcher.RepeatedExpr):
            self._compare(pattern.inner_pattern, value, user)
        elif hasattr(pattern, "fns_set"):
            self._call(pattern, value, user)

    def _bind(self, pattern: Any, value: Any, user: fx.Node | None) -> None:
        first = self._names.setdefault(pattern.name, value)
        again = isinstance(pattern, self._matcher.ExclusiveKeywordArg) and any(
            value is other for name, other in self._names.items() if name != pattern.name
        )
        if again or (first is not value and first != value):
            text = f"{pattern.name!r} is {shown(first)} in one place and {shown(value)} in another"
            text = f"{shown(value)} stands for two names" if again else text
            self._say("operand", text, user, wanted=shown(first), found=shown(value))

    def _several(self, pattern: Any, node: fx.Node) -> None:
        self._compare(pattern.outputs[0], node)
        for output in pattern.outputs[1:]:
            if output is None or id(output) in self._seen:
                continue
            near = self._near(output)
            best = min((self._tried(output, other) for other in near), key=lambda tried: len(tried[1]), default=None)
            if best is None:
                text = f"nothing in the graph calls {called(output)} on what fits so far"
                self._say("op", text, node, wanted=called(output), part=called(output))
            else:
                self._compare(output, best[0])

    def _near(self, output: Any) -> list[fx.Node]:
        """Nodes that call what an output calls, on nodes that fit already."""
        known = [value for value in self._seen.values() if isinstance(value, fx.Node)]
        users = dict.fromkeys(user for value in known for user in value.users)
        return [user for user in users if self._calls(output, user)]

    def _tried(self, pattern: Any, value: Any) -> tuple[Any, list[Reason]]:
        """What would be said of a part here; nothing is kept."""
        kept, before, self.reasons = self._state(), self.reasons, []
        self._compare(pattern, value)
        said = self.reasons
        self._restore(kept)
        self.reasons = before
        return value, said

    def _list(self, pattern: Any, value: Any, user: fx.Node | None) -> None:
        if not isinstance(value, (list, tuple)) or not value:
            self._say("arguments", f"{shown(value)} stands where the pattern has a list", user)
            return
        fitting = 0
        for part in value:
            kept = dict(self._seen)
            before = len(self.reasons)
            self._compare(pattern.pattern, part, user)
            self._seen = kept  # each of the list by itself
            fitting += len(self.reasons) == before
            if pattern.partial:
                del self.reasons[before:]
        if pattern.partial and not fitting:
            self._say("op", f"none of the list fits {called(pattern.pattern)}", user, wanted=called(pattern.pattern))

    # -- calls ------------------------------------------------------------------------------------------

    def _calls(self, pattern: Any, node: Any) -> bool:
        if not hasattr(pattern, "fns_set"):
            return False
        target = self._matcher.extract_target(node) if isinstance(node, fx.Node) else None
        return isinstance(node, fx.Node) and node.op == pattern.op and target in pattern.fns_set

    def _call(self, pattern: Any, node: Any, user: fx.Node | None) -> None:
        wanted = called(pattern)
        if not self._calls(pattern, node):
            self._other_op(pattern, node, user)
            return
        fits = len(self.reasons)
        self._users(pattern, node)
        if hasattr(pattern, "flat_args_kwargs"):
            items = self._items(pattern, node)
            if items is None:
                return
            own = [(part, value, name) for part, value, name in items if not self._is_part(part)]
            for part, value, name in own:
                self._constant(part, value, name, node, wanted)
            if len(self.reasons) == fits:
                self.fitting[id(pattern)] = node
            self._operands([(part, value) for part, value, _ in items if self._is_part(part)], pattern, node)
        elif len(self.reasons) == fits:
            self.fitting[id(pattern)] = node

    def _is_part(self, value: Any) -> bool:
        return isinstance(value, self._matcher.PatternExpr)

    def _other_op(self, pattern: Any, node: Any, user: fx.Node | None) -> None:
        if self._something_between(pattern, node, user):
            return
        wanted, found = called(pattern), shown(node)
        reader = f"{named(user)} reads {found}" if user is not None else f"there is {found}"
        text = f"{reader}, where the pattern has {wanted}"
        other = same_op_elsewhere(pattern, node)
        text += f" ({other})" if other else ""
        about = node if isinstance(node, fx.Node) else user
        self._say("op", text, about, wanted=wanted, found=called(node) if about is node else found, part=wanted)

    def _something_between(self, pattern: Any, node: Any, user: fx.Node | None) -> bool:
        """Whether all that is amiss is a cast or a view, in the graph or in the pattern; it is told and passed over."""
        below, kind = node, ""
        while isinstance(below, fx.Node) and (changes := only_passes_on(below.target)) and below.args:
            kind = "dtype" if "dtype" in (kind, changes) else changes
            below = below.args[0]
        if kind and self._calls(pattern, below):
            assert isinstance(node, fx.Node)
            assert isinstance(below, fx.Node)
            change = f" ({typed(below)} → {typed(node)})" if typed(node) else ""
            reader = f"{named(user)} and " if user is not None else ""
            text = f"{shown(node)}{change} stands between {reader}{shown(below)}; the pattern has nothing there"
            self._say(kind, text, node, wanted=called(pattern), found=called(node), part=called(pattern))
            self._call(pattern, below, user)
            return True
        kind = only_passes_on(pattern.fns[0])
        inner = next((part for part in parts_of(pattern) if hasattr(part, "fns_set")), None)
        if not kind or inner is None or not self._calls(inner, node) or id(inner) in self._seen:
            return False
        where = f"between {named(user)} and {shown(node)}" if user is not None else f"behind {shown(node)}"
        text = f"the pattern has {called(pattern)} {where}, the graph has nothing there"
        self._say(kind, text, node, wanted=called(pattern), found=called(node), part=called(pattern))
        self._compare(inner, node, user)
        return True

    def _users(self, pattern: Any, node: fx.Node) -> None:
        free = pattern.users is self._matcher.MULTIPLE or any(pattern is output for output in self._outputs)
        if free or len(node.users) == pattern.users:
            return
        names = ", ".join(named(user) for user in list(node.users)[:4])
        more = f" and {len(node.users) - 4} more" if len(node.users) > 4 else ""
        text = f"{named(node)} has {_counted(len(node.users))} ({names}{more}), the pattern allows {pattern.users}"
        self._say("users", text, node, wanted=str(pattern.users), found=str(len(node.users)), part=called(pattern))

    def _items(self, pattern: Any, node: fx.Node) -> list[tuple[Any, Any, str]] | None:
        """Part of the pattern, what stands there in the graph, and the argument's name; None when they do not pair."""
        args: Sequence[Any] = node.args
        kwargs: dict[str, Any] = dict(node.kwargs)
        if len(args) == len(pattern.args) and len(kwargs) < len(pattern.kwargs) and callable(node.target):
            normal = normalize_function(node.target, node.args, node.kwargs)
            args, kwargs = (normal.args, normal.kwargs) if normal is not None else (args, kwargs)
        kwargs = {name: kwargs[name] for name in kwargs if name in pattern.kwargs}
        values, spec = pattern.flatten(args, kwargs)
        parts, wanted = pattern.flat_args_kwargs
        if len(args) != len(pattern.args) or spec != wanted:
            text = f"{named(node)} is called with {_signature(args, kwargs)}, the pattern with "
            text += _signature(pattern.args, pattern.kwargs)
            self._say("arguments", text, node, part=called(pattern))
            return None
        return [
            (part, value, argument_name(node, pattern, index))
            for index, (part, value) in enumerate(zip(parts, values, strict=True))
        ]

    def _constant(self, part: Any, value: Any, name: str, node: fx.Node, wanted: str) -> None:
        if isinstance(value, fx.Node):
            text = f"{name or 'an argument'} of {named(node)} is computed ({shown(value)}), the pattern has {part!r}"
            self._say("constant", text, node, wanted=repr(part), found=named(value), part=wanted)
        elif not _same(value, part):
            kind = "dtype" if isinstance(part, torch.dtype) or isinstance(value, torch.dtype) else "constant"
            kind = "shape" if name.rstrip("[]0123456789") in _SHAPES else kind
            text = f"{name or 'an argument'} of {named(node)} is {value!r}, the pattern has {part!r}"
            self._say(kind, text, node, wanted=repr(part), found=repr(value), part=wanted)

    def _operands(self, pairs: list[tuple[Any, Any]], pattern: Any, node: fx.Node) -> None:
        before = len(self.reasons)
        kept = self._state()
        for part, value in pairs:
            self._compare(part, value, node)
        name = called(pattern).rpartition(".")[2]
        if len(self.reasons) == before or len(pairs) != 2 or name not in _COMMUTATIVE:
            return
        after, said = self._state(), self.reasons[before:]
        self._restore(kept)
        del self.reasons[before:]
        for (part, _), (_, value) in zip(pairs, reversed(pairs), strict=True):
            self._compare(part, value, node)
        if len(self.reasons) == before:
            text = f"the operands of {named(node)} stand the other way round than in the pattern, all else fits"
            self._say("order", text, node, part=called(pattern))
        else:
            self._restore(after)
            self.reasons[before:] = said

    def _state(self) -> _State:
        return dict(self._seen), dict(self._names), dict(self.fitting)

    def _restore(self, state: _State) -> None:
        self._seen, self._names, self.fitting = (dict(state[0]), dict(state[1]), dict(state[2]))

    def _say(self, kind: str, text: str, node: fx.Node | None, **more: str) -> None:
        self.reasons.append(Reason(kind, text, named(node) if node is not None else None, **more))


def _same(value: Any, part: Any) -> bool:
    try:
        return torch_internals.guard_or_false(value == part)
    except (TypeError, RuntimeError, ValueError):
        return value is part


def _counted(users: int) -> str:
    return "1 user" if users == 1 else f"{users} users"


def _signature(args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    count = f"{len(args)} argument{'' if len(args) == 1 else 's'}"
    return f"{count} and {', '.join(kwargs)}" if kwargs else count
