"""Names of operators and providers, and what was meant by one that does not exist."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from cutaway.errors import OpError

_NAME = re.compile(r"[a-z_][a-z_0-9]*")


def check_name(name: object, whose: str) -> str:
    """A name as torch and the priority lists take it.

    Args:
        name: what was given.
        whose: what is to bear it, for the error.

    Raises:
        OpError: it is no text, or holds something else than ``[a-z_][a-z_0-9]*``.
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise OpError(
        f"{whose} cannot be named {name!r}",
        "a name is made of lower-case letters, digits and underscores, and does not begin with a digit",
        f"name it {suggested!r}" if (suggested := _lowered(name)) else "give it another name",
    )


def _lowered(name: object) -> str:
    found = re.sub(r"[^a-z_0-9]+", "_", str(name).lower()).strip("_")
    return found if _NAME.fullmatch(found) else ""


def did_you_mean(name: str, among: Iterable[str], otherwise: str) -> str:
    """The cure for a name that is none: those that come nearest, or another cure when none does."""
    near = difflib.get_close_matches(name, list(among), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(repr(found) for found in near)}?" if near else otherwise


def listed(names: Iterable[str]) -> str:
    """Names for a sentence; ``nothing`` when there are none."""
    return ", ".join(names) or "nothing"
