"""One implementation of an op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cutaway.ops.op import IrOp


class IrOpImpl:
    """One implementation of an op: made by `IrOp.register_impl`, called by the op's dispatch.

    Attributes:
        op: the op that it implements.
        provider: its name among the op's implementations; ``native`` is the op's own definition.
        function: what is called.
        supported: whether it can run on this machine at all.
        takes: whether it takes these arguments; None when it takes all.
        inplace: whether it may write its outputs into the activations' memory.
        sources: further files that say what it computes (C++, say).
    """

    def __init__(
        self,
        op: IrOp,
        provider: str,
        function: Callable[..., Any],
        *,
        supported: bool = True,
        takes: Callable[..., bool] | None = None,
        inplace: bool = False,
        sources: Sequence[str | Path] = (),
    ) -> None:
        self.op = op
        self.provider = provider
        self.function = function
        self.supported = supported
        self.takes = takes
        self.inplace = inplace
        self.sources = tuple(Path(source) for source in sources)
        self.functional: Callable[..., Any] = self._on_copies if inplace else function

    def __repr__(self) -> str:
        return f"IrOpImpl('{self.op.name}', '{self.provider}')"

    @property
    def supports_all_args(self) -> bool:
        """Whether it takes every argument that the op takes."""
        return self.takes is None

    def supports_args(self, *args: Any, **kwargs: Any) -> bool:
        """Whether it takes these arguments."""
        return self.takes is None or self.takes(*args, **kwargs)

    def _on_copies(self, *args: Any, **kwargs: Any) -> Any:
        """Call it on copies of the activations, so that an in-place implementation leaves the caller's alone."""
        complete = list(self.op.with_defaults(args, kwargs) if kwargs else args)
        for index in self.op.activation_indices:
            if index < len(complete) and complete[index] is not None:
                complete[index] = complete[index].clone()
        return self.function(*complete)

    def uuid(self) -> str:
        """What tells this implementation from another, in any process."""
        import hashlib  # noqa: PLC0415
        import inspect  # noqa: PLC0415

        files = [Path(inspect.getfile(self.function)), *self.sources]
        return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
