"""What was linked, as text: enough to put a model together again from artifacts alone."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, field
from typing import Any

import torch

from cutaway.compiler.build.ranges import Range
from cutaway.compiler.link.hold import HeldInput


@dataclass(frozen=True)
class PlannedPiece:
    """A piece that is compiled.

    Attributes:
        name: what the stitching code calls it.
        keys: cache key of its artifact, by range; "" where none was kept.
        is_first, is_last: among those that are compiled.
        is_splitting: it holds splitting ops (and could not be written as code): it is neither compiled nor wrapped.
    """

    name: str
    keys: dict[Range, str]
    is_first: bool = False
    is_last: bool = False
    is_splitting: bool = False


@dataclass(frozen=True)
class StaticInput:
    """A flat input whose first dimension is the batch: what may be copied into a buffer for CUDA graphs.

    Attributes:
        position: among the flat inputs.
        shape: its further dimensions.
        dtype, device: as torch writes them, ``float32`` and ``cuda:0``.
    """

    position: int
    shape: tuple[int, ...]
    dtype: str
    device: str

    def buffer(self, largest: int) -> torch.Tensor:
        """A buffer for batches up to ``largest``."""
        dtype = getattr(torch, self.dtype)
        return torch.zeros((largest, *self.shape), dtype=dtype, device=self.device)


@dataclass(frozen=True)
class Plan:
    """How a model is put together.

    Attributes:
        code: the stitching code.
        pieces: the pieces that it calls, in its order.
        consts: objects that the code refers to.
        ranges: for which batch sizes.
        batch: where the batch size is read from among the flat inputs: a position, or position and dimension; None
            when nothing varies.
        static_inputs: inputs that follow the batch size.
        held_inputs: inputs that may not change from call to call, the weights among them.
    """

    code: str
    pieces: tuple[PlannedPiece, ...]
    consts: list[Any] = field(repr=False)
    ranges: tuple[Range, ...]
    batch: int | tuple[int, int] | None
    static_inputs: tuple[StaticInput, ...] = ()
    held_inputs: tuple[HeldInput, ...] = ()

    def to_bytes(self) -> bytes:
        """The plan to keep. Raises what ``pickle`` raises when a constant cannot be kept."""
        facts = {
            "code": self.code,
            "ranges": [[span.start, span.end, span.is_single_size] for span in self.ranges],
            "batch": self.batch,
            "static_inputs": [[one.position, one.shape, one.dtype, one.device] for one in self.static_inputs],
            "held_inputs": [
                [one.position, one.name, one.dtype, one.device, one.shape, one.stride] for one in self.held_inputs
            ],
            "pieces": [
                {
                    "name": piece.name,
                    "first": piece.is_first,
                    "last": piece.is_last,
                    "keys": [piece.keys[span] for span in self.ranges],
                }
                for piece in self.pieces
            ],
        }
        return json.dumps(facts).encode() + b"\n" + pickle.dumps(self.consts)

    @classmethod
    def from_bytes(cls, data: bytes) -> Plan:
        """What :meth:`to_bytes` wrote."""
        text, _, consts = data.partition(b"\n")
        facts = json.loads(text)
        ranges = tuple(Range(*span) for span in facts["ranges"])
        pieces = tuple(
            PlannedPiece(piece["name"], dict(zip(ranges, piece["keys"], strict=True)), piece["first"], piece["last"])
            for piece in facts["pieces"]
        )
        batch = tuple(facts["batch"]) if isinstance(facts["batch"], list) else facts["batch"]
        static = tuple(StaticInput(where, tuple(shape), *kind) for where, shape, *kind in facts["static_inputs"])
        held = tuple(
            HeldInput(where, name, dtype, device, tuple(shape), tuple(stride))
            for where, name, dtype, device, shape, stride in facts["held_inputs"]
        )
        return cls(facts["code"], pieces, pickle.loads(consts), ranges, batch, static, held)
