"""Which of many selectors is meant by a part of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches

from cutaway.errors import SelectorError

SHOWN = 12
"""How many candidates an error names."""


def choose(wanted: str, selectors: Sequence[str]) -> str:
    """The one selector that is meant.

    A selector is named, in this order, by itself; by its last components; by any of its components in a
    row; by some of its components in order and a part of its last one. The first of these that fits
    anything decides.

    Args:
        wanted: what somebody typed.
        selectors: all there are.

    Raises:
        SelectorError: it fits none, or more than one; with the candidates.
    """
    found = matching(wanted, selectors)
    if len(found) == 1:
        return found[0]
    if not found:
        raise unknown(wanted, selectors)
    shown = tuple(found[:SHOWN])
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise SelectorError(
        f"{wanted!r} is ambiguous: it fits {len(found)} selectors",
        f"they are {', '.join(shown)}{more}",
        "add more of the path",
        candidates=shown,
    )


def matching(wanted: str, selectors: Iterable[str]) -> list[str]:
    """All selectors that a part of one may mean, by the first rule of `choose` that fits any."""
    parts = [part for part in wanted.split("/") if part]
    if not parts:
        return []
    names = list(selectors)
    for fits in _RULES:
        found = [name for name in names if fits(parts, name.split("/"))]
        if found:
            return found
    return []


def unknown(wanted: str, selectors: Sequence[str], cure: str = "") -> SelectorError:
    """The error for a selector that fits nothing, with the nearest names."""
    near = _nearest(wanted, selectors)
    if not selectors:
        return SelectorError(f"nothing in this dump is called {wanted!r}", "nothing was compiled while it was recorded")
    if not cure:
        cure = f"did you mean {' or '.join(near)}" if near else "list what there is with `cutaway ls`"
    return SelectorError(f"nothing in this dump is called {wanted!r}", "", cure, candidates=near)


def _nearest(wanted: str, selectors: Sequence[str]) -> tuple[str, ...]:
    """The selectors whose whole path, or whose last component, is nearest to what was typed."""
    near = get_close_matches(wanted, selectors, 3, 0.6)
    if near:
        return tuple(near)
    leaves: dict[str, list[str]] = {}
    for selector in selectors:
        leaves.setdefault(selector.rpartition("/")[2].lower(), []).append(selector)
    close = get_close_matches(wanted.rpartition("/")[2].lower(), list(leaves), 3, 0.5)
    return tuple(selector for leaf in close for selector in leaves[leaf][:3])[:3]


def _is_same(parts: list[str], name: list[str]) -> bool:
    return parts == name


def _is_end(parts: list[str], name: list[str]) -> bool:
    return parts == name[-len(parts) :]


def _is_row(parts: list[str], name: list[str]) -> bool:
    return any(parts == name[start : start + len(parts)] for start in range(len(name)))


def _is_part(parts: list[str], name: list[str]) -> bool:
    """The last part lies within the last component; those before it are components, in order."""
    if parts[-1].lower() not in name[-1].lower():
        return False
    rest = iter(name[:-1])
    return all(part in rest for part in parts[:-1])


_RULES: tuple[Callable[[list[str], list[str]], bool], ...] = (_is_same, _is_end, _is_row, _is_part)
