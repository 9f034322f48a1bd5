"""Values of factors, for people."""

from __future__ import annotations

import json
from typing import Any

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "missing"})()
_LONGEST = 72


def changed(name: str, old: Any, new: Any, missing: str = "not set") -> str:
    """``name: old → new``; of two lists, what one of them has more."""
    if isinstance(old, list) and isinstance(new, list):
        gone = [one for one in old if one not in new]
        more = [one for one in new if one not in old]
        if (gone or more) and len(shown(old)) + len(shown(new)) > _LONGEST:
            parts = [f"without {shown(gone)}"] if gone else []
            parts += [f"with {shown(more)}"] if more else []
            return f"{name}: {' and '.join(parts)}"
    return f"{name}: {shown(old, missing)} → {shown(new, missing)}"


def shown(value: Any, missing: str = "not set") -> str:
    """A value as it is written in a line."""
    if value is MISSING or value is None:
        return missing
    if isinstance(value, str):
        text = repr(value)
    elif isinstance(value, bool):
        text = str(value)
    else:
        text = json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
