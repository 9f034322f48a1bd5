"""What the steps of a trace return, kept so that it can be made again for other symbols and another fake mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.fx.passes.shape_prop import TensorMetadata

from cutaway import torch_internals
from cutaway.compiler.passes.replacement.key import Symbolic, is_plain
from cutaway.compiler.passes.replacement.trace import Step, Trace


class Tensor(NamedTuple):
    """A tensor, by all that its metadata says.

    Attributes:
        memory: the tensor whose memory it lies in, by its place among the trace's inputs and then all tensors before
            this one; None: in memory of its own.
        shape: ints, and `Symbolic` for sizes with symbols; as stride, offset and nbytes.
        nbytes: of the memory.
        noted: ``meta["tensor_meta"]``, with that shape and stride; None when there is none.
    """

    memory: int | None
    shape: tuple[Any, ...]
    stride: tuple[Any, ...]
    offset: Any
    nbytes: Any
    dtype: torch.dtype
    device: torch.device
    noted: TensorMetadata | None


class Plain(NamedTuple):
    """What is the same for any symbols."""

    value: Any


@dataclass(frozen=True)
class Recipe:
    """A trace that serves any call with the same key.

    Attributes:
        steps: of the trace.
        outputs: of the trace.
        values: what each step returns: `Tensor`, `Symbolic`, `Plain`, or a list or tuple of such.
        symbols: those in the values, in the order in which the key numbers them.
        decompositions: of the trace.
        symbolic: whether there are symbolic numbers in the values.
    """

    steps: tuple[Step, ...]
    outputs: Any
    values: tuple[Any, ...]
    symbols: tuple[Any, ...]
    decompositions: torch_internals.Decompositions
    symbolic: bool


class _NoRecipeError(Exception):
    pass


def recipe_of(
    made: Trace, inputs: Sequence[Any], symbols: tuple[Any, ...], maker: torch_internals.FakeMaker
) -> tuple[Recipe | None, str]:
    """A trace as a recipe, or why there is none.

    Args:
        made: the trace.
        inputs: what it was traced with.
        symbols: of the key.
        maker: of the graph's fake mode.
    """
    if made.single_use:
        return None, made.single_use
    keeper = _Keeper(inputs, symbols, maker)
    try:
        values = tuple([keeper.kept(value, noted) for value, noted in made.values])
    except _NoRecipeError as error:
        return None, str(error)
    return Recipe(made.steps, made.outputs, values, symbols, made.decompositions, keeper.symbolic), ""


class _Keeper:
    """Takes values apart, one step after another."""

    def __init__(self, inputs: Sequence[Any], symbols: tuple[Any, ...], maker: torch_internals.FakeMaker) -> None:
        self.symbols = frozenset(symbols)
        self.maker = maker
        self.symbolic = False
        self.tensors = [value if isinstance(value, torch.Tensor) else None for value in inputs]
        self.memories: dict[int, int] = {}
        for place, value in enumerate(self.tensors):
            if value is not None:
                self.memories.setdefault(torch_internals.storage_of(value), place)

    def kept(self, value: Any, noted: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self._tensor(value, noted)
        if isinstance(value, (list, tuple)):
            return type(value)([self.kept(part, None) for part in value])
        if isinstance(value, torch_internals.SymbolicNumber):
            return self._size(value)
        if not is_plain(value):
            raise _NoRecipeError(f"a node of it returns a {type(value).__qualname__}")
        return Plain(value)

    def _tensor(self, value: Any, noted: Any) -> Tensor:
        if not self.maker.owns(value) or torch_internals.plain_keys(value) is None:
            raise _NoRecipeError("a node of it returns something else than a plain strided tensor")
        if value.requires_grad:
            raise _NoRecipeError("a node of it returns a tensor that requires a gradient")
        memory = self.memories.setdefault(torch_internals.storage_of(value), len(self.tensors))
        is_new = memory == len(self.tensors)
        base = None if is_new else self.tensors[memory]
        if base is not None and base.dtype.itemsize != value.dtype.itemsize:
            raise _NoRecipeError("a node of it returns a view with elements of another size")
        self.tensors.append(value)
        shape, stride = tuple(map(self._size, value.shape)), tuple(map(self._size, value.stride()))
        if Symbolic not in map(type, shape):
            shape = torch.Size(shape)
        return Tensor(
            memory=None if is_new else memory,
            shape=shape,
            stride=stride,
            offset=self._size(value.storage_offset()),
            nbytes=self._size(value.untyped_storage().nbytes()) if is_new else None,
            dtype=value.dtype,
            device=value.device,
            noted=_noted(noted, shape, stride),
        )

    def _size(self, size: Any) -> Any:
        if isinstance(size, (int, float)):
            return size
        parts = torch_internals.parts_of_number(size)
        if parts is None or parts.shape_env is not self.maker.mode.shape_env:
            raise _NoRecipeError("a size of it belongs to other symbols")
        expr = torch_internals.expression(size)
        if not self.symbols.issuperset(expr.free_symbols):
            raise _NoRecipeError("a size of it has a symbol that no argument has")
        self.symbolic = True
        return Symbolic(parts.kind, expr, parts.hint)


def _noted(noted: TensorMetadata | None, shape: Any, stride: Any) -> TensorMetadata | None:
    return noted and TensorMetadata(shape, noted.dtype, noted.requires_grad, stride, *noted[4:])


class Bound:
    """A recipe for the symbols of one ShapeEnv: what is left is to make the tensors.

    Args:
        recipe: it.
        symbols: what to put in the place of the recipe's symbols.
        numbers: symbolic numbers of the ShapeEnv; more are added.
        shape_env: theirs; None when there are no symbols.
    """

    def __init__(self, recipe: Recipe, symbols: tuple[Any, ...], numbers: dict[Symbolic, Any], shape_env: Any) -> None:
        self.recipe = recipe
        self._symbols = symbols
        self._numbers = numbers
        self._shape_env = shape_env
        self._values = [self._bound(value) for value in recipe.values] if recipe.symbolic else recipe.values

    def _bound(self, value: Any) -> Any:
        if type(value) is Tensor:
            shape, stride = torch.Size(map(self._size, value.shape)), tuple(map(self._size, value.stride))
            offset, nbytes = self._size(value.offset), self._size(value.nbytes)
            noted = _noted(value.noted, shape, stride)
            return Tensor(value.memory, shape, stride, offset, nbytes, value.dtype, value.device, noted)
        if type(value) is Symbolic:
            return Plain(self._size(value))
        return value if type(value) is Plain else type(value)([self._bound(part) for part in value])

    def _size(self, size: Any) -> Any:
        if type(size) is not Symbolic:
            return size
        if self._symbols != self.recipe.symbols:
            expr = torch_internals.renamed(size.expr, self.recipe.symbols, self._symbols)
            size = Symbolic(size.kind, expr, size.hint)
        found = self._numbers.get(size)
        if found is None:
            kind, expr, hint = size
            found = self._numbers[size] = torch_internals.symbolic_number(expr, self._shape_env, kind, hint)
        return found

    def make(self, maker: torch_internals.FakeMaker, inputs: Sequence[Any]) -> list[tuple[Any, Any]]:
        """``meta["val"]`` and ``meta["tensor_meta"]`` of each step, new.

        Args:
            maker: of the fake mode, entered.
            inputs: what the nodes among the arguments return.
        """
        tensors = list(inputs)
        return [_made(value, maker, tensors) for value in self._values]


def _made(value: Any, maker: torch_internals.FakeMaker, tensors: list[Any]) -> tuple[Any, Any]:
    if type(value) is Tensor:
        memory, shape, stride, offset, nbytes, dtype, device, noted = value
        if memory is None:
            made = maker.fresh(shape, stride, offset, dtype, device, nbytes)
        else:
            made = maker.view(tensors[memory], shape, stride, offset, dtype)
        tensors.append(made)
        return made, noted
    if type(value) is Plain:
        return value.value, None
    return type(value)([_made(part, maker, tensors)[0] for part in value]), None
