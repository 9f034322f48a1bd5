"""What is known of one key of a cache, whichever cache it is of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str, ...]


@dataclass(frozen=True)
class Key:
    """A key, and what it was made of.

    Attributes:
        cache: ``vllm`` or ``cutaway``.
        name: the key itself.
        made: seconds since 1970.
        factors: section -> name -> value, as JSON.
        sources: path of a traced file -> its text, as far as it was kept.
        of: what is cached: the model, or the piece.
        part: keys of one part are compared with each other: rank and tag, or ``model`` and ``piece``.
        place: where the entry lies, relative to the cache; empty when the key was only asked for.
    """

    cache: str
    name: str
    made: float
    factors: Mapping[str, Any]
    sources: Mapping[str, str] = field(default_factory=dict[str, str])
    of: str = ""
    part: str = ""
    place: str = ""


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that holds no mapping, with its path; lists of plain values stand as they are."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from leaves(part, (*path, str(name)))
    elif isinstance(value, (list, tuple)) and any(isinstance(part, (Mapping, list, tuple)) for part in value):
        for number, part in enumerate(value):
            yield from leaves(part, (*path, f"[{number}]"))
    else:
        yield path, value
