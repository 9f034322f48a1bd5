"""What is told to the person who runs the watched program."""

from __future__ import annotations

import warnings
from contextlib import suppress


def warn(text: str, above: int = 1) -> None:
    """A RuntimeWarning of ours; it does not end the run where warnings are errors (``-W error``).

    Args:
        text: what to tell.
        above: how many calls above the caller's own it is about.
    """
    with suppress(RuntimeWarning):
        warnings.warn(f"cutaway: {text}", RuntimeWarning, stacklevel=2 + above)
