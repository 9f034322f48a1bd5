"""What follows the switches in one process: which pieces are looked at, and what is kept of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from hashlib import blake2b
from typing import Any

import torch

from cutaway.explain.switches import Place, Switches
from cutaway.explain.within.journal import Journal
from cutaway.replay.values import copy, type_text


class Eye:
    """What follows the switches in one process.

    Args:
        switches: what to do.
        journal: where to tell.
        native: within it, operators with several implementations run as their native body: an eager graph would
            otherwise run the very implementation that may be at fault.
    """

    def __init__(
        self, switches: Switches, journal: Journal, native: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self.switches = switches
        self.journal = journal
        self.native = native
        self.kept = 0

    def looks_at(self, piece: str) -> bool:
        """Whether a piece is run another way, or watched."""
        asked = self.switches
        if asked.restored:  # what one is to be passed, others return
            return True
        places = (
            *asked.eager,
            *asked.compare,
            *asked.fresh,
            *asked.times,
            *(one.place for one in (*asked.errands, *asked.edits, *asked.keep)),
        )
        return any(place.piece in ("*", piece) for place in places)

    def is_among(self, places: Sequence[Place], piece: str, span: str) -> bool:
        """Whether one of these places is this piece in this range."""
        return any(place.holds(piece, span) for place in places)

    def keep(self, values: Sequence[Any], names: Sequence[str]) -> list[dict[str, Any]]:
        """Keep inputs as files, each once, as far as the limit goes."""
        return [
            {"name": name, **self._kept(value)}
            for value, name in zip(values, [*names, *[""] * (len(values) - len(names))], strict=True)
        ]

    def _kept(self, value: Any) -> dict[str, Any]:
        if isinstance(value, (bool, int, float)) or value is None:
            return {"number": value}
        if not isinstance(value, torch.Tensor):
            return {"left_out": f"a {type(value).__name__} is not kept"}
        facts = {"type": type_text(value), "shape": list(value.shape)}
        buffer = io.BytesIO()
        torch.save(copy(value).cpu(), buffer)
        content = buffer.getvalue()
        digest = blake2b(content, digest_size=16).hexdigest()
        path = self.journal.folder / "inputs" / f"{digest}.pt"
        if not path.exists():
            if self.kept + len(content) > self.switches.keep_inputs:
                return {**facts, "left_out": f"it has {len(content)} bytes, more than is left of the limit"}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            self.kept += len(content)
        return {**facts, "path": str(path), "digest": digest}

    def keep_code(self, text: str) -> str:
        """Keep generated code as a file, each text once; where it lies."""
        path = self.journal.folder / "code" / f"{blake2b(text.encode(), digest_size=16).hexdigest()}.py"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return str(path)

    def keep_constants(self, constants: Mapping[str, torch.Tensor]) -> dict[str, str]:
        """Keep tensors that code holds, as far as the limit goes: name -> where it lies."""
        kept = {name: self._kept(value) for name, value in constants.items()}
        return {name: facts["path"] for name, facts in kept.items() if "path" in facts}
