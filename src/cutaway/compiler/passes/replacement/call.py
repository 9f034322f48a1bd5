"""A call of an op in a graph: its arguments, and the implementation that takes them."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.passes.graph import value_of
from cutaway.compiler.passes.replacement.trace import Trace, WritesError, nodes_in, replaced, trace
from cutaway.ops import IrOp, IrOpImpl


class LoweringError(Exception):
    """One node cannot be lowered. It never leaves the pass: such failures are collected, and all named at once.

    Args:
        why: what stands in the way.
        cure: what can be done.
    """

    def __init__(self, why: str, cure: str) -> None:
        super().__init__(why)
        self.cure = cure


class Call:
    """A node that calls an op.

    Args:
        op: the op.
        node: the node.
        maker: of the graph's fake mode.

    Attributes:
        args: all arguments by position, with nodes in them.
        inputs: what each distinct node among them returns, as they first appear; tensors are the fake mode's own.
    """

    def __init__(self, op: IrOp, node: fx.Node, maker: torch_internals.FakeMaker) -> None:
        self.op = op
        self.maker = maker
        self.args = _complete(op, node)
        self.inputs = {one: self._value(one, node) for one in nodes_in(self.args)}

    def _value(self, node: fx.Node, user: fx.Node) -> Any:
        value = value_of(node)
        if isinstance(value, torch.Tensor):
            return self.maker.own(value)
        if value is None:
            raise LoweringError(
                f"its argument {node.name} has no value in its metadata",
                f"the pass that made {node.name} must set meta['val']",
            )
        if isinstance(value, (list, tuple)):
            raise LoweringError(f"its argument {node.name} returns several values", f"let {user.name} take one of them")
        return value

    @functools.cached_property
    def bare(self) -> Mapping[fx.Node, Any]:
        """The inputs with nothing but their metadata: what an implementation may look at.

        Every node has a tensor of its own here, even when two have one object as their value: tracing tells arguments
        apart by the object.
        """
        return {
            node: self.maker.bare(value) if isinstance(value, torch.Tensor) else value
            for node, value in self.inputs.items()
        }

    def implementation(self, undecided: Callable[[str], None]) -> IrOpImpl:
        """The first provider in force that takes the arguments.

        Args:
            undecided: told of each provider that is passed over because it asks what cannot be answered.

        Raises:
            LoweringError: a ``supports_args`` failed.
        """
        for provider in self.op.priority:
            impl = self.op.impls[provider]
            if impl.takes is None or self._takes(impl, undecided):
                return impl
        raise AssertionError(f"the priority of {self.op.name} does not end with a provider that takes everything")

    def _takes(self, impl: IrOpImpl, undecided: Callable[[str], None]) -> bool:
        try:
            with torch_internals.no_new_guards(self.maker.mode.shape_env):
                return impl.supports_args(*replaced(self.args, self.bare))
        except Exception as error:
            question = torch_internals.open_question(error)
            if question is None:
                raise LoweringError(
                    f"supports_args of provider '{impl.provider}' failed: {_told(error, impl.takes)}",
                    f"correct supports_args of provider '{impl.provider}' of op '{self.op.name}'",
                ) from error
            undecided(f"op '{self.op.name}': supports_args of provider '{impl.provider}' asks {question}")
            return False

    def traced(self, impl: IrOpImpl) -> Trace:
        """What the implementation makes of this call.

        Raises:
            LoweringError: it failed, writes to an argument, or asked of a size what only a new guard could answer.
        """
        whose = f"provider '{impl.provider}' of op '{self.op.name}'"
        try:
            return trace(impl.functional, self.args, self.bare, self.maker.mode)
        except WritesError as error:
            raise LoweringError(
                f"provider '{impl.provider}' writes to an argument, with {error}",
                f"register {whose} with inplace=True, or let it write to a copy",
            ) from error
        except Exception as error:
            question = torch_internals.open_question(error)
            if question is None:
                raise LoweringError(
                    f"tracing provider '{impl.provider}' failed: {_told(error, impl.function)}",
                    f"correct {whose}, or choose another with set_priority or ir_priority",
                ) from error
            raise LoweringError(
                f"provider '{impl.provider}' asks {question}{_line_in(error, impl.function)}, which is not known of"
                " every size that the graph is compiled for",
                f"state in supports_args of {whose} which sizes it takes, or write it without the question"
                if impl.provider != "native"
                else f"write {whose} without the question, or ask it with torch._check before the op is called",
            ) from error


def _complete(op: IrOp, node: fx.Node) -> Sequence[Any]:
    args = node.args
    if not node.kwargs:
        defaults = _defaults(op)
        if len(args) == len(defaults):
            return args
        rest = defaults[len(args) :]
        if inspect.Parameter.empty not in rest:
            return args + rest
    return op.with_defaults(args, node.kwargs)


@functools.cache
def _defaults(op: IrOp) -> tuple[Any, ...]:
    return tuple(parameter.default for parameter in op.signature.parameters.values())


def _told(error: Exception, function: Any) -> str:
    return f"{type(error).__name__}: {str(error).strip().split(chr(10), 1)[0]}{_line_in(error, function)}"


def _line_in(error: BaseException, function: Any) -> str:
    """Where in the function's file an error came from, as far in as it goes."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    file = getattr(code, "co_filename", None)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line})" if frames else ""
