"""Amounts of memory as people write them."""

from __future__ import annotations

import re

from cutaway.errors import UsageError

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def parse_bytes(text: str, name: str) -> int:
    """A number of bytes: `256MB`, `1.5 GiB`, `4096`.

    Args:
        text: what somebody wrote.
        name: what it is for, to be named in an error.

    Raises:
        UsageError: it is no positive amount.
    """
    match = _AMOUNT.fullmatch(text)
    unit = _UNITS.get(match[2].lower()) if match else None
    amount = int(float(match[1]) * unit) if match and unit else 0
    if amount <= 0:
        raise UsageError(f"{name} is {text!r}", "it is an amount of memory", "write it as 256MB, 1GiB or 4096")
    return amount
